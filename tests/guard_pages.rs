//! No kernel touches memory beyond its buffers: every buffer ends, or starts, at a page that may not be touched, so an
//! access outside ends the process. Results are compared with those in ordinary memory, which shows that work was done.
//!
//! `OCELLI_GUARD_ROUNDS` sets how many random shapes each kernel gets (default 40; `scripts/soak.sh` takes 4000).

#![cfg(target_os = "linux")]

use half::f16;
use ocelli_kernels::pack::{pack_float, pack_i8, packed_len, padded_k, padded_n, panels};
use ocelli_kernels::{
    Activation, Attention, Epilogue, Feature, Gemm, GemmScratch, Isa, Kernels, LhsMut, Mat, MatMut, Operands,
    Remainders, RowScale, Tokens, Weights, WeightsFloat, WeightsI8,
};
use std::ops::{Deref, DerefMut};

/// Values between two pages that may not be touched.
struct Guarded<T: Copy> {
    map: *mut u8,
    map_len: usize,
    values: *mut T,
    len: usize,
}

impl<T: Copy> Guarded<T> {
    /// A copy of `values` that ends right before the second page, or starts right behind the first.
    fn new(values: &[T], at_end: bool) -> Guarded<T> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let bytes = size_of_val(values);
        let inside = bytes.next_multiple_of(page).max(page);
        let map_len = inside + 2 * page;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, whose first and last page are then closed.
        let map = unsafe {
            let map = libc::mmap(std::ptr::null_mut(), map_len, protection, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let map = map.cast::<u8>();
            assert_eq!(libc::mprotect(map.cast(), page, libc::PROT_NONE), 0);
            assert_eq!(libc::mprotect(map.add(page + inside).cast(), page, libc::PROT_NONE), 0);
            map
        };
        let first = page + if at_end { inside - bytes } else { 0 };
        // SAFETY: `bytes` bytes from `first` on lie in the open pages, aligned as `size_of::<T>` divides a page.
        unsafe {
            let start = map.add(first).cast::<T>();
            start.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Guarded { map, map_len, values: start, len: values.len() }
        }
    }
}

impl<T: Copy> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were written there.
        unsafe { std::slice::from_raw_parts(self.values, self.len) }
    }
}

