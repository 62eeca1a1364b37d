//! What the program says on standard output, which may be a pipe that nobody reads, or a file on a full disk.

use crate::error::CliError;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a line. That nobody reads it any more is no error; that it is lost is one.
pub fn say(line: impl Display) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Output),
    }
}
