//! One whole GEMM on one thread, packing of the rows and epilogue included, between the markers.
//!
//! ```text
//! gemm_region TIER ROWS N K        TIER is TYPE-ISA: i8-neon, i8-dotprod, i8-i8mm, f16-fp16, f16-neon, f32-neon, ...
//! ```

use bytemuck::Zeroable;
use half::f16;
use ocelli_arm_count::{start, stop};
use ocelli_kernels::pack::{packed_len, padded_k, padded_n, panels};
use ocelli_kernels::{
    Epilogue, Gemm, GemmScratch, Isa, Kernels, LhsFormat, LhsMut, Mat, MatMut, Remainders, RowScale, Weights,
    WeightsFloat, WeightsI8,
};

const USAGE: &str =
    "usage: gemm_region TYPE-ISA ROWS N K, TYPE one of i8, f16, f32; such as i8-dotprod 197 768 768";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tier, rows, n, k] = &args[..] else { panic!("{USAGE}") };
    let [rows, n, k] = [rows, n, k].map(|size| size.parse::<usize>().expect(USAGE));
    let (element, isa) = tier.split_once('-').expect(USAGE);
    let kernels = Kernels::new(Isa::select(isa).unwrap_or_else(|error| panic!("{error}")));

    let code = |i: usize| (i * 37 % 255) as i32 - 127;
    let codes: Vec<i8> = (0..packed_len(n, k)).map(|i| code(i) as i8).collect();
    let halves: Vec<f16> = codes.iter().map(|&code| f16::from_f32(f32::from(code) / 128.0)).collect();
    let singles: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
    let (scales, sums) = (vec![1.0 / 128.0; padded_n(n)], vec![0; padded_n(n)]);
    let weights = match element {
        "i8" => WeightsI8::new(n, k, &codes, &scales, &sums).map(Weights::I8),
        "f16" => WeightsFloat::new(n, k, &halves).map(Weights::F16),
        "f32" => WeightsFloat::new(n, k, &singles).map(Weights::F32),
        _ => panic!("{USAGE}"),
    }
    .expect("the lengths fit");
    let bias = vec![0.5; padded_n(n)];
    let width = padded_k(k);
    let mut x = vec![0.0; rows * width];
    for row in x.chunks_exact_mut(width) {
        row[..k].iter_mut().enumerate().for_each(|(i, x)| *x = code(i) as f32 / 128.0);
    }
    let mut bytes = vec![0u32; LhsFormat::max_bytes(rows, k) / 4];
    let mut row_scales = vec![RowScale::default(); rows];
    let mut out = vec![0.0; rows * n];
    let mut scratch = Box::new(GemmScratch::zeroed());

    start();
    let format = kernels.lhs_format(&weights);
    let mut packed = LhsMut::new(format, rows, k, bytemuck::cast_slice_mut(&mut bytes), &mut row_scales);
    kernels.pack_lhs(&mut packed, &Mat::new(&x, rows, width, width));
    let gemm = Gemm {
        lhs: packed.as_lhs(),
        weights,
        bias: &bias,
        epilogue: Epilogue::Store,
        remainders: Remainders::default(),
    };
    // As the runtime has it: wide outputs in blocks, the residual stream row-major.
    let block = if n > k { kernels.block_cols() } else { n };
    kernels.gemm(&gemm, 0..panels(n), &mut MatMut::blocks(&mut out, rows, n, block), &mut scratch);
    stop();

    let checksum: f64 = out.iter().map(|&y| f64::from(y)).sum();
    println!("{} {rows}x{n}x{k}: {checksum}", kernels.gemm_name(&weights));
}
