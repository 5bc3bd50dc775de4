//! Whether AMX may be used: the CPU has it, the system saves its state, and this process was granted it.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// `CPUID.(7,0):EDX`: AMX-TILE and AMX-INT8.
const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
/// `CPUID.1:ECX`: the system has enabled `xgetbv`.
const OSXSAVE: u32 = 1 << 27;
/// XCR0: the configuration and the data of tiles.
const TILE_STATE: u64 = 1 << 17 | 1 << 18;

/// Asks once; the answer holds for the process.
pub(crate) fn has_amx() -> bool {
    static GRANTED: OnceLock<bool> = OnceLock::new();
    *GRANTED.get_or_init(|| cfg!(not(miri)) && cpu_has_amx() && system_grants_tiles())
}

fn cpu_has_amx() -> bool {
    __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8
        && __cpuid(1).ecx & OSXSAVE != 0
        // SAFETY: OSXSAVE says that `xgetbv` may be executed.
        && unsafe { enabled_state() } & TILE_STATE == TILE_STATE
}

/// XCR0.
///
/// # Safety
/// The CPU and the system have XSAVE.
#[target_feature(enable = "xsave")]
unsafe fn enabled_state() -> u64 {
    // SAFETY: register 0 always exists.
    unsafe { _xgetbv(0) }
}

/// Linux hands out the 8 KB of tile state, which signal frames and thread states grow by, only to processes that ask
/// (`Documentation/arch/x86/xstate.rst`). It refuses where a thread's signal stack is too small.
#[cfg(target_os = "linux")]
fn system_grants_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: a system call that reads and writes no memory of this process; the kernel changes rax, rcx and r11.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Nothing was tried on another system.
#[cfg(not(target_os = "linux"))]
fn system_grants_tiles() -> bool {
    false
}