impl<T: Copy> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` is the only way to them.
        unsafe { std::slice::from_raw_parts_mut(self.values, self.len) }
    }
}

impl<T: Copy> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.map.cast(), self.map_len) };
    }
}

/// xorshift64*
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 1 to `most`, small ones more often.
    fn size(&mut self, most: u64) -> usize {
        let most = if self.next().is_multiple_of(4) { most } else { most.min(40) };
        (1 + self.next() % most) as usize
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

fn rounds() -> usize {
    std::env::var("OCELLI_GUARD_ROUNDS").map_or(40, |rounds| rounds.parse().expect("a number"))
}

/// Scalar, and each feature of this CPU with what it builds on.
fn kernels() -> Vec<Kernels> {
    let mut isas = vec![Isa::SCALAR, Isa::detect(), Isa::available()];
    isas.extend(Feature::ALL.iter().filter_map(|feature| Isa::select(feature.name()).ok()));
    isas.into_iter().map(Kernels::new).collect()
}

/// `run` in ordinary memory, then between guards on either side, gives the same bits.
fn same(what: &str, mut run: impl FnMut(Option<bool>) -> Vec<f32>) {
    let expected = run(None);
    for at_end in [true, false] {
        let found = run(Some(at_end));
        let equal = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(equal && found.len() == expected.len(), "{what}, at the end: {at_end}");
    }
}

/// Ordinary or guarded memory behind one type.
enum Memory<T: Copy> {
    Ordinary(Vec<T>),
    Guarded(Guarded<T>),
}

impl<T: Copy> Memory<T> {
    fn new(values: &[T], guard: Option<bool>) -> Memory<T> {
        match guard {
            None => Memory::Ordinary(values.to_vec()),
            Some(at_end) => Memory::Guarded(Guarded::new(values, at_end)),
        }
    }
}

impl<T: Copy> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Memory::Ordinary(values) => values,
            Memory::Guarded(values) => values,
        }
    }
}

impl<T: Copy> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Memory::Ordinary(values) => values,
            Memory::Guarded(values) => values,
        }
    }
}

#[test]
fn gemm_stays_inside() {
    let mut rng = Rng(7);
    for _ in 0..rounds() {
        let (rows, n, k) = (rng.size(300), rng.size(200), rng.size(900));
        let (x, w, bias) = (rng.floats(rows * padded_k(k)), rng.floats(n * k), rng.floats(padded_n(n)));
        let epilogue =
            [Epilogue::Store, Epilogue::Add, Epilogue::Activate(Activation::Gelu)][rng.size(3) - 1];
        // Padding of the activations is zero, as producers leave it.
        let mut x = x;
        x.chunks_exact_mut(padded_k(k)).for_each(|row| row[k..].fill(0.0));
        let halves: Vec<f16> = w.iter().map(|&value| f16::from_f32(value)).collect();
        let codes: Vec<i8> = w.iter().map(|&value| (value * 127.0) as i8).collect();
        let (mut floats, mut packed_halves, mut packed_codes) =
            (vec![0f32; packed_len(n, k)], vec![f16::ZERO; packed_len(n, k)], vec![0i8; packed_len(n, k)]);
        pack_float(&w, 0, k, &mut floats);
        pack_float(&halves, 0, k, &mut packed_halves);
        pack_i8(&codes, 0, k, &mut packed_codes);
        let mut sums: Vec<i32> =
            codes.chunks_exact(k).map(|row| row.iter().map(|&code| i32::from(code)).sum()).collect();
        let mut scales = vec![1.0 / 127.0; n];
        sums.resize(padded_n(n), 0);
        scales.resize(padded_n(n), 0.0);
        for kernels in kernels() {
            let noise: Vec<u8> = (0..n * k).map(|_| rng.next() as u8).collect();
            for what in ["int8", "int8, ordered", "int8, order of noise", "fp16", "fp32"] {
                same(&format!("{kernels:?}: {rows} x {n} x {k}, {what}"), |guard| {
                    let (floats, halves, codes) = (
                        Memory::new(&floats, guard),
                        Memory::new(&packed_halves, guard),
                        Memory::new(&packed_codes, guard),
                    );
                    let (scales, sums) = (Memory::new(&scales, guard), Memory::new(&sums, guard));
                    let (x, bias) = (Memory::new(&x, guard), Memory::new(&bias, guard));
                    let plain = WeightsI8::new(n, k, &codes, &scales, &sums).expect("lengths that fit");
                    let len = panels(n) * kernels.order_bytes(&plain);
                    let noise = noise.iter().cycle().copied().take(len).collect::<Vec<_>>();
                    let mut order = Memory::new(&noise, guard);
                    if what == "int8, ordered" {
                        kernels.find_order(&plain, 0..panels(n), &mut order);
                    }
                    let weights = match what {
                        "int8" => Some(Weights::I8(plain)),
                        "fp16" => WeightsFloat::new(n, k, &halves).map(Weights::F16),
                        "fp32" => WeightsFloat::new(n, k, &floats).map(Weights::F32),
                        _ => Some(Weights::I8(plain.with_order(&order))),
                    };
                    let weights = weights.expect("lengths that fit");
                    let format = kernels.lhs_format(&weights);
                    let mut bytes = Memory::new(&vec![0u32; format.bytes(rows, k) / 4], guard);
                    let mut row_scales = Memory::new(&vec![RowScale::default(); rows], guard);
                    let mut written =
                        LhsMut::new(format, rows, k, bytemuck::cast_slice_mut(&mut bytes), &mut row_scales);
                    kernels.pack_lhs(&mut written, &Mat::new(&x, rows, padded_k(k), padded_k(k)));
                    let mut out = Memory::new(&vec![0.5f32; rows * n], guard);
                    let mut scratch = Memory::new(&[bytemuck::Zeroable::zeroed(); 1], guard);
                    let gemm = Gemm {
                        lhs: written.as_lhs(),
                        weights,
                        bias: &bias,
                        epilogue,
                        remainders: Remainders::default(),
                    };
                    let scratch: &mut GemmScratch = &mut scratch[0];
                    kernels.gemm(&gemm, 0..panels(n), &mut MatMut::new(&mut out, rows, n), scratch);
                    out.to_vec()
                });
            }
        }
    }
}

#[test]
fn attention_stays_inside() {
    let mut rng = Rng(8);
    for round in 0..rounds() {
        let (tokens, heads, head_dim) = (rng.size(120), rng.size(4), rng.size(80));
        let causal = round % 2 == 0;
        let queries = if causal { tokens } else { 1 + rng.size(200) % tokens };
        let shape = Attention {
            tokens,
            queries,
            heads,
            head_dim,
            causal,
            alibi: round % 3 == 0,
            operands: Operands::I8,
        };
        let qkv = rng.floats(tokens * 3 * heads * head_dim);
        let key_bias = rng.floats(if round % 4 < 2 { tokens } else { 0 });
        for kernels in kernels() {
            same(&format!("{kernels:?}: {shape:?}"), |guard| {
                let (qkv, key_bias) = (Memory::new(&qkv, guard), Memory::new(&key_bias, guard));
                let mut scratch = Memory::new(&vec![0f32; shape.scratch_len()], guard);
                let mut out = Memory::new(&vec![0f32; heads * queries * head_dim], guard);
                let (cols, items) = (3 * heads * head_dim, 0..kernels.attention_items(&shape));
                kernels.attention(
                    &shape,
                    &Tokens { qkv: &Mat::new(&qkv, tokens, cols, cols), first: 0, key_bias: &key_bias },
                    items,
                    &mut out,
                    &mut scratch,
                );
                out.to_vec()
            });
        }
    }
}

#[test]
fn elementwise_kernels_stay_inside() {
    let mut rng = Rng(9);
    for len in (1..=70).chain((0..rounds()).map(|_| rng.size(5000)).collect::<Vec<_>>()) {
        let (x, gamma, beta) = (rng.floats(len), rng.floats(len), rng.floats(len));
        let halves: Vec<f16> = x.iter().map(|&value| f16::from_f32(value)).collect();
        for kernels in kernels() {
            let what = |name: &str| format!("{kernels:?}: {name} of {len}");
            same(&what("layer_norm"), |guard| {
                let (x, gamma, beta) =
                    (Memory::new(&x, guard), Memory::new(&gamma, guard), Memory::new(&beta, guard));
                let mut out = Memory::new(&vec![0f32; len], guard);
                kernels.layer_norm(&x, &gamma, &beta, 1e-5, &mut out);
                out.to_vec()
            });
            same(&what("softmax"), |guard| {
                let mut x = Memory::new(&x, guard);
                let sum = kernels.softmax(&mut x, 0.125);
                x.iter().copied().chain([sum]).collect()
            });
            for act in [
                Activation::QuickGelu,
                Activation::Gelu,
                Activation::GeluTanh,
                Activation::Silu,
                Activation::Relu,
            ] {
                same(&what("activate"), |guard| {
                    let mut x = Memory::new(&x, guard);
                    kernels.activate(act, &mut x);
                    x.to_vec()
                });
            }
            same(&what("widen_f16"), |guard| {
                let (halves, mut out) = (Memory::new(&halves, guard), Memory::new(&vec![0f32; len], guard));
                kernels.widen_f16(&halves, &mut out);
                out.to_vec()
            });
            same(&what("narrow_f16"), |guard| {
                let (x, mut out) = (Memory::new(&x, guard), Memory::new(&vec![f16::ZERO; len], guard));
                kernels.narrow_f16(&x, &mut out);
                out.iter().map(|value| value.to_f32()).collect()
            });
        }
    }
}

/// The guard itself works: a child process that reads one value too far dies of it.
#[test]
fn a_guard_page_catches_one_value_too_far() {
    let guarded = Guarded::new(&[1.0f32; 5], true);
    let mut status = 0;
    // SAFETY: none for the read, on purpose: the child, which does nothing else, is to die of it.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            guarded.as_ptr().add(5).read_volatile();
            libc::_exit(0);
        }
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
    }
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV, "status {status:#x}");
}
