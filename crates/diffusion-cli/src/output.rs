//! Output: the one way to speak, on both streams. What the program tells a terminal, a pipe or a log cannot end it;
//! what it was asked to print must arrive.

use indicatif::ProgressBar;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bar that is on the terminal, if there is one: lines are written above it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Puts a bar on the terminal, or none, in the place of the one that is there.
pub fn set_bar(bar: Option<ProgressBar>) {
    if let Some(before) = std::mem::replace(&mut *lock(), bar) {
        before.finish_and_clear();
    }
}

fn lock() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `write` while no bar is in the way.
fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    match &*lock() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a line on standard output, as well as that goes.
pub fn try_print(line: impl Display) {
    let _ = above_bar(|| line_on(io::stdout().lock(), line));
}

/// Writes a line on standard error, as well as that goes.
pub fn log(line: impl Display) {
    let _ = above_bar(|| line_on(io::stderr().lock(), line));
}

/// Writes what the program was asked for on standard output. That nobody reads it any more is no error; that it is lost
/// is one.
pub fn print(text: impl Display) -> io::Result<()> {
    match above_bar(|| line_on(io::stdout().lock(), text)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line at once, so that lines of several processes in one log do not mix.
fn line_on(mut stream: impl Write, line: impl Display) -> io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    stream.flush()
}
