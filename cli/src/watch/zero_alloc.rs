//! Looking at a frame takes no heap memory, on any thread: the whole command is run on a pipe, and every allocation of
//! the process is counted while ten thousand frames go through it.
//!
//! The counter sees what tests beside it do, too: so each of these runs alone in a process of its own.

use super::Args;
use crate::console::{Console, Failure};
use clap::Parser;
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use ocelli::format::Alpha;
use ocelli::preprocess::decode::{self, decode_file};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    if COUNTING.load(Ordering::SeqCst) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_add(bytes, Ordering::SeqCst);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Under an emulator a test that takes a minute is told of by its harness, which allocates.
const FRAMES: usize = if cfg!(target_arch = "x86_64") { 10_000 } else { 200 };
const SIDE: usize = 32;
/// Set in the process that has the test for itself.
const ALONE: &str = "OCELLI_ALONE";

/// Runs the test `name` of this file again, in a process where nothing else runs; false in that process.
fn elsewhere(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut command = ocelli_tests::program(std::env::current_exe().unwrap());
    command.env(ALONE, "1").args(["--exact", "--test-threads=1", "--nocapture"]);
    let output = command.arg(format!("watch::zero_alloc::{name}")).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    println!("{text}");
    true
}

/// Runs `ocelli watch` with `args` on a pipe into which `feed` writes while it counts.
fn allocations(args: &[&str], feed: impl FnOnce(&mut PipeWriter, &dyn Fn(bool)) + Send) -> (usize, usize) {
    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }
    let (reader, mut writer) = pipe().unwrap();
    let source = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let program = Program::parse_from([&["watch", &source, "--threads", "2"], args].concat());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            feed(&mut writer, &|on| {
                // What was written before has gone through by then: what lies in the pipe is a few frames.
                std::thread::sleep(Duration::from_millis(1500));
                COUNTING.store(on, Ordering::SeqCst);
            });
        });
        let ended = super::run(&program.args, &Console::new(true));
        // Whoever still writes must not wait for ever.
        drop(reader);
        match ended {
            Ok(_) => {}
            Err(Failure::Error(error)) => panic!("{error}"),
            Err(_) => panic!("another failure"),
        }
    });
    (ALLOCATIONS.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst))
}

/// A ship of 32 x 32 pixels, RGB.
fn ship() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ship.jpg");
    let image = decode_file(path, &decode::Options::default()).unwrap();
    let mut pixels = vec![0; 3 * SIDE * SIDE];
    for (y, row) in pixels.chunks_exact_mut(3 * SIDE).enumerate() {
        image.view().row_rgb(y, 0..SIDE, Alpha::White, row);
    }
    pixels
}

#[test]
fn raw_frames_allocate_nothing() {
    if elsewhere("raw_frames_allocate_nothing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("scores");
    // A spot comes and goes: one frame of twenty is scored, the others pass the gate only.
    let plain = ship();
    let mut spot = plain.clone();
    (0..8 * 3).for_each(|x| spot[x] ^= 0x40);
    let frames = [[&plain; 20], [&spot; 20]].concat();
    let args =
        ["--format", "rgb24", "--size", "32x32", "--recorded", "25", "--record", record.to_str().unwrap()];
    let (count, _) = allocations(&args, |writer, counting| {
        let mut write = |frames: usize, all: &[&Vec<u8>]| {
            (0..frames).for_each(|i| writer.write_all(all[i % all.len()]).unwrap());
        };
        write(100, &frames);
        counting(true);
        write(FRAMES, &frames);
        counting(false);
    });
    let lines = std::fs::read_to_string(&record).unwrap();
    let scored = lines.lines().filter(|line| line.contains("scores\":[")).count();
    assert_eq!(lines.lines().count(), 1 + 100 + FRAMES);
    assert!((FRAMES / 20..FRAMES / 20 + 10).contains(&scored), "{scored} of {FRAMES} were scored");
    println!("{FRAMES} frames, {scored} of all scored: {count} allocations");
    assert_eq!(count, 0);
}

/// Of MJPEG the decoder allocates, and nothing else: so many times for each picture, whatever came before.
#[test]
fn jpeg_frames_allocate_what_their_decoder_takes() {
    if elsewhere("jpeg_frames_allocate_what_their_decoder_takes") {
        return;
    }
    let jpeg = compress(&ship(), SIDE, SIDE, PixelFormat::Rgb, 90, Subsampling::S420).unwrap();
    let frames = FRAMES / 5;
    // How often the decoder alone does it.
    COUNTING.store(true, Ordering::SeqCst);
    drop(decode::decode(&jpeg, &decode::Options::default()).unwrap());
    COUNTING.store(false, Ordering::SeqCst);
    let alone = ALLOCATIONS.swap(0, Ordering::SeqCst);
    BYTES.store(0, Ordering::SeqCst);
    let (count, bytes) = allocations(&["--format", "mjpeg", "--recorded", "25"], |writer, counting| {
        (0..100).for_each(|_| writer.write_all(&jpeg).unwrap());
        counting(true);
        (0..frames).for_each(|_| writer.write_all(&jpeg).unwrap());
        counting(false);
    });
    println!(
        "{frames} pictures: {:.2} allocations and {} bytes each; the decoder alone {alone}",
        count as f64 / frames as f64,
        bytes / frames
    );
    // Those that were under way when counting began and ended.
    let under_way = 8 * alone;
    assert!(count.abs_diff(frames * alone) <= under_way, "{count}, not {frames} times {alone}");
}
