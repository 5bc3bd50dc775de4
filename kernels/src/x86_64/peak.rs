//! x86-64 loops, in assembly, so that the optimiser leaves the mix of instructions alone. Accumulators 0 to 11,
//! operands in 12, products from 13 on; what they hold does not matter, but it is neither zero nor denormal.

use crate::table::Peak;
use core::arch::asm;

pub(super) const MADDUBS: Peak =
    Peak { name: "4 vpmaddubsw + 4 vpaddw + vpmaddwd + vpaddd, 256 bits", macs: 12 * 128, run: maddubs };
pub(super) const DPBUSD_256: Peak = Peak { name: "vpdpbusd, 256 bits", macs: 12 * 32, run: dpbusd_256 };
pub(super) const DPBUSD_512: Peak = Peak { name: "vpdpbusd, 512 bits", macs: 12 * 64, run: dpbusd_512 };
pub(super) const FMA: Peak = Peak { name: "vfmadd231ps, 256 bits", macs: 12 * 8, run: fma };
pub(super) const FMA_512: Peak = Peak { name: "vfmadd231ps, 512 bits", macs: 12 * 16, run: fma_512 };

macro_rules! peak_loop {
    ($name:ident, $features:literal, $pattern:expr, $broadcast:literal, $($instruction:literal),+) => {
        #[target_feature(enable = $features)]
        fn $name(iterations: u64) {
            // SAFETY: touches registers only, all of them declared; `iterations` counts down from at least 1.
            unsafe {
                asm!(
                    "vmovd xmm12, {pattern:e}",
                    $broadcast,
                    ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11",
                    "vpxor xmm\\i, xmm\\i, xmm\\i",
                    ".endr",
                    "2:",
                    ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11",
                    $($instruction,)+
                    ".endr",
                    "dec rcx",
                    "jnz 2b",
                    "vzeroupper",
                    pattern = in(reg) $pattern,
                    inout("rcx") iterations => _,
                    clobber_abi("C"),
                    options(nomem, nostack),
                );
            }
        }
    };
}

const BYTES: u32 = 0x0302_0503;

peak_loop!(
    maddubs,
    "avx2",
    BYTES,
    "vpbroadcastd ymm12, xmm12",
    "vpmaddubsw ymm14, ymm12, ymm12",
    "vpmaddubsw ymm15, ymm12, ymm12",
    "vpaddw ymm14, ymm14, ymm12",
    "vpaddw ymm14, ymm14, ymm15",
    "vpmaddubsw ymm15, ymm12, ymm12",
    "vpmaddubsw ymm13, ymm12, ymm12",
    "vpaddw ymm14, ymm14, ymm15",
    "vpaddw ymm14, ymm14, ymm13",
    "vpmaddwd ymm14, ymm14, ymm12",
    "vpaddd ymm\\i, ymm\\i, ymm14"
);
peak_loop!(
    dpbusd_256,
    "avx2,avxvnni",
    BYTES,
    "vpbroadcastd ymm12, xmm12",
    "{{vex}} vpdpbusd ymm\\i, ymm12, ymm12"
);
peak_loop!(
    dpbusd_512,
    "avx512f,avx512vnni",
    BYTES,
    "vpbroadcastd zmm12, xmm12",
    "vpdpbusd zmm\\i, zmm12, zmm12"
);
peak_loop!(fma, "avx2,fma", 1f32.to_bits(), "vpbroadcastd ymm12, xmm12", "vfmadd231ps ymm\\i, ymm12, ymm12");
peak_loop!(
    fma_512,
    "avx512f",
    1f32.to_bits(),
    "vpbroadcastd zmm12, xmm12",
    "vfmadd231ps zmm\\i, zmm12, zmm12"
);
