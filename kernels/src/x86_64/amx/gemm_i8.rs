//! int8 micro-kernel for tile registers: 32 rows by two RHS panels in four tiles of sums.

use crate::pack::{K_GROUP, LhsCodes, NR};
use crate::prefetch::LINE;
use crate::table::{MicroKernelI8, RunI8};
use core::arch::asm;

pub(super) const GEMM_I8: MicroKernelI8 = MicroKernelI8 {
    name: "i8_gemm_32x32c64_amx_dpbssd",
    lhs: LhsCodes::S8Rows,
    offset: 0,
    run: RunI8::Rows(run),
    order: None,
    repack: None,
};

/// Rows of a tile register.
const TILE_ROWS: usize = 16;
/// Bytes of a tile register's row: 64 codes, or the sums of an RHS panel, or four `k` of its 16 channels.
const ROW_BYTES: usize = 64;
/// Steps along `k` that are multiplied at once.
const STEPS: usize = ROW_BYTES;
/// Cache lines of each panel that comes next asked for in a step.
const AHEAD: usize = 2;
/// Bytes of an RHS panel for so many.
const PANEL_STEP: usize = NR * STEPS;

/// The shapes of the tile registers, as `ldtilecfg` reads them.
#[repr(C, align(64))]
pub(super) struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Sums of `rows[0]` rows in tiles 0 and 1 and of `rows[1]` in 2 and 3, their LHS in 4 and 5, the RHS in 6 and 7.
    pub(super) const fn new(rows: [usize; 2]) -> TileConfig {
        let [first, second] = [rows[0] as u8, rows[1] as u8];
        let all = TILE_ROWS as u8;
        let row_bytes = ROW_BYTES as u16;
        TileConfig {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [
                row_bytes, row_bytes, row_bytes, row_bytes, row_bytes, row_bytes, row_bytes, row_bytes, 0, 0,
                0, 0, 0, 0, 0, 0,
            ],
            rows: [first, first, second, second, first, second, all, all, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// Gives this thread's tile registers these shapes.
    ///
    /// # Safety
    /// The CPU has AMX, and the process was granted its state; `new` got numbers from 1 to 16.
    pub(super) unsafe fn load(&self) {
        // SAFETY: reads 64 bytes. Nothing but this module uses tile registers: no value is lost.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, readonly, preserves_flags)) };
    }
}

/// Puts the tile registers back into their first state, so that nobody has to save them.
///
/// # Safety
/// The CPU has AMX, and the process was granted its state.
pub(super) unsafe fn release() {
    // SAFETY: touches tile registers only.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// # Safety
/// As [`RunI8::Rows`] says; the CPU has AMX-INT8, and the process was granted its state.
#[expect(clippy::too_many_arguments, reason = "a matrix product has so many sizes")]
unsafe fn run(
    k: usize,
    a: *const u8,
    lda: usize,
    rows: usize,
    b: [*const i8; 2],
    next: [*const u8; 2],
    add: bool,
    sums: [*mut i32; 2],
) {
    let (whole, left) = (k / STEPS, k % STEPS);
    // What is left of the panels, with zeros behind it: they cancel what the rows have there.
    let mut rest = [[0i8; PANEL_STEP]; 2];
    for (rest, b) in rest.iter_mut().zip(b).filter(|_| left > 0) {
        // SAFETY: the panel holds `k` steps of NR bytes.
        unsafe { rest.as_mut_ptr().copy_from_nonoverlapping(b.add(whole * PANEL_STEP), left * NR) };
    }
    let mut shape = [0; 2];
    for first in (0..rows).step_by(2 * TILE_ROWS) {
        // Where one tile is enough, the second one is the first again.
        let (now, second) = match rows - first {
            left @ 0..=TILE_ROWS => ([left; 2], first),
            left => ([TILE_ROWS, TILE_ROWS.min(left - TILE_ROWS)], first + TILE_ROWS),
        };
        // SAFETY: each tile has from 1 to 16 rows; all of them are rows of `a` and of the sums, which lie as `multiply` wants
        // them. The rest of a row is as long as its multiplication reads.
        unsafe {
            if shape != now {
                TileConfig::new(now).load();
                shape = now;
            }
            let a = [first, second].map(|row| a.add(row * lda));
            let c = [first, second].map(|row| sums.map(|sums| sums.add(row * NR)));
            // Each turn asks for other lines, so that weights stream in while something is multiplied.
            let turn = first / (2 * TILE_ROWS);
            let next = next.map(|next| next.wrapping_add(turn * AHEAD * LINE));
            if whole > 0 {
                multiply(whole, a, lda, b, next, add, c);
            }
            if left > 0 {
                let a = a.map(|a| a.add(whole * STEPS));
                let rest = [rest[0].as_ptr(), rest[1].as_ptr()];
                multiply(1, a, lda, rest, next, add || whole > 0, c);
            }
        }
    }
    // SAFETY: as the caller promises.
    unsafe { release() };
}

/// `c[i][j] = Σ a[i]·b[j]` over `steps` times 64 `k`, added to what is there if `add`: tile by tile in the shapes that were
/// loaded before.
///
/// # Safety
/// The CPU has AMX-INT8, and the process was granted its state; tiles have the shapes of a `TileConfig::new`. `steps` is more
/// than 0; from each `a` on there are as many rows as the config says, `lda` apart, of 64 codes for each step; each `b` holds
/// PANEL_STEP codes for each; from each `next` on, lines are only asked for; each `c` has as many rows of NR.
#[inline]
unsafe fn multiply(
    steps: usize,
    a: [*const u8; 2],
    lda: usize,
    b: [*const i8; 2],
    next: [*const u8; 2],
    add: bool,
    c: [[*mut i32; 2]; 2],
) {
    // SAFETY: reads and writes what the caller promises; no register but tiles and those named is changed.
    unsafe {
        asm!(
            "test {add:e}, {add:e}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "mov {t}, [{c} + 0]",
            "tileloadd tmm0, [{t} + {row}]",
            "mov {t}, [{c} + 8]",
            "tileloadd tmm1, [{t} + {row}]",
            "mov {t}, [{c} + 16]",
            "tileloadd tmm2, [{t} + {row}]",
            "mov {t}, [{c} + 24]",
            "tileloadd tmm3, [{t} + {row}]",
            "3:",
            "tileloadd tmm4, [{a0} + {lda}]",
            "tileloadd tmm6, [{b0} + {row}]",
            "tdpbssd tmm0, tmm4, tmm6",
            "prefetcht1 [{n0}]",
            "prefetcht1 [{n1}]",
            "tileloadd tmm7, [{b1} + {row}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {lda}]",
            "tdpbssd tmm2, tmm5, tmm6",
            "prefetcht1 [{n0} + {line}]",
            "prefetcht1 [{n1} + {line}]",
            "tdpbssd tmm3, tmm5, tmm7",
            "add {n0}, {panel_step}",
            "add {n1}, {panel_step}",
            "add {a0}, {k_step}",
            "add {a1}, {k_step}",
            "add {b0}, {panel_step}",
            "add {b1}, {panel_step}",
            "dec {steps}",
            "jnz 3b",
            "mov {t}, [{c} + 0]",
            "tilestored [{t} + {row}], tmm0",
            "mov {t}, [{c} + 8]",
            "tilestored [{t} + {row}], tmm1",
            "mov {t}, [{c} + 16]",
            "tilestored [{t} + {row}], tmm2",
            "mov {t}, [{c} + 24]",
            "tilestored [{t} + {row}], tmm3",
            add = in(reg) i32::from(add),
            steps = inout(reg) steps => _,
            a0 = inout(reg) a[0] => _,
            a1 = inout(reg) a[1] => _,
            lda = in(reg) lda,
            b0 = inout(reg) b[0] => _,
            b1 = inout(reg) b[1] => _,
            n0 = inout(reg) next[0] => _,
            n1 = inout(reg) next[1] => _,
            c = in(reg) &c,
            t = out(reg) _,
            row = in(reg) ROW_BYTES,
            line = const LINE,
            k_step = const STEPS,
            panel_step = const PANEL_STEP,
            options(nostack),
        );
    }
}

const _: () = assert!(STEPS / K_GROUP == TILE_ROWS && NR * size_of::<i32>() == ROW_BYTES);
