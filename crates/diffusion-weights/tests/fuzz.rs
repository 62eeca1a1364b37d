//! Random and damaged files for the readers of tensors: none may panic, take long, or ask for much more memory than the
//! file's size.
//!
//! A short slice runs with the other tests. All of it, ten million inputs:
//!
//! ```sh
//! FUZZ_INPUTS=10000000 cargo test -p diffusion-weights --test fuzz -- --nocapture
//! ```
//!
//! Input `i` follows from `i` alone; `FUZZ_FROM=i FUZZ_INPUTS=1` makes one again, and `FUZZ_STEP=1000` those of
//! many repetitions alone.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "for the test harness, which shows it on demand")]

#[path = "fuzz/array.rs"]
mod array;
#[path = "fuzz/inputs.rs"]
mod inputs;
#[path = "fuzz/random.rs"]
mod random;

use diffusion_weights::{PickledDict, TensorFile};
use inputs::{Inputs, Kind};
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How many bytes may be held at once per byte of the input, and for any input. The smallest instruction of a pickle takes
/// a byte and makes a value.
const BYTES: (usize, usize) = (400, 2 << 20);
/// How long an input may take for each of its bytes, and any input, on a machine that is busy; nearly all take
/// microseconds.
const TIME: (Duration, Duration) = (Duration::from_micros(1), Duration::from_secs(2));
/// How many elements of a tensor are read at most.
const READ: usize = 1 << 12;

/// What was seen of one kind of inputs.
#[derive(Debug, Default)]
struct Seen {
    inputs: u64,
    opened: u64,
    tensors: u64,
    /// Bytes held per byte of the input, beyond what any input may have, and the input.
    most: (f64, u64),
    /// Time of the slowest, and which it was.
    slowest: (Duration, u64),
}

#[test]
fn no_file_panics_hangs_or_takes_memory() {
    let number = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let (from, count): (u64, u64) = (number("FUZZ_FROM", 0), number("FUZZ_INPUTS", 30_000));
    let step = number("FUZZ_STEP", 1) as usize;
    let folder = tempfile::tempdir().unwrap();
    let inputs = Inputs::new(folder.path());
    let mut seen: BTreeMap<Kind, Seen> = BTreeMap::new();
    // What panics is told below.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    for i in (from..).step_by(step).take(count as usize) {
        let (kind, input) = inputs.input(i);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let measured = || {
            let started = Instant::now();
            (catch_unwind(AssertUnwindSafe(|| read(kind, &input, folder.path()))), started.elapsed())
        };
        let (result, mut time) = measured();
        let held = ALLOCATOR.peak_usage().saturating_sub(before);
        let limit = TIME.0 * input.len() as u32 + TIME.1;
        if time > limit {
            // The machine may have done something else meanwhile.
            time = time.min(measured().1).min(measured().1);
        }
        let most = BYTES.0 * input.len() + BYTES.1;
        let fault = match &result {
            Err(_) => Some("it panics".to_string()),
            Ok(_) if time > limit => Some(format!("it takes {time:?}")),
            Ok(_) if held > most => Some(format!("{held} bytes are held, expected at most {most}")),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            let _ = std::panic::take_hook();
            panic!("input {i}, {kind:?} of {} bytes: {fault}", input.len());
        }
        let tensors = result.unwrap_or_default();
        let seen = seen.entry(kind).or_default();
        seen.inputs += 1;
        seen.opened += u64::from(tensors.is_some());
        seen.tensors += tensors.unwrap_or_default();
        let ratio = held.saturating_sub(BYTES.1) as f64 / input.len().max(1) as f64;
        seen.most = if ratio > seen.most.0 { (ratio, i) } else { seen.most };
        seen.slowest = seen.slowest.max((time, i));
    }
    let _ = std::panic::take_hook();
    println!("{count} inputs in {:.1} s", begun.elapsed().as_secs_f64());
    for (kind, seen) in &seen {
        println!("{kind:?}: {seen:?}");
        // A fuzz of files that are all refused at their first byte would find nothing.
        assert!(seen.inputs < 1000 || seen.opened * 1000 > seen.inputs, "{kind:?}: {} opened", seen.opened);
    }
}

/// Opens a file and reads the values of its tensors; how many they were, or nothing if it is refused.
fn read(kind: Kind, input: &[u8], folder: &Path) -> Option<u64> {
    let file = match kind {
        Kind::Dict => return arrays(input),
        Kind::Index => {
            let path = folder.join("model.index.json");
            fs::write(&path, input).unwrap();
            TensorFile::open(&path).ok()?
        }
        _ => TensorFile::from_bytes("input", input.to_vec()).ok()?,
    };
    let mut tensors = 0;
    let names: Vec<String> = file.names().map(str::to_string).collect();
    for name in &names {
        let (dtype, shape) = (file.dtype(name).unwrap(), file.shape(name).unwrap());
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if count.is_none_or(|count| count > READ) {
            continue;
        }
        tensors += 1;
        if dtype.is_float() {
            let values = file.read(name);
            assert!(values.is_err() || values.unwrap().len() == count.unwrap());
        } else if let (true, Some(&rows)) = (dtype.is_integer(), shape.first()) {
            let _ = file.read_integers(name, 0..rows);
        }
    }
    Some(tensors)
}

/// Reads what a pickled dict has under its keys; how many arrays of bytes and lists of integers that was.
fn arrays(input: &[u8]) -> Option<u64> {
    let dict = PickledDict::read(input).ok()?;
    let mut read = 0;
    for key in ["a", "0"] {
        if let Ok(Some((shape, bytes))) = dict.array(key) {
            assert!(shape.iter().product::<u64>() == bytes.len() as u64);
            read += 1;
        }
        read += u64::from(dict.integers(key).is_ok_and(|found| found.is_some()));
        let _ = dict.strings(key);
    }
    Some(read)
}
