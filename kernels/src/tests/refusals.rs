//! What the safe functions refuse: sizes whose products wrap, operands that do not fit together, shapes with nothing in
//! them. Nothing may be read or written on the way.

use crate::attention::{Attention, Operands, Tokens};
use crate::gemm::{Epilogue, Gemm, GemmScratch, channels, group_panels, macs};
use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::matrix::{Mat, MatMut};
use crate::pack::{
    K_MAX_I8, LhsCodes, LhsFormat, LhsMut, MR, Weights, WeightsFloat, WeightsI8, checked_packed_len, pack_i8,
    packed_len, padded_k, padded_n,
};
use crate::testing::each_isa;
use crate::{Remainders, RowScale};
use bytemuck::Zeroable;
use half::f16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

fn refused<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(|| _ = call())).is_err()
}

#[test]
fn sizes_that_wrap() {
    let huge =
        [(1 << 32, 1 << 32), (usize::MAX, 1), (1, usize::MAX), (1 << 60, 16), (usize::MAX, usize::MAX)];
    for (n, k) in huge {
        assert_eq!(checked_packed_len(n, k), None, "{n}x{k}");
        assert!(refused(|| packed_len(n, k)) && WeightsFloat::<f32>::new(n, k, &[]).is_none(), "{n}x{k}");
        assert!(WeightsI8::new(n, k, &[], &[], &[]).is_none(), "{n}x{k}");
        let formats = [LhsFormat::F32, LhsFormat::F16, LhsFormat::I8(LhsCodes::BothK4)];
        for format in formats {
            assert!(refused(|| format.bytes(n, k)) && refused(|| LhsFormat::max_bytes(n, k)), "{n}x{k}");
            assert!(refused(|| LhsMut::new(format, n, k, &mut [], &mut [])), "{n}x{k} {format:?}");
        }
    }
    assert!(refused(|| padded_k(usize::MAX)) && refused(|| padded_n(usize::MAX - 3)));
    assert_eq!((macs(1 << 32, 1 << 32, 2), macs(2, 3, 5)), (u64::MAX, 30));
    assert!(refused(|| group_panels(16, 0..2)) && refused(|| group_panels(0, 1..1)));
    assert!(refused(|| pack_i8(&[], 0, 0, &mut [])) && refused(|| pack_i8(&[0; 5], 0, 2, &mut [0; 256])));
}

#[test]
fn weights_without_inputs_or_with_more_than_i32_holds() {
    assert!(WeightsI8::new(16, 0, &[], &[0.0; 16], &[0; 16]).is_none());
    assert!(WeightsFloat::<f16>::new(16, 0, &[]).is_none());
    let most = vec![0; 16 * (K_MAX_I8 + 16)];
    let fits = |k: usize| WeightsI8::new(16, k, &most[..16 * k], &[0.0; 16], &[0; 16]).is_some();
    assert!(fits(K_MAX_I8) && !fits(K_MAX_I8 + 16));
}

#[test]
fn rows_outside() {
    let kernels = Kernels::new(Isa::SCALAR);
    let x = vec![0.0; 16 * 16];
    let x = Mat::new(&x, 16, 16, 16);
    for format in [LhsFormat::F32, LhsFormat::F16, LhsFormat::I8(LhsCodes::S8K4)] {
        let mut bytes = vec![0f32; 1000];
        let mut scales = [RowScale::default(); 8];
        let mut rows = LhsMut::new(format, 8, 16, bytemuck::cast_slice_mut(&mut bytes), &mut scales);
        kernels.pack_lhs_panel(&mut rows, MR, &x, 14);
        for (first, from) in [(MR, 15), (0, 11), (0, usize::MAX), (usize::MAX - 3, 0), (12, 0), (1, 0)] {
            assert!(
                refused(|| kernels.pack_lhs_panel(&mut rows, first, &x, from)),
                "{format:?}: {first} from {from}"
            );
        }
        assert!(refused(|| rows.as_lhs().row_f32(8)));
    }
}

