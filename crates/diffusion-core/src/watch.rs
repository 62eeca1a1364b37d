//! Watching long work: how far it is, and whether it shall go on.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done, e.g. `reading images`.
    pub work: &'a str,
    /// How much of it is done, in units of its own, e.g. images.
    pub done: u64,
    /// How much there is to do, where that is known.
    pub total: Option<u64>,
}

/// Who is told how far it is.
type Listener = dyn Fn(Progress<'_>) + Send + Sync;

/// A handle on long work: whoever does the work tells it how far that is and asks it whether to go on; whoever waits
/// for the work listens, and may ask it to stop. Clones are handles on the same work.
///
/// ```
/// use diffusion_core::watch::{Stopped, Watch};
///
/// let watch = Watch::new(|progress| println!("{}: {} of {:?}", progress.work, progress.done, progress.total));
/// let sum = |watch: &Watch| -> Result<u64, Stopped> {
///     (0..10).map(|i| watch.report("adding", i, Some(10)).map(|()| i)).sum()
/// };
/// assert_eq!(sum(&watch), Ok(45));
/// watch.stop();
/// assert_eq!(sum(&watch), Err(Stopped));
/// ```
#[derive(Clone, Default)]
pub struct Watch {
    stopped: Arc<AtomicBool>,
    listener: Option<Arc<Listener>>,
}

impl Watch {
    /// Tells `listener` how far the work is, on the thread that does it.
    pub fn new(listener: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..Self::default() }
    }

    /// A handle on the same work that tells nobody how far it is: for a part that reports in units of its own.
    pub fn quiet(&self) -> Self {
        Self { stopped: Arc::clone(&self.stopped), listener: None }
    }

    /// Asks the work to stop at the next place where it can.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the work was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether the work may go on, to be used with `?`.
    ///
    /// # Errors
    /// If it was asked to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// Tells how far the work is, and [`check`](Self::check)s.
    ///
    /// # Errors
    /// If the work was asked to stop.
    pub fn report(&self, work: &str, done: u64, total: Option<u64>) -> Result<(), Stopped> {
        if let Some(listener) = &self.listener {
            listener(Progress { work, done, total });
        }
        self.check()
    }
}

impl Debug for Watch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("is_stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// Work ended early because it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Display for Stopped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("it was asked to stop")
    }
}

impl std::error::Error for Stopped {}
