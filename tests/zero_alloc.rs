//! Embedding an image takes no heap memory: not on the calling thread, not on the team's.
//!
//! A program of its own without the test harness, because it counts every allocation of the process, and the harness
//! allocates after a minute, to say that a test takes long.

use ocelli::format::{LabelBank, Limits, Merging, bank};
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::preprocess::{Packed, PixelView, Tiles};
use ocelli::score::Scored;
use ocelli::vision::Layer;
use ocelli::{Classifier, ImageEncoder, ImageOptions, Input, Model, Preprocessor, TextEncoder};
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

/// Two labels for any model.
fn labels(model: &Model, dim: usize) -> LabelBank {
    let mut embeddings = vec![0.0; 2 * dim];
    (embeddings[0], embeddings[2 * dim - 1]) = (1.0, -1.0);
    let bytes = bank::write(&["first", "last"], &["{}"], dim, &embeddings, model.config().checkpoint_id);
    LabelBank::new(&bytes.unwrap()).unwrap()
}

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return println!("embedding_allocates_nothing: test");
    }
    embedding_allocates_nothing();
    // As the harness says it.
    println!("test embedding_allocates_nothing ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
}

fn embedding_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "the counter counts");
    let directory = tempfile::tempdir().unwrap();
    let portrait = decode_file(fixtures().join("images/portrait.png"), &decode::Options::default()).unwrap();
    let landscape =
        decode_file(fixtures().join("images/landscape.png"), &decode::Options::default()).unwrap();
    let tall = vec![90u8; 40 * 3000 * 4];
    let tall = PixelView::new(Packed::Rgba, &tall, 40, 3000, 160).unwrap();
    let views = [portrait.view(), landscape.view(), tall];
    // A class token and pooling by attention; then every other part, and images with grids of their own, in one precision.
    let precisions = [Precision::Int8, Precision::Fp16, Precision::Fp32];
    let whole = ["clip-hf", "siglip-hf"].into_iter().flat_map(|fixture| precisions.map(|p| (fixture, p)));
    let parts = [
        "siglip2-naflex",
        "retinavit",
        "dual-vit-xlmr",
        "openclip-xlmr",
        "open-clip-eva02",
        "open-clip-pe",
        "open-clip-mobileclip",
    ];
    let parts = parts.into_iter().chain(ocelli_tests::VISION);
    let cases = whole.chain(parts.map(|fixture| (fixture, Precision::Int8)));
    // Tokens are merged where they can be, too.
    let merged = ["clip-hf", "siglip-hf", "simplevit"].map(|fixture| (fixture, Precision::Int8, true));
    for (fixture, precision, merges) in cases.map(|(fixture, p)| (fixture, p, false)).chain(merged) {
        let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
        for isa in [Isa::SCALAR, Isa::detect()] {
            for threads in [1, 4] {
                // Interpolated positions, except where images have sizes of their own or one for ever.
                let fixed = ["siglip2-naflex", "retinavit"].contains(&fixture);
                let image_size = (!fixed).then_some((112, 84));
                let (runtime, options) = (ocelli_tests::runtime(isa, threads), ImageOptions::default());
                let merging = merges.then_some(Merging { most: 3, first: 0, power: 0 });
                let options = options.batch(3).image_size(image_size).merging(merging);
                let encoder = || ImageEncoder::new(&model, &runtime, &options).unwrap();
                let (mut images, dim) = (encoder(), encoder().embed_dim());
                let mut texts = TextEncoder::new(&model, &runtime, &Limits::default()).ok();
                let mut own = Classifier::of_classes(encoder()).ok();
                let mut banked = Classifier::new(encoder(), labels(&model, dim)).unwrap();
                let mut preprocessor = Preprocessor::new(&model, isa, &options).unwrap();
                let mut frame = preprocessor.frame();
                let mut out = vec![0.0; 3 * dim];
                let mut classes = vec![Scored::default(); images.classes()];
                let mut scored = [Scored::default(); 2];
                let tiles = Tiles { rows: 2, columns: 2 };
                let (patches, width) = images.layer_shape(Layer::Patch).unwrap();
                let mut dense = vec![0.0; patches * width];
                let count = allocations(|| {
                    // No warm-up: the very first image, other sizes, a batch, and after the threads have gone to sleep.
                    for view in views {
                        images.embed_into(&view, &mut out[..dim]).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    images.embed_batch_into(&views, &mut out).unwrap();
                    images.embed_tiles_into(&views[0], tiles, &mut out[..dim], &mut |_, _| ()).unwrap();
                    preprocessor.preprocess(&views[1], &mut frame).unwrap();
                    images.set_frame(0, &frame).unwrap();
                    if fixture != "siglip2-naflex" {
                        images.encode(Input::Frames(1), Layer::Patch, &mut dense).unwrap();
                    }
                    if let Some(texts) = &mut texts {
                        let ids = [0; 64];
                        let ids = &ids[..texts.model().config().text.context.min(64) as usize];
                        texts.embed_ids_into(ids, &mut out[..dim]).unwrap();
                    }
                    banked.classify_into(&views[0], &mut scored).unwrap();
                    banked.classify_tiles_into(&views[0], tiles, &mut scored, &mut |_, _| ()).unwrap();
                    if let Some(own) = &mut own {
                        own.classify_into(&views[1], &mut classes).unwrap();
                        own.classify_tiles_into(&views[1], tiles, &mut classes, &mut |_, _| ()).unwrap();
                    }
                });
                assert_eq!(count, 0, "{fixture} {precision:?} {isa} on {threads} threads, merging {merges}");
                assert!(out.iter().all(|value| value.is_finite()));
            }
        }
    }
}
