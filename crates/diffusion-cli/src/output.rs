//! Output. What the program tells a terminal, a pipe or a log cannot end it; what it was asked to print must
//! arrive.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a line on standard output, as well as that goes.
pub fn try_print(line: impl Display) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Writes a line on standard error, as well as that goes.
pub fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes what the program was asked for on standard output. That nobody reads it any more is no error; that it is lost
/// is one.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
