//! Keeps memory that a program has freed, instead of returning it to the system.
#![allow(unsafe_code, reason = "the C library's own settings; `mallopt` takes any values")]

/// Makes this process keep freed memory until it ends: training allocates the same large blocks at each step, and by
/// default Linux's C library returns them to the system, which clears every page again.
///
/// Call it first in `main`. A DiT's training step on a CPU gains about a tenth; peak memory stays as it is. Only for
/// programs on Linux with glibc that keep Rust's default allocator; elsewhere it does nothing.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only reads its two arguments, and glibc takes its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
