//! docs/bad-input.md is the test: each row of its tables is typed, and answered with the exit code, the place and the
//! hint that it says.
//!
//! A row names a place, which is prepared here; what is typed there, or what is changed in its `config.toml`; the exit
//! code; and what the answer must name. Nothing on the disk may change, and the program may neither panic, nor hang, nor
//! ask for much memory.

// The places are Linux's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "bad_input/places.rs"]
mod places;
mod pretrained;

use places::{Base, PLACES, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a row may take on a machine that is busy; alone it takes a fraction of a second.
const LIMIT: Duration = Duration::from_secs(60);
/// The address space that a row may have, in KiB: what it asks for and does not touch counts too. PyTorch's library maps
/// gigabytes of itself.
const MEMORY: usize = if cfg!(feature = "tch") { 64 << 20 } else { 4 << 20 };
/// The fewest rows; a table that is not found is no table without mistakes.
const ROWS: usize = 150;

/// A row of the table.
#[derive(Debug)]
struct Row {
    line: usize,
    place: String,
    input: String,
    /// The exit code: 2 where clap answers, 0 for a warning.
    code: i32,
    /// What the answer names, e.g. a setting, an option or a file.
    names: Vec<String>,
    /// Whether a hint says what to do.
    hint: bool,
}

#[test]
fn bad_input_is_answered_as_the_table_says() {
    let rows = rows();
    assert!(rows.len() >= ROWS, "{} rows were found, expected at least {ROWS}", rows.len());
    let used: BTreeSet<&str> = rows.iter().map(|row| row.place.as_str()).collect();
    let known: BTreeSet<&str> = PLACES.iter().map(|place| place.name).collect();
    let only: Vec<_> = used.symmetric_difference(&known).collect();
    assert!(only.is_empty(), "the table or the test alone knows {only:?}");
    let inputs: BTreeSet<(&str, &str)> = rows.iter().map(|row| (&row.place[..], &row.input[..])).collect();
    assert_eq!(inputs.len(), rows.len(), "a row stands twice");

    let base = Base::new();
    let (next, workers) = (AtomicUsize::new(0), thread::available_parallelism().map_or(1, |n| n.get()));
    let failures: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                failures.extend(try_row(row, &base).err());
            }
            failures
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// The rows of all tables.
fn rows() -> Vec<Row> {
    let text = include_str!("../../../docs/bad-input.md");
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        // A bar inside a cell is written \|.
        let cells = cells.replace("\\|", "\0");
        let cells: Vec<String> = cells.split(" | ").map(|cell| cell.trim().replace('\0', "|")).collect();
        let [place, input, exit, names, hint] = &cells[..] else { panic!("line {}: {cells:?}", index + 1) };
        // The head and the line under it.
        let Ok(exit) = exit.parse() else { continue };
        rows.push(Row {
            line: index + 1,
            place: place.clone(),
            input: input.clone(),
            code: exit,
            names: names.split(", ").map(|part| code(part).to_string()).collect(),
            hint: hint == "yes",
        });
    }
    rows
}

/// What stands between backticks.
fn code(text: &str) -> &str {
    let quote = &text[..text.len() - text.trim_start_matches('`').len()];
    let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let inner = inner.filter(|_| !quote.is_empty()).unwrap_or_else(|| panic!("{text} is no code"));
    // Where the code itself begins or ends with a backtick, Markdown wants a space before it.
    if quote.len() > 1 { inner.trim() } else { inner }
}

