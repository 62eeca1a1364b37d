//! Preparing the items of an iterator ahead of time, on one thread in the background.

use std::{
    panic,
    sync::mpsc::{Receiver, sync_channel},
    thread::{self, JoinHandle},
};

/// The items of another iterator, in the same order, prepared while the previous ones are in use.
///
/// The thread ends with the iterator, or when this is dropped; dropping waits for the item that is being prepared.
#[derive(Debug)]
pub struct Prefetch<T> {
    /// `None` only while being dropped.
    items: Option<Receiver<T>>,
    /// `None` once the thread has ended and been asked how.
    worker: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Prepares up to `n` items of `iterator` ahead of the one that is asked for.
    ///
    /// # Panics
    /// If `n` is zero, or the system cannot start a thread. [`next`](Iterator::next) panics where the iterator
    /// itself would have: a panic on the thread waits until the items before it are taken.
    pub fn new(iterator: impl Iterator<Item = T> + Send + 'static, n: usize) -> Self {
        assert!(n > 0, "prefetching {n} items was asked for, expected at least 1");
        // The thread holds one more item in its hand while the channel is full.
        let (sender, items) = sync_channel(n - 1);
        let work = move || {
            for item in iterator {
                if sender.send(item).is_err() {
                    break;
                }
            }
        };
        let worker = thread::Builder::new().name("prefetch".to_owned()).spawn(work);
        Self { items: Some(items), worker: Some(worker.expect("the system can start a thread")) }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.items.as_ref()?.recv().ok();
        if item.is_none()
            && let Some(Err(payload)) = self.worker.take().map(JoinHandle::join)
        {
            panic::resume_unwind(payload);
        }
        item
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // Without a receiver the thread's next `send` fails, and the thread ends.
        self.items = None;
        if let Some(worker) = self.worker.take() {
            // A panic over an item that nobody asked for would not have happened without prefetching either.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[test]
    fn items_and_their_end_are_the_same() {
        for n in [1, 2, 100] {
            let mut prefetch = Prefetch::new(0..50, n);
            assert!(prefetch.by_ref().eq(0..50));
            assert_eq!((prefetch.next(), prefetch.next()), (None, None));
        }
    }

    #[test]
    fn no_more_than_n_items_are_prepared() {
        let prepared = Arc::new(AtomicUsize::new(0));
        let counter = prepared.clone();
        let counting = std::iter::repeat_with(move || counter.fetch_add(1, Ordering::SeqCst));
        let mut prefetch = Prefetch::new(counting, 3);
        for taken in 0..4 {
            // Long enough for a thread without a bound to run far ahead; a slow machine passes all the same.
            thread::sleep(Duration::from_millis(20));
            let ahead = prepared.load(Ordering::SeqCst) - taken;
            assert!(ahead <= 3, "{ahead} items were prepared ahead, expected at most 3");
            assert_eq!(prefetch.next(), Some(taken));
        }
    }

    #[test]
    fn the_thread_ends_when_dropped() {
        let held = Arc::new(());
        let copy = held.clone();
        let mut prefetch = Prefetch::new(std::iter::repeat_with(move || Arc::strong_count(&copy)), 2);
        assert_eq!(prefetch.next(), Some(2));
        drop(prefetch);
        assert_eq!(Arc::strong_count(&held), 1, "the iterator still lives on its thread");
    }

    #[test]
    fn a_panic_arrives_where_it_happened() {
        let mut prefetch = Prefetch::new((0..).inspect(|i| assert!(*i < 2, "item {i} is bad")), 8);
        assert_eq!((prefetch.next(), prefetch.next()), (Some(0), Some(1)));
        let payload = catch_unwind(AssertUnwindSafe(|| prefetch.next())).expect_err("the third item panics");
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("item 2 is bad"));
        assert_eq!(prefetch.next(), None);
    }

    #[test]
    #[should_panic(expected = "prefetching 0 items was asked for, expected at least 1")]
    fn prefetching_nothing_panics() {
        Prefetch::new(0..1, 0);
    }
}
