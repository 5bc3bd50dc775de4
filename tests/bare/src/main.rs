//! Reads a model that is part of the program, checks all of it, and multiplies with its first int8 matrix, on
//! aarch64-unknown-none: no operating system, no std, no allocator, or this would not link. The exit code, 0 if all is
//! right, leaves through Linux's system call, so that QEMU's user mode can run it.

#![no_std]
#![no_main]

use bytemuck::Zeroable;
use core::arch::asm;
use core::panic::PanicInfo;
use ocelli::format::{Aligned, Dtype, File, Layout};
use ocelli_kernels::pack::NR;
use ocelli_kernels::{Epilogue, Gemm, GemmScratch, Isa, Kernels, LhsMut, Mat, MatMut, Remainders, RowScale};

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../tests/fixtures/cifar10/cifar10.ocelli"));

/// Longest row that is multiplied.
const MAX_K: usize = 1024;
const ROWS: usize = 3;

/// A working memory that starts at a multiple of 4.
#[repr(C, align(64))]
struct Memory([u8; 64 << 10]);

fn check() -> Result<(), i32> {
    let file = File::parse(&MODEL.0).map_err(|_| 2)?;
    file.verify().map_err(|_| 3)?;
    let bank = file.bank().ok_or(4)?;
    if bank.labels().all(|label| label != "ship") {
        return Err(5);
    }

    let fits = |k: usize| k <= MAX_K;
    let matrix = file
        .tensors()
        .find(|tensor| tensor.layout() == Layout::Panels && tensor.dtype() == Dtype::I8 && fits(tensor.k()))
        .ok_or(6)?;
    let (n, k) = (matrix.n().min(NR), matrix.k());
    let weights = matrix.weights().map_err(|_| 7)?;
    let mut x = [0.0; ROWS * MAX_K];
    for (i, value) in x[..ROWS * k].iter_mut().enumerate() {
        *value = (i % 17) as f32 - 8.0;
    }
    for isa in [Isa::SCALAR, Isa::detect()] {
        let kernels = Kernels::new(isa);
        let (mut memory, mut scales) = (Memory([0; 64 << 10]), [RowScale::default(); ROWS]);
        let format = kernels.lhs_format(&weights);
        let mut lhs = LhsMut::new(format, ROWS, k, &mut memory.0, &mut scales);
        kernels.pack_lhs(&mut lhs, &Mat::new(&x, ROWS, k, k));
        let mut out = [0.0; ROWS * NR];
        let (lhs, remainders) = (lhs.as_lhs(), Remainders::default());
        let gemm = Gemm { lhs, weights, bias: &[], epilogue: Epilogue::Store, remainders };
        let mut scratch = GemmScratch::zeroed();
        kernels.gemm(&gemm, 0..1, &mut MatMut::new(&mut out[..ROWS * n], ROWS, n), &mut scratch);
        for (row, out) in out.chunks_exact(n).take(ROWS).enumerate() {
            for (column, &found) in out.iter().enumerate() {
                let right: f32 = (0..k).map(|i| x[row * k + i] * matrix.get(column, i)).sum();
                let size: f32 = (0..k).map(|i| (x[row * k + i] * matrix.get(column, i)).abs()).sum();
                // Activations are rounded to 8 bits.
                if !((found - right).abs() <= size / 100.0) {
                    return Err(8);
                }
            }
        }
    }
    Ok(())
}

fn exit(code: i32) -> ! {
    // SAFETY: Linux's exit(code) does not come back.
    unsafe { asm!("svc 0", in("x0") code, in("x8") 93, options(noreturn)) }
}

/// Where the program starts.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    exit(check().err().unwrap_or(0))
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
