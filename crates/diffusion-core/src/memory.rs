//! Memory that may be refused: work that has an answer to that of its own.

use std::cell::Cell;

thread_local! {
    /// How many calls of `fallibly` this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Does work that itself answers where the system refuses memory, e.g. by [`Vec::try_reserve`]; on this thread
/// [`is_fallible`] is true meanwhile.
///
/// ```
/// use diffusion_core::memory::{fallibly, is_fallible};
///
/// assert!(fallibly(|| is_fallible() && Vec::<u8>::new().try_reserve(usize::MAX).is_err()));
/// assert!(!is_fallible());
/// ```
pub fn fallibly<T>(work: impl FnOnce() -> T) -> T {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            DEPTH.with(|depth| depth.set(depth.get() - 1));
        }
    }
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let _inside = Inside;
    work()
}

/// Whether this thread is in [`fallibly`]. It allocates nothing, so an allocator may ask.
pub fn is_fallible() -> bool {
    DEPTH.with(|depth| depth.get() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use std::thread;

    #[test]
    fn only_the_work_itself_is_fallible() {
        assert!(!is_fallible());
        fallibly(|| {
            fallibly(|| assert!(is_fallible()));
            assert!(is_fallible());
            assert!(!thread::spawn(is_fallible).join().unwrap());
        });
        assert!(catch_unwind(|| fallibly(|| panic!("on the way"))).is_err());
        assert!(!is_fallible());
    }
}
