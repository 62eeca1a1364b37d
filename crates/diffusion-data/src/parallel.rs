//! Doing many small jobs, each of which may fail, on several threads at once.

use std::{
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

/// Does the jobs on some threads until one fails; of several that fail, the error is the first job's.
pub(crate) fn in_parallel<J: Send, E: Send>(
    jobs: impl Iterator<Item = J> + Send,
    threads: usize,
    work: impl Fn(J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let jobs = Mutex::new(jobs.enumerate());
    let jobs = || jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || {
        loop {
            let job = jobs().next();
            let (i, job) = job?;
            if let Err(error) = work(job) {
                // Nobody needs the rest any more. The jobs before this one are done or in other threads' hands.
                jobs().by_ref().for_each(drop);
                return Some((i, error));
            }
        }
    };
    let first_error = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let errors = workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        errors.min_by_key(|&(i, _)| i)
    });
    first_error.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    /// Three jobs are in hand: the first fails after the second, and the third does not.
    #[test]
    fn the_first_error_counts_and_ends_the_work() {
        let (all, both) = (Barrier::new(3), Barrier::new(2));
        let count = AtomicUsize::new(0);
        let work = |job| {
            count.fetch_add(1, Ordering::Relaxed);
            if job < 3 {
                all.wait();
            }
            match job {
                0 => {
                    both.wait();
                    // The second fails right after this, and takes no time for it.
                    thread::sleep(Duration::from_millis(50));
                    Err(0)
                }
                1 => {
                    both.wait();
                    Err(1)
                }
                _ => {
                    thread::sleep(Duration::from_millis(2));
                    Ok(())
                }
            }
        };
        assert_eq!(in_parallel(0..1000, 3, work), Err(0));
        // All of them would take the third thread two seconds.
        assert!(count.into_inner() < 1000);
    }

    #[test]
    fn every_job_is_done() {
        for threads in [1, 2, 7] {
            let sum = AtomicUsize::new(0);
            let work = |job| {
                sum.fetch_add(job, Ordering::Relaxed);
                Ok::<_, ()>(())
            };
            assert_eq!(in_parallel(0..100, threads, work), Ok(()));
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    #[should_panic(expected = "job 5 is broken")]
    fn a_panic_in_a_job_is_passed_on() {
        let _ = in_parallel(0..10, 2, |job| {
            assert!(job != 5, "job {job} is broken");
            Ok::<_, ()>(())
        });
    }
}
