//! Damaged configurations of runs: they are read or refused, and nothing panics or takes memory.
//!
//! `FUZZ_INPUTS` sets the number of inputs, and `FUZZ_SEED` another seed. See `docs/bad-input.md`.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "for the test harness, which shows it on demand")]

use diffusion::core::random::{Purpose, Stream};
use diffusion_recipe::{Preset, RunConfig};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

/// What a configuration is made of, and what its numbers trip over.
const WORDS: &[&str] = &[
    "\n",
    "\"",
    "'",
    "[",
    "]",
    "[[a]]\n",
    "{ a = 1 }",
    " = ",
    "#",
    ".",
    "\"\"\"",
    "\\u0000",
    "nan",
    "-inf",
    "inf",
    "1e400",
    "1e-320",
    "0.0",
    "-0.0",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e308",
    "3.4028235e38",
    "0x7f",
    "1979-05-27T07:32:00Z",
    "true",
    "[1.0, 2.0]",
    "[]",
    "\"flow\"",
    "\"eps\"",
    "{ edm = { \
     sigma_data = 1e-30 } }",
    "\r\n",
    "\u{feff}",
    "é",
];

/// What the streams of these tests are for.
const DAMAGE: Purpose = Purpose(u64::MAX);

/// A configuration with one to three changes: a value that is another, a line that is gone or stands twice, or letters.
fn damage(text: &str, others: &[String], random: &mut Stream) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + random.below(3) {
        let at = random.below(lines.len());
        match random.below(8) {
            0..=3 => {
                if let Some((key, _)) = lines[at].split_once(" = ") {
                    lines[at] = format!("{key} = {}", WORDS[random.below(WORDS.len())]);
                }
            }
            4 => drop(lines.remove(at)),
            5 => {
                let other = &others[random.below(others.len())];
                let from = other.lines().nth(random.below(other.lines().count())).unwrap_or_default();
                lines.insert(at, from.to_owned());
            }
            _ => {
                let line = &mut lines[at];
                let place =
                    (0..=line.len()).filter(|&place| line.is_char_boundary(place)).collect::<Vec<_>>();
                line.insert_str(place[random.below(place.len())], WORDS[random.below(WORDS.len())]);
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

/// The most memory that this process has held, in MiB; 0 where the system does not tell.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() / 1024
}

#[test]
fn no_configuration_panics_or_takes_memory() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let (inputs, seed) = (number("FUZZ_INPUTS").unwrap_or(1000), number("FUZZ_SEED").unwrap_or(0));
    let good: Vec<String> =
        Preset::all().map(|preset| RunConfig::preset(preset.name).unwrap().to_toml().unwrap()).collect();
    let (begun, before) = (Instant::now(), peak());
    let workers = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let try_inputs = |worker: u64| {
        let (mut read, mut valid) = (0, 0);
        for i in (worker..inputs).step_by(workers as usize) {
            let mut random = Stream::new(seed, DAMAGE, i, 0);
            let text = damage(&good[random.below(good.len())], &good, &mut random);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let config = RunConfig::from_toml(&text).ok()?;
                let is_valid = config.validate().is_ok();
                // What was read can be written, unless a number is beyond TOML's, and is read as the same.
                if let Ok(written) = config.to_toml() {
                    RunConfig::from_toml(&written).unwrap();
                }
                Some(is_valid)
            }));
            let outcome = outcome.unwrap_or_else(|_| panic!("input {i} panics:\n{text}"));
            read += u64::from(outcome.is_some());
            valid += u64::from(outcome == Some(true));
        }
        (read, valid)
    };
    let (read, valid) = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn({
                    let try_inputs = &try_inputs;
                    move || try_inputs(worker)
                })
            })
            .collect();
        let counts = workers.into_iter().map(|worker| worker.join().unwrap());
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    });
    let (grown, seconds) = (peak() - before, begun.elapsed().as_secs_f64());
    println!("{inputs} configurations, {read} read, {valid} valid, {grown} MiB more, {seconds:.1} s");
    assert!(inputs / 20 < valid && valid < read && read < inputs, "{read} are read, {valid} are valid");
    assert!(grown < 64, "memory has grown by {grown} MiB");
}