/// What went wrong, with the answer as the table should have it.
fn try_row(row: &Row, base: &Base) -> Result<(), String> {
    let place: &Place = PLACES.iter().find(|place| place.name == row.place).unwrap();
    if !place.is_here {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    let _held = (place.prepare)(&path, base);
    let typed = match row.input.split_once(" → ") {
        Some((from, to)) => {
            change(&path.join("config.toml"), code(from), code(to), row.line);
            "diffusion train --config config.toml --out new"
        }
        None => code(&row.input),
    };
    let before = listing(&path);
    let answer = type_in(typed, &path);
    let after = listing(&path);

    let fail = |what: String| Err(format!("line {}: {}: {what}\n{}", row.line, row.input, answer.errors));
    if ["panicked", "BACKTRACE", "overflowed its stack", "memory allocation of"]
        .iter()
        .any(|bad| answer.errors.contains(bad))
    {
        return fail("panics".to_string());
    }
    if answer.code != Some(row.code) {
        return fail(format!("exit code {:?}, expected {}", answer.code, row.code));
    }
    let sentences = answer.sentences(if row.code == 0 { "warning: " } else { "error: " });
    let is_named = |name: &String| sentences.iter().any(|sentence| sentence.contains(name.as_str()));
    if let Some(missing) = row.names.iter().find(|name| !is_named(name)) {
        return fail(format!("the answer does not name {missing}"));
    }
    if row.code == 1 && (answer.sentences("hint: ").len() == 1) != row.hint {
        return fail(format!("a hint is expected: {}", row.hint));
    }
    // What succeeds with a warning may make files, but change none.
    let is_kept = if row.code != 0 {
        after == before
    } else {
        before.iter().all(|entry| after.get(entry.0) == Some(entry.1))
    };
    if !is_kept {
        let changed: Vec<_> = after.iter().filter(|entry| before.get(entry.0) != Some(entry.1)).collect();
        let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
        return fail(format!("the disk changed: {changed:?} are new, {gone:?} are gone"));
    }
    Ok(())
}

fn change(file: &Path, from: &str, to: &str, line: usize) {
    let text = fs::read_to_string(file).unwrap();
    let [from, to] = [from, to].map(|text| text.replace('⏎', "\n"));
    assert!(text.contains(&from), "line {line}: {from} is not in the configuration:\n{text}");
    fs::write(file, text.replacen(&from, &to, 1)).unwrap();
}

/// What the program did.
struct Answer {
    code: Option<i32>,
    errors: String,
}

impl Answer {
    /// The sentences that begin with `kind`, with the lines that are indented below them. What clap says has more than
    /// one line, until an empty one.
    fn sentences(&self, kind: &str) -> Vec<String> {
        if self.code == Some(2) {
            let first = self.errors.split("\n\n").next().unwrap_or_default();
            return vec![first.split_whitespace().collect::<Vec<_>>().join(" ")];
        }
        self.errors
            .replace("\n  ", "; ")
            .lines()
            .filter(|line| line.starts_with(kind))
            .map(String::from)
            .collect()
    }
}

/// Types a command in `folder`, as a shell would take it: settings of the environment first, `> FILE` last.
fn type_in(typed: &str, folder: &Path) -> Answer {
    let mut words: Vec<&str> = typed.split_whitespace().collect();
    let stdout = match words[..] {
        [.., ">", file] => {
            words.truncate(words.len() - 2);
            Stdio::from(File::options().write(true).open(file).unwrap())
        }
        _ => Stdio::null(),
    };
    let at = words.iter().position(|word| *word == "diffusion").unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_diffusion")])
        .args(&words[at + 1..])
        .envs(words[..at].iter().map(|setting| setting.split_once('=').unwrap()))
        .env_remove("RUST_BACKTRACE")
        .env("RAYON_NUM_THREADS", "1")
        // Without it, drivers write lines of their own.
        .env("XDG_RUNTIME_DIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(3));
    };
    let errors = reader.join().unwrap().replace(folder.to_str().unwrap(), "FOLDER");
    Answer { code: status.code(), errors }
}

/// All that is in a folder, with a checksum of each file; but for the empty file that holds a run's lock.
fn listing(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let mut hasher = DefaultHasher::new();
            if path.is_dir() {
                folders.push(path.clone());
            } else if !path.is_file() || path.metadata().unwrap().len() > 1 << 30 {
                // To read a pipe would wait for ever.
                path.symlink_metadata().unwrap().len().hash(&mut hasher);
            } else {
                let metadata = fs::metadata(&path).unwrap();
                if !metadata.is_file() || metadata.len() > 1 << 30 {
                    // Not to be read here either.
                    found.insert(path, metadata.len());
                    continue;
                }
                let bytes = fs::read(&path).unwrap();
                if bytes.is_empty() && path.ends_with(".lock") {
                    continue;
                }
                bytes.hash(&mut hasher);
            }
            found.insert(path, hasher.finish());
        }
    }
    found
}
