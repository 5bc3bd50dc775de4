//! The table of an instruction set, and how its float micro-kernels are called safely.

use crate::isa::Isa;
use crate::pack::{LhsFormat, NR, Weights};
use crate::scalar;
use crate::table::{Element, MicroKernelFloat, Table, Vectorized};

/// The kernels chosen for one instruction set. Cheap to copy; make it once.
#[derive(Clone, Copy)]
pub struct Kernels {
    isa: Isa,
    pub(crate) table: Table,
}

impl Kernels {
    /// The best kernels for `isa`.
    pub fn new(isa: Isa) -> Kernels {
        let table = scalar::TABLE;
        // Each replaces what it does better, and only for features that `isa` proves.
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let table = crate::simd::select(isa, table);
        #[cfg(target_arch = "x86_64")]
        let table = crate::x86_64::select(isa, table);
        #[cfg(target_arch = "aarch64")]
        let table = crate::aarch64::select(isa, table);
        Kernels { isa, table }
    }

    /// The same with loads and multiplications as a Cortex-A55 starts them together: the same results to the bit. Other cores
    /// run them too, but slower.
    #[must_use]
    pub fn for_cortex_a55(self) -> Kernels {
        #[cfg(target_arch = "aarch64")]
        return Kernels { table: crate::aarch64::for_cortex_a55(self.isa, self.table), ..self };
        #[cfg(not(target_arch = "aarch64"))]
        self
    }

    /// The instruction set that these kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `work` as compiled for this instruction set.
    pub fn vectorized<W: Vectorized>(&self, work: W) -> W::Output {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        return crate::simd::vectorized(self.isa, work);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        work.run()
    }

    /// The name of the micro-kernel that multiplies by `weights`, by the grammar in the crate's documentation.
    pub fn gemm_name(&self, weights: &Weights<'_>) -> &'static str {
        match (weights, &self.table.gemm_f16) {
            (Weights::I8(_), _) => self.table.gemm_i8.name,
            (Weights::F16(_), Some(kernel)) => kernel.name,
            (Weights::F16(_) | Weights::F32(_), _) => self.table.gemm_f32.name,
        }
    }

    /// The format in which the GEMM by `weights` reads its left operand.
    pub fn lhs_format(&self, weights: &Weights<'_>) -> LhsFormat {
        match weights {
            Weights::I8(_) => LhsFormat::I8(self.table.gemm_i8.lhs),
            Weights::F16(_) if self.table.gemm_f16.is_some() => LhsFormat::F16,
            Weights::F16(_) | Weights::F32(_) => LhsFormat::F32,
        }
    }
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernels")
            .field("isa", &self.isa)
            .field("i8", &self.table.gemm_i8.name)
            .field("f16", &self.table.gemm_f16.as_ref().map_or("widened", |kernel| kernel.name))
            .field("f32", &self.table.gemm_f32.name)
            .finish_non_exhaustive()
    }
}

impl<T: Element> MicroKernelFloat<T> {
    /// RHS panels that it multiplies at once.
    pub(crate) fn panels(&self) -> usize {
        if self.run_1x2.is_some() { 2 } else { 1 }
    }

    /// `c[r][j] += Σ a[r][k]·b[k][j]` for `rows` rows and the RHS panels `b`, next to each other in `c`.
    ///
    /// # Panics
    /// If the slices do not hold that.
    #[expect(clippy::too_many_arguments, reason = "a matrix product has so many sizes")]
    pub(crate) fn multiply(
        &self,
        k: usize,
        a: &[T],
        lda: usize,
        rows: usize,
        b: &[&[T]],
        c: &mut [f32],
        ldc: usize,
    ) {
        assert!((1..=self.mr).contains(&rows) && k.is_multiple_of(T::K_MULTIPLE));
        // Sizes that overflow saturate: no slice is so long.
        let reach =
            |rows: usize, stride: usize, last: usize| (rows - 1).saturating_mul(stride).saturating_add(last);
        assert!(a.len() >= reach(rows, lda, k) && c.len() >= reach(self.mr, ldc, b.len() * NR));
        assert!(b.iter().all(|b| b.len() / NR >= k));
        // SAFETY: only the table's micro-kernels are called, whose features its `Isa` proves; the sizes were just checked.
        unsafe {
            if let (Some(run), [b0, b1]) = (self.run_1x2, b) {
                return run(k, a.as_ptr(), lda, rows, [b0.as_ptr(), b1.as_ptr()], c.as_mut_ptr(), ldc);
            }
            for (panel, b) in b.iter().enumerate() {
                (self.run)(k, a.as_ptr(), lda, rows, b.as_ptr(), c.as_mut_ptr().add(panel * NR), ldc);
            }
        }
    }

    /// The same for all of `panels`, RHS panels of `panel_len` elements each.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn multiply_all(
        &self,
        k: usize,
        a: &[T],
        lda: usize,
        rows: usize,
        panels: &[T],
        panel_len: usize,
        c: &mut [f32],
        ldc: usize,
    ) {
        let step = self.panels();
        for (i, panels) in panels.chunks(step * panel_len).enumerate() {
            let c = &mut c[i * step * NR..];
            match panels.split_at(panel_len) {
                (only, []) => self.multiply(k, a, lda, rows, &[only], c, ldc),
                (first, second) => self.multiply(k, a, lda, rows, &[first, second], c, ldc),
            }
        }
    }
}
