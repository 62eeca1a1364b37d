//! Running out of memory, which is an error that says what needs less.

use crate::signals;
use diffusion::TellingAllocator;
use diffusion::core::memory::is_fallible;
use std::fmt::{self, Display, Formatter};
use std::io::{Write, stderr};
use std::panic;
#[cfg(not(unix))]
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// What may need more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Nothing that a setting decides on.
    Other,
    /// Making the network.
    Network,
    /// Opening the data.
    Data,
    /// Steps of training, and validation.
    Steps,
    /// The samples at the end of training.
    LastSamples,
    /// The samples of `sample`.
    Samples,
}

/// In the order of their numbers.
const ALL: [Work; 6] =
    [Work::Other, Work::Network, Work::Data, Work::Steps, Work::LastSamples, Work::Samples];

/// What is being done.
static WORK: AtomicU8 = AtomicU8::new(Work::Other as u8);

/// Whether the program ends, because memory ran out.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// From now on this is done.
pub fn during(work: Work) {
    WORK.store(work as u8, Ordering::Relaxed);
}

/// What to do against a lack of memory now. It is said without allocating.
struct Hint;

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let work = ALL.get(usize::from(WORK.load(Ordering::Relaxed))).copied().unwrap_or(Work::Other);
        f.write_str(work.advice())?;
        match work {
            Work::Steps | Work::LastSamples => {
                signals::with_advice(|advice| write!(f, "; {advice}")).unwrap_or(Ok(()))
            }
            _ => Ok(()),
        }
    }
}

impl Work {
    /// What needs less.
    fn advice(self) -> &'static str {
        match self {
            Self::Other => "end other programs, or raise the limit on this one's memory (`ulimit -v`)",
            Self::Network => {
                "a smaller network needs less; its sizes are the settings below network in config.toml"
            }
            Self::Data => {
                "fewer or smaller examples need less; of images --set data.memory_mib=N keeps no more than so many MiB \
                 in memory"
            }
            Self::Steps => "a smaller --batch-size needs less, and training.accumulate makes up for it",
            Self::LastSamples => "fewer samples need less, --set sampling.count=N",
            Self::Samples => "fewer samples at once need less, --batch-size N, or fewer in all, --count N",
        }
    }
}

#[global_allocator]
static ALLOCATOR: TellingAllocator = TellingAllocator(|bytes| {
    if is_fallible() {
        // Whoever asked answers for it; or else the program is aborted.
        #[cfg(unix)]
        IS_OUT.store(true, Ordering::Relaxed);
        return;
    }
    end(format_args!("out of memory: {bytes} bytes of memory could not be had"), &Hint)
});

/// What to do where threads cannot be started.
const THREADS: &str = "raise the limit on memory (`ulimit -v`) or on processes (`ulimit -u`), or let RAYON_NUM_THREADS=1 \
                       ask for fewer; a run that was training goes on with `train --resume`";

/// Ends the program with this error, which is said once.
fn end(sentence: fmt::Arguments<'_>, hint: &dyn Display) -> ! {
    if IS_ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    let _ = writeln!(stderr(), "error: {sentence}\nhint: {hint}");
    // Other threads go on meanwhile, so nothing of theirs is taken down.
    #[cfg(unix)]
    signal_hook::low_level::exit(1);
    #[cfg(not(unix))]
    process::exit(1);
}

/// Whether memory was refused to work that answers for it.
#[cfg(unix)]
static IS_OUT: AtomicBool = AtomicBool::new(false);

/// Lets the end of the program without memory, on the host or on a device, be an error and not a crash.
pub fn watch() {
    #[cfg(unix)]
    {
        let ended = signal_hook::consts::SIGABRT;
        let _ = signal_hook::flag::register_conditional_shutdown(ended, 1, &IS_OUT);
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default().to_lowercase();
        // As graphics drivers, and the libraries over them, say it.
        if ["out of memory", "outofmemory", "out_of_memory"].iter().any(|words| said.contains(words)) {
            end(format_args!("the device is out of memory"), &Hint);
        }
        // As the standard library, rayon and the libraries here say it.
        if ["spawn thread", "start a thread", "threadpoolbuilderror"].iter().any(|words| said.contains(words))
        {
            end(format_args!("the system starts no more threads"), &THREADS);
        }
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_has_its_number_and_its_own_advice() {
        for (number, work) in ALL.into_iter().enumerate() {
            during(work);
            assert_eq!(usize::from(WORK.load(Ordering::Relaxed)), number);
            assert!(Hint.to_string().starts_with(work.advice()));
            let same = ALL.into_iter().filter(|other| other.advice() == work.advice());
            assert_eq!(same.count(), 1, "{work:?}");
        }
    }
}
