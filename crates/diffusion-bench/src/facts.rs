//! The machine that is measured.

use serde::Serialize;
use std::env::consts::{ARCH, OS};
use std::fs;
use std::num::NonZero;
use std::process::Command;
use std::thread::available_parallelism;

/// What numbers mean nothing without.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: u32,
    /// The operating system and the kind of processor.
    pub system: String,
    /// The compiler, where it can be asked.
    pub compiler: Option<String>,
    /// How many processes wanted to compute in the minute before, on average, where the system tells.
    pub load: Option<f64>,
}

impl Facts {
    /// Looks at this machine.
    pub fn here() -> Self {
        let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model_name(&text));
        Self {
            processor: model.unwrap_or_else(|| "an unknown processor".into()),
            processors: processors(),
            system: format!("{OS} on {ARCH}"),
            compiler: compiler(),
            load: fs::read_to_string("/proc/loadavg").ok().and_then(|text| first_load(&text)),
        }
    }
}

/// The processors that this process may use.
pub fn processors() -> u32 {
    available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u32::MAX)
}

/// The name of the first processor in the text of `/proc/cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<String> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.trim() == "model name").map(|(_, value)| value.trim().to_string())
}

/// The average over one minute in the text of `/proc/loadavg`.
fn first_load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

/// The compiler that `cargo` finds, which is the one that built this program, unless it was moved.
fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let version = version.split_whitespace().nth(1)?;
    Some(format!("rustc {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        let text =
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A Good One @ 2 GHz\nflags\t: fpu\n";
        assert_eq!(model_name(text).as_deref(), Some("A Good One @ 2 GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }

    #[test]
    fn the_load_is_that_of_the_last_minute() {
        assert_eq!(first_load("0.25 1.00 2.00 1/100 4321\n"), Some(0.25));
        assert_eq!(first_load(""), None);
    }
}
