//! Embedding an image takes no heap memory: not on the calling thread, not on the team's.
//!
//! One test alone in its process, because it counts every allocation of the process.

use ocelli::preprocess::decode::{self, decode_file};
use ocelli::preprocess::{Packed, PixelView, Tiles};
use ocelli::score::Scored;
use ocelli::vision::Layer;
use ocelli::{Model, Options, Session};
use ocelli_kernels::Isa;
use ocelli_tests::{fixtures, packed};
use ocelli_tools::Precision;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

fn count() {
    if COUNTING.load(Ordering::SeqCst) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while `work` runs, on any thread.
fn allocations(work: impl FnOnce()) -> usize {
    ALLOCATIONS.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    work();
    COUNTING.store(false, Ordering::SeqCst);
    ALLOCATIONS.load(Ordering::SeqCst)
}

#[test]
fn embedding_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "the counter counts");
    let directory = tempfile::tempdir().unwrap();
    let portrait = decode_file(fixtures().join("images/portrait.png"), &decode::Options::default()).unwrap();
    let landscape =
        decode_file(fixtures().join("images/landscape.png"), &decode::Options::default()).unwrap();
    let tall = vec![90u8; 40 * 3000 * 4];
    let tall = PixelView::new(Packed::Rgba, &tall, 40, 3000, 160).unwrap();
    let views = [portrait.view(), landscape.view(), tall];
    // A class token and pooling by attention; then every other part, and images with grids of their own. Not all in every
    // precision: under an emulator the test's own process allocates after a minute, to say that it takes long.
    let precisions = [Precision::Int8, Precision::Fp16, Precision::Fp32];
    let whole = ["clip-hf", "siglip-hf"].into_iter().flat_map(|fixture| precisions.map(|p| (fixture, p)));
    let parts = ["siglip2-naflex", "retinavit"].into_iter().chain(ocelli_tests::VISION);
    for (fixture, precision) in whole.chain(parts.map(|fixture| (fixture, Precision::Int8))) {
        let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
        for isa in [Isa::SCALAR, Isa::detect()] {
            for threads in [1, 4] {
                // Interpolated positions, except where images have sizes of their own or one for ever.
                let fixed = ["siglip2-naflex", "retinavit"].contains(&fixture);
                let image_size = (!fixed).then_some((112, 84));
                let options = Options { isa, threads, batch: 3, image_size, ..Options::default() };
                let mut session = Session::new(&model, &options).unwrap();
                let dim = session.embed_dim();
                let mut out = vec![0.0; 3 * dim];
                let mut classes = vec![Scored::default(); session.classes()];
                let tiles = Tiles { rows: 2, columns: 2 };
                let (patches, width) = session.layer_shape(Layer::Patch).unwrap();
                let mut dense = vec![0.0; patches * width];
                let count = allocations(|| {
                    // No warm-up: the very first image, other sizes, a batch, and after the threads have gone to sleep.
                    for view in views {
                        session.embed_into(&view, &mut out[..dim]).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    session.embed_batch_into(&views, &mut out).unwrap();
                    session.embed_any_res_into(&views[0], tiles, &mut out[..dim]).unwrap();
                    if fixture != "siglip2-naflex" {
                        session.encode_layer(1, Layer::Patch, &mut dense).unwrap();
                    }
                    if !classes.is_empty() {
                        session.classify_own_into(&views[1], &mut classes).unwrap();
                        session.classify_own_any_res_into(&views[1], tiles, &mut classes).unwrap();
                    }
                });
                assert_eq!(count, 0, "{fixture} {precision:?} {isa} on {threads} threads");
                assert!(out.iter().all(|value| value.is_finite()));
            }
        }
    }
}