/// One row by a matrix of 40 channels × 16, with `panels` of an output of `cols` columns.
fn gemm(kernels: &Kernels, format: LhsFormat, k: usize, panels: core::ops::Range<usize>, cols: usize) {
    let (codes, scales, sums) = (vec![0; packed_len(40, 16)], vec![0.0; 48], vec![0; 48]);
    let weights = Weights::I8(WeightsI8::new(40, 16, &codes, &scales, &sums).expect("fits"));
    let mut bytes = vec![0f32; 1000];
    let mut row_scales = [RowScale::default()];
    let rows = LhsMut::new(format, 1, k, bytemuck::cast_slice_mut(&mut bytes), &mut row_scales);
    let gemm = Gemm {
        lhs: rows.as_lhs(),
        weights,
        bias: &[],
        epilogue: Epilogue::Store,
        remainders: Remainders::default(),
    };
    let mut out = vec![0.0; cols];
    kernels.gemm(&gemm, panels, &mut MatMut::new(&mut out, 1, cols), &mut GemmScratch::zeroed());
}

#[test]
fn operands_of_a_gemm_that_do_not_fit() {
    for kernels in each_isa() {
        let right = LhsFormat::I8(kernels.table.gemm_i8.lhs);
        gemm(&kernels, right, 16, 0..3, 40);
        gemm(&kernels, right, 16, 2..3, 8);
        gemm(&kernels, right, 16, 2..2, 0);
        let formats = [
            LhsCodes::S8K4,
            LhsCodes::S8K8,
            LhsCodes::S8K16,
            LhsCodes::U8K4,
            LhsCodes::S8Rows,
            LhsCodes::BothK4,
        ]
        .map(LhsFormat::I8);
        for format in formats.into_iter().chain([LhsFormat::F32, LhsFormat::F16]).filter(|&f| f != right) {
            assert!(refused(|| gemm(&kernels, format, 16, 0..3, 40)), "{kernels:?} reads {format:?}");
        }
        assert!(refused(|| gemm(&kernels, right, 32, 0..3, 40)), "another k");
        let reversed = core::ops::Range { start: 2, end: 1 };
        let far = core::ops::Range { start: 1 << 60, end: 3 };
        for (panels, cols) in [(0..4, 40), (0..3, 48), (0..2, 16), (reversed, 0), (far, 40)] {
            assert!(
                refused(|| gemm(&kernels, right, 16, panels.clone(), cols)),
                "{panels:?} in {cols} columns"
            );
        }
    }
    assert_eq!(
        (channels(40, 0..2), channels(40, 2..3), channels(40, 1 << 60..1 << 61)),
        (0..32, 32..40, 40..40)
    );
}

#[test]
#[cfg_attr(miri, ignore = "libm's square root is assembly")]
fn attention_of_absurd_shapes() {
    let half = 1 << 63;
    let shapes = [
        (2, 2, 8, 1 << 61),
        (2, 2, 4, 1 << 62),
        (2, 2, 2, half),
        (2, 2, 0, 8),
        (2, 2, 1, 0),
        (2, 0, 1, 8),
        (2, 3, 1, 8),
        (usize::MAX, 2, 1, 8),
        (half, half, 1, 8),
    ];
    for kernels in each_isa() {
        let biases = [0.0; 4];
        let biased = |(tokens, queries, heads, head_dim), items, first, scratch: usize, biased: usize| {
            let shape = Attention {
                tokens,
                queries,
                heads,
                head_dim,
                causal: false,
                alibi: false,
                operands: Operands::I8,
            };
            let qkv = [0.0; 2 * 24];
            // Also what wraps to a matrix without columns.
            let cols = [0, 24][usize::from(heads * head_dim == 8)];
            let mut out = vec![0.0; 16];
            kernels.attention(
                &shape,
                &Tokens { qkv: &Mat::new(&qkv, 2, cols, cols), first, key_bias: &biases[..biased] },
                items,
                &mut out,
                &mut vec![0.0; scratch],
            );
        };
        let run = |shape, items, first, scratch| biased(shape, items, first, scratch, 0);
        run((2, 2, 1, 8), 0..1, 0, 1000);
        biased((2, 2, 1, 8), 0..1, 0, 1000, 2);
        for count in [1, 3] {
            assert!(refused(|| biased((2, 2, 1, 8), 0..1, 0, 1000, count)), "{count} biases");
        }
        for shape in shapes {
            let wraps = |run: &dyn Fn()| refused(run);
            assert!(wraps(&|| run(shape, 0..1, 0, 1000)), "{shape:?}");
        }
        let reversed = core::ops::Range { start: 1, end: 0 };
        for (items, first, scratch) in
            [(0..2, 0, 1000), (reversed, 0, 1000), (0..1, 1, 1000), (0..1, usize::MAX, 1000), (0..1, 0, 100)]
        {
            assert!(
                refused(|| run((2, 2, 1, 8), items.clone(), first, scratch)),
                "{items:?} from {first}, {scratch}"
            );
        }
    }
}
