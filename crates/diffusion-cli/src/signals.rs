//! Signals: the wish of a user, a shell or a cluster that the program stop.
//!
//! SIGINT, SIGTERM, SIGHUP, and SIGUSR1, SIGUSR2 and SIGXCPU, which clusters send before a time limit, ask the work to
//! stop where it can go on later; a second SIGINT ends the program at once. What was ignored when the program began, as
//! `nohup` and scripts' background jobs ignore, stays ignored. While nothing can be lost, a program that does not stop by
//! itself within a second is ended.

use crate::output::log;
use diffusion::core::watch::Watch;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the work may take to stop by itself.
const PATIENCE: Duration = Duration::from_millis(900);

/// The number of SIGINT, on every system.
const INTERRUPT: i32 = 2;

/// What to do after a stop that leaves nothing behind.
pub const NOTHING_WRITTEN: &str = "nothing was written; the same command begins anew";

/// The signal that asked the program to stop, or 0.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// What is going on.
static STATE: Mutex<State> = Mutex::new(State { busy: 0, advice: None });

struct State {
    /// How many pieces of work are going on that must not be cut off.
    busy: u32,
    /// How to go on with what is interrupted.
    advice: Option<String>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens from now on, and asks `watch` to stop.
pub fn listen(watch: Watch) {
    let mut interrupts = 0;
    let heard = system::listen(move |signal| {
        interrupts += u32::from(signal == INTERRUPT);
        if interrupts > 1 {
            system::exit(128 + INTERRUPT);
        }
        if RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            watch.stop();
            let again = if signal == INTERRUPT { "; press Ctrl-C again to stop at once" } else { "" };
            log(format_args!("\n{}: stopping{again}", system::name(signal)));
            let _ = thread::Builder::new().name("stop".into()).spawn(move || end(signal));
        }
    });
    if let Err(error) = heard {
        log(format_args!("warning: signals will end the run without a checkpoint: {error}"));
    }
}

/// Ends the program as soon as nothing can be lost by it; it may well end by itself before.
fn end(signal: i32) {
    loop {
        thread::sleep(PATIENCE);
        let state = state();
        if state.busy == 0 {
            log(format_args!("error: {}", sentence()));
            if let Some(advice) = &state.advice {
                log(format_args!("hint: {advice}"));
            }
            system::exit(128 + signal);
        }
    }
}

/// What happened, for who asks what the program did last.
pub fn sentence() -> String {
    format!("stopped by {}", system::name(received()))
}

/// The signal that asked the program to stop; SIGINT where none did.
pub fn received() -> i32 {
    match RECEIVED.load(Ordering::SeqCst) {
        0 => INTERRUPT,
        signal => signal,
    }
}

/// From now on this is how to go on with what a signal interrupts.
pub fn advise(advice: String) {
    state().advice = Some(advice);
}

/// How to go on with what a signal interrupts.
pub fn advice() -> Option<String> {
    state().advice.clone()
}

/// Does something with how to go on, without waiting and without allocating; nothing where another thread has it.
pub fn with_advice<T>(use_it: impl FnOnce(&str) -> T) -> Option<T> {
    Some(use_it(STATE.try_lock().ok()?.advice.as_deref()?))
}

/// Work that a signal must not cut off: training, which ends with a checkpoint, and writing files.
pub struct Busy(());

impl Busy {
    /// Begins such work; it ends when this is dropped.
    pub fn begin() -> Self {
        state().busy += 1;
        Self(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        state().busy -= 1;
    }
}

#[cfg(unix)]
mod system {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ};
    use signal_hook::iterator::Signals;
    use std::fs;
    use std::io::{self, IsTerminal};
    use std::sync::Arc;
    use std::thread;

    pub use signal_hook::low_level::exit;

    /// Calls `hear` on a thread for every signal that asks the program to stop.
    pub fn listen(mut hear: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
        let ignored = Ignored::read();
        if !ignored.has(SIGXFSZ) {
            // So that a file that may not grow is an error, and not the end.
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        }
        let all = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU];
        let mut signals = Signals::new(all.into_iter().filter(|&signal| !ignored.has(signal)))?;
        let listener = move || signals.forever().for_each(&mut hear);
        thread::Builder::new().name("signals".into()).spawn(listener).map(drop)
    }

    /// What a signal is called.
    pub fn name(signal: i32) -> &'static str {
        signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
    }

    /// The signals that were ignored when the program began: a bit each.
    struct Ignored(u64);

    impl Ignored {
        /// As Linux tells. Elsewhere, where nobody tells without `unsafe`, what `nohup` and scripts ignore counts as ignored
        /// when no terminal is there to send it.
        fn read() -> Self {
            let bit = |signal: i32| 1 << (signal - 1);
            let Ok(status) = fs::read_to_string("/proc/self/status") else {
                let terminal =
                    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
                return Self(if terminal { 0 } else { bit(SIGHUP) | bit(SIGINT) });
            };
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
            Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
        }

        fn has(&self, signal: i32) -> bool {
            self.0 >> (signal - 1) & 1 == 1
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    pub use std::process::exit;

    /// Calls `hear` on a thread for every Ctrl-C.
    pub fn listen(mut hear: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
        ctrlc::set_handler(move || hear(super::INTERRUPT)).map_err(io::Error::other)
    }

    /// What a signal is called.
    pub fn name(_: i32) -> &'static str {
        "Ctrl-C"
    }
}
