//! Keeps memory that a program has freed, instead of returning it to the system; and tells when there is no more.
#![allow(
    unsafe_code,
    reason = "the C library's own settings, of any values; an allocator that is the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Rust's default allocator, which calls a function with the number of bytes where they cannot be had, before whoever
/// asked for them learns it: in most cases the program ends then. The function must not allocate.
///
/// ```
/// use diffusion_kernels::TellingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: TellingAllocator = TellingAllocator(|bytes| assert!(bytes > 1 << 40));
///
/// assert!(Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err());
/// ```
pub struct TellingAllocator(
    /// What is called.
    pub fn(usize),
);

impl TellingAllocator {
    fn told(&self, memory: *mut u8, bytes: usize) -> *mut u8 {
        if memory.is_null() {
            (self.0)(bytes);
        }
        memory
    }
}

// SAFETY: every call is handed to the system's allocator as it is, and its answer handed back.
unsafe impl GlobalAlloc for TellingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        self.told(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory is the system allocator's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.told(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        self.told(unsafe { System.realloc(memory, layout, bytes) }, bytes)
    }
}

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
