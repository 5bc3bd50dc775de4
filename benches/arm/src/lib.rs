//! Markers that an instruction counter can find: on AArch64 `hint #0x60` and `hint #0x61`, which do nothing on any core.

/// Counting starts here.
pub fn start() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that no core knows is a no-op.
    unsafe {
        core::arch::asm!("hint #0x60")
    }
}

/// Counting stops here.
pub fn stop() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `start`.
    unsafe {
        core::arch::asm!("hint #0x61")
    }
}
