//! Signals, and terminals, pipes and logs that vanish: a run is stopped where it can go on, or does not notice.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
mod pretrained;

use common::{Folder, assert_same_run, command, files, hearing, metrics, succeed};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pretrained::folders::Folder as Pretrained;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long the program may take for what it does at once on a machine that is not busy.
const LIMIT: Duration = Duration::from_secs(90);

/// A program that runs, and what it has said so far.
struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Program {
    fn spawn(arguments: &[&str]) -> Self {
        Self::of(hearing(arguments))
    }

    /// Behind a shell that does `before`.
    fn after(before: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("{before}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_diffusion")]).args(arguments);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        Self::of(shell)
    }

    fn of(mut command: Command) -> Self {
        let mut child = spawn(command.stderr(Stdio::piped()));
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), said.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_true: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_true(&self.said()) {
            assert!(begun.elapsed() < LIMIT, "{what} does not come: {}", self.said());
            assert!(self.child.try_wait().unwrap().is_none(), "ended before {what}: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The rest of what it said.
                thread::sleep(Duration::from_millis(50));
                return status;
            }
            if begun.elapsed() > LIMIT {
                self.child.kill().unwrap();
                panic!("it does not end: {}", self.said());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends with `code`, and a hint that says `how` to go on.
    #[track_caller]
    fn ends_with(&mut self, code: i32, how: &str) {
        let status = self.end();
        let said = self.said();
        assert_eq!(status.code(), Some(code), "{said}");
        let hint = said.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains(how), "expected {how}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// A test that fails leaves nothing running.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// While a terminal is made its ends are open in every child.
static ENDS: Mutex<()> = Mutex::new(());

fn spawn(command: &mut Command) -> Child {
    let _guard = ENDS.lock();
    command.spawn().unwrap()
}

/// A terminal: what is shown on it, and the end for a program.
fn terminal() -> (File, File) {
    let _guard = ENDS.lock();
    let ends = openpty(None, None).unwrap();
    // Clones are closed in children.
    (File::from(ends.master.try_clone().unwrap()), File::from(ends.slave.try_clone().unwrap()))
}

/// A run on few points that has many steps, and checkpoints at its ends only.
fn long(folder: &Folder, changes: &[(&str, &str)]) -> String {
    let all =
        [&[("steps = 15000", "steps = 1000000"), ("every = 5000", "every = 1000000")], changes].concat();
    folder.config("swissroll", &all)
}

fn checkpoint(run: &str, step: usize) -> PathBuf {
    Path::new(run).join(format!("checkpoints/step-{step:08}"))
}

#[test]
fn every_signal_that_asks_for_it_saves_and_stops() {
    let folder = Folder::new();
    let config = long(&folder, &[]);
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
        (Signal::SIGUSR1, 138),
        (Signal::SIGUSR2, 140),
        (Signal::SIGXCPU, 152),
    ] {
        let run = folder.path(signal.as_str());
        let mut program = Program::spawn(&["train", "--config", &config, "--out", &run]);
        program.wait_until("its first step", |said| said.contains("step 1/"));
        program.send(signal);
        if signal != Signal::SIGINT {
            // Whoever is in doubt sends it again.
            program.send(signal);
        }
        program.ends_with(code, &format!("train --resume {run}"));
        let steps = metrics(&run).len();
        assert!(steps > 0 && checkpoint(&run, steps).is_dir(), "{signal}: {steps} steps");
        succeed(&["sample", &run, "--count", "2", "--steps", "2"]);
    }
}

#[test]
fn the_second_interrupt_ends_it_at_once() {
    let folder = Folder::new();
    // A step takes a while.
    let changes = [("n = 100\n", "n = 100000\n"), ("batch_size = 2048", "batch_size = 100000")];
    let (config, run) = (long(&folder, &changes), folder.path("run"));
    let mut program = Program::spawn(&["train", "--config", &config, "--out", &run]);
    program.wait_until("its first step", |said| said.contains("step 1/"));
    program.send(Signal::SIGINT);
    program.wait_until("an answer", |said| said.contains("SIGINT"));
    program.send(Signal::SIGINT);
    assert_eq!(program.end().code(), Some(130));
    let said = program.said();
    assert!(!said.contains("error:") && !checkpoint(&run, 2).exists(), "{said}");
}

#[test]
fn what_was_ignored_before_stays_ignored() {
    let folder = Folder::new();
    let config = long(&folder, &[("steps = 1000000", "steps = 400")]);
    let ignored = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1];
    let run = folder.path("trap");
    let mut program =
        Program::after("trap '' HUP INT TERM USR1", &["train", "--config", &config, "--out", &run]);
    program.wait_until("its first step", |said| said.contains("step 1/"));
    ignored.into_iter().for_each(|signal| program.send(signal));
    assert!(program.end().success(), "{}", program.said());
    assert_eq!(metrics(&run).len(), 400);

    let run = folder.path("nohup");
    let mut nohup = Command::new("nohup");
    nohup.args([env!("CARGO_BIN_EXE_diffusion"), "train", "--config", &config, "--out", &run]);
    nohup.stdin(Stdio::null()).stdout(Stdio::null());
    let mut program = Program::of(nohup);
    program.wait_until("its first step", |said| said.contains("step 1/"));
    program.send(Signal::SIGHUP);
    assert!(program.end().success(), "{}", program.said());
    assert_eq!(metrics(&run).len(), 400);
}

#[test]
fn a_step_of_many_batches_is_not_waited_for() {
    let folder = Folder::new();
    let (config, run) = (long(&folder, &[("accumulate = 1", "accumulate = 100000")]), folder.path("run"));
    let mut program = Program::spawn(&["train", "--config", &config, "--out", &run]);
    program.wait_until("a step", |said| said.contains("computing the first step"));
    program.send(Signal::SIGTERM);
    program.ends_with(143, &format!("train --resume {run}"));
    assert!(checkpoint(&run, 0).is_dir() && metrics(&run).is_empty());
}

#[test]
fn validation_is_not_waited_for() {
    let folder = Folder::new();
    let changes = [
        ("every = 1000000\nexamples", "every = 1\nexamples"),
        ("bins = 10", "bins = 4000"),
        ("128, 128, 128, 128", "2048, 2048"),
    ];
    let (config, run) = (long(&folder, &changes), folder.path("run"));
    let mut program = Program::spawn(&["train", "--config", &config, "--out", &run]);
    program.wait_until("a validation", |said| said.contains("validating"));
    program.send(Signal::SIGUSR1);
    program.ends_with(138, &format!("train --resume {run}"));
    assert!(checkpoint(&run, 1).is_dir());
    assert!(metrics(&run).len() == 1 && metrics(&run)[0]["val"].is_null());
}

#[test]
fn samples_are_not_waited_for() {
    let folder = Folder::new();
    let changes = [
        ("steps = 1000000", "steps = 2"),
        ("count = 2000", "count = 1000000"),
        ("steps = 20\n", "steps = 900\n"),
    ];
    let (config, run) = (long(&folder, &changes), folder.path("run"));
    let mut program = Program::spawn(&["train", "--config", &config, "--out", &run]);
    program.wait_until("samples", |said| said.contains("drawing samples"));
    program.send(Signal::SIGTERM);
    program.ends_with(143, &format!("sample {run}"));
    assert!(checkpoint(&run, 2).is_dir() && !Path::new(&run).join("samples.png").exists());

    let mut program = Program::spawn(&["sample", &run]);
    program.wait_until("samples", |said| said.contains("drawing samples"));
    program.send(Signal::SIGHUP);
    program.ends_with(129, "nothing was written");
}

/// What is drawn stays, whole.
#[test]
fn pictures_are_not_waited_for() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let base = ["generate", model, "the red fox", "--size", "16"];
    let many = folder.path("many.png");
    let options = ["--steps", "4", "--count", "5000", "--out", &many];
    let mut program = Program::spawn(&[&base[..], &options].concat());
    let drawn = |seed: u32| folder.path(&format!("many-seed-{seed}.png"));
    program.wait_until("a picture", |_| Path::new(&drawn(1)).exists());
    program.send(Signal::SIGINT);
    program.ends_with(130, "--overwrite begins anew");
    let count = (0..5000).take_while(|&seed| Path::new(&drawn(seed)).exists()).count();
    assert!((2..5000).contains(&count), "{count} pictures: {}", program.said());
    for seed in 0..count {
        assert_eq!(image::open(drawn(seed as u32)).unwrap().width(), 16);
    }
    // No more than the pictures are left.
    assert_eq!(files(&folder.path("")).len(), count);

    let one = folder.path("one.png");
    let options = ["--steps", "1000", "--preview-every", "1", "--out", &one];
    let mut program = Program::spawn(&[&base[..], &options].concat());
    program.wait_until("a step", |_| Path::new(&folder.path("one-preview.png")).exists());
    program.send(Signal::SIGTERM);
    program.ends_with(143, "--overwrite begins anew");
    assert!(!Path::new(&one).exists(), "a picture that was not done is left behind");
}

/// Complete shards stay, and what the same command then makes is what it makes unstopped.
#[test]
fn encoding_is_not_waited_for_and_goes_on() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let [images, stopped, whole] = ["images", "stopped", "whole"].map(|name| folder.path(name));
    let mut metadata = String::new();
    std::fs::create_dir(&images).unwrap();
    for i in 0..300_u32 {
        let name = format!("{i:03}.png");
        let picture =
            image::RgbImage::from_pixel(9, 9, image::Rgb([i % 256, i / 3, 7 * i % 256].map(|x| x as u8)));
        picture.save(Path::new(&images).join(&name)).unwrap();
        metadata += &format!("{{\"file_name\": \"{name}\", \"text\": \"fox {}\"}}\n", i % 20);
    }
    std::fs::write(Path::new(&images).join("metadata.jsonl"), metadata).unwrap();
    let model = model.path().to_str().unwrap();
    let encode = ["encode", model, "--images", &images, "--size", "32", "--batch-size", "1", "--out"];
    let shard = |out: &str, i| Path::new(out).join(format!("latents-{i:05}-of-00002.safetensors"));

    let mut program = Program::spawn(&[&encode[..], &[&stopped]].concat());
    program.wait_until("a shard", |_| shard(&stopped, 0).exists());
    program.send(Signal::SIGINT);
    program.ends_with(130, "the same command goes on");
    let kept = files(&stopped);
    let names: Vec<_> = kept.keys().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(names, ["encoded.toml", "latents-00000-of-00002.safetensors"]);
    let written = || shard(&stopped, 0).metadata().unwrap().modified().unwrap();
    let before = written();

    succeed(&[&encode[..], &[&stopped]].concat());
    succeed(&[&encode[..], &[&whole]].concat());
    assert!(written() == before, "a complete shard is made again");
    assert!(shard(&whole, 1).exists());
    assert_same_run("after a stop", &stopped, &whole);
}

/// Networks so large that they are made for some seconds; nothing is written.
#[test]
fn import_and_export_are_not_waited_for() {
    let folder = Folder::new();
    let (run, out) = (folder.path("run"), folder.path("out.safetensors"));
    let few = ["--steps", "2", "--set", "network.hidden_dims=[16]", "--set", "sampling.count=2"];
    succeed(&[&["train", "swissroll", "--out", &run][..], &few].concat());
    succeed(&["export", &run, "--out", &out]);
    let config = Path::new(&run).join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let large = text.replace("[16]", "[9000, 9000]");
    assert_ne!(text, large);
    std::fs::write(&config, large).unwrap();
    let (new, other) = (folder.path("new"), folder.path("other.safetensors"));
    for (signal, code, arguments, place) in [
        (Signal::SIGTERM, 143, ["import", &out, "--config", config.to_str().unwrap(), "--out", &new], &new),
        (Signal::SIGHUP, 129, ["export", &run, "--backend", "flex", "--out", &other], &other),
    ] {
        let mut program = Program::spawn(&arguments);
        let status = format!("/proc/{}/status", program.child.id());
        program.wait_until("it listens", |_| {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            caught >> (signal as i32 - 1) & 1 == 1
        });
        program.send(signal);
        program.ends_with(code, "nothing was written");
        assert!(!Path::new(place).exists(), "{place} is left behind");
    }
}

/// What does not look at signals ends too, where nothing is lost.
#[test]
fn the_doctor_is_not_waited_for() {
    let mut program = Program::spawn(&["doctor", "--preset", "fashion-unet", "--reference", "flex"]);
    program.wait_until("its first words", |said| said.contains("computing on"));
    program.send(Signal::SIGTERM);
    assert_eq!(program.end().code(), Some(143), "{}", program.said());
}

/// A closed window, `2>&1 | head`, a full disk under the log, no standard error at all.
#[test]
fn a_run_does_not_depend_on_who_listens() {
    let folder = Folder::new();
    let config = long(&folder, &[("steps = 1000000", "steps = 300")]);
    let train = |run: &str, output: &dyn Fn(&mut Command)| {
        let mut command = command(&["train", "--config", &config, "--out", run]);
        output(&mut command);
        spawn(&mut command)
    };
    let reaches_its_end = |run: &str, child: &mut Child| {
        assert!(child.wait().unwrap().success(), "{run}");
        assert!(metrics(run).len() == 300 && checkpoint(run, 300).is_dir(), "{run}");
    };

    let run = folder.path("terminal");
    let (mut window, slave) = terminal();
    let mut child = train(&run, &|command| {
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
    });
    drop(slave);
    assert!(window.read(&mut [0; 64]).unwrap() > 0, "nothing is shown");
    drop(window);
    assert!(child.try_wait().unwrap().is_none(), "too quick for this test");
    reaches_its_end(&run, &mut child);

    let run = folder.path("pipe");
    let mut child = train(&run, &|command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    let mut first = [0; 1];
    child.stderr.take().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    reaches_its_end(&run, &mut child);

    let run = folder.path("full");
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut child = train(&run, &|command| {
        command.stdout(full()).stderr(full());
    });
    reaches_its_end(&run, &mut child);

    let run = folder.path("closed");
    let mut program = Program::after("exec 2>&- >&-", &["train", "--config", &config, "--out", &run]);
    reaches_its_end(&run, &mut program.child);
}

/// The terminal that a run belongs to vanishes, and the system tells the run so.
#[test]
fn a_run_whose_own_terminal_hangs_up_saves_and_stops() {
    let folder = Folder::new();
    let (config, run) = (long(&folder, &[]), folder.path("run"));
    let (window, slave) = terminal();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "env", "--default-signal=HUP", env!("CARGO_BIN_EXE_diffusion")]);
    command.args(["train", "--config", &config, "--out", &run]);
    command.stdin(slave.try_clone().unwrap()).stdout(slave);
    let mut program = Program::of(command);
    program.wait_until("its first step", |said| said.contains("step 1/"));
    drop(window);
    program.ends_with(129, &format!("train --resume {run}"));
    let steps = metrics(&run).len();
    assert!(steps > 0 && checkpoint(&run, steps).is_dir(), "{steps} steps");
}

/// A terminal that can do no more, and who wants no colors, gets lines.
#[test]
fn plain_terminals_get_plain_lines() {
    let folder = Folder::new();
    let config = long(&folder, &[("steps = 1000000", "steps = 3")]);
    for (name, value) in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let (mut window, slave) = terminal();
        let mut program = command(&["train", "--config", &config, "--out", &folder.path(name)]);
        let mut child = spawn(program.env("TERM", "xterm").env(name, value).stderr(slave));
        drop(program);
        let mut shown = Vec::new();
        let reader = thread::spawn(move || {
            // The end of a terminal is an error.
            let _ = window.read_to_end(&mut shown);
            String::from_utf8_lossy(&shown).into_owned()
        });
        assert!(child.wait().unwrap().success());
        let shown = reader.join().unwrap();
        assert!(shown.contains("step 3/3") && !shown.contains('\u{1b}'), "{name}: {shown}");
    }
}

/// A pipe, and 64 GiB of nothing, in the place of each file that a run reads.
#[test]
fn what_lies_in_a_run_s_folder_is_not_waited_for() {
    let folder = Folder::new();
    let (config, run) = (long(&folder, &[("steps = 1000000", "steps = 2")]), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &run]);
    for name in [
        ".lock",
        "config.toml",
        "metrics.jsonl",
        "timing.jsonl",
        "checkpoints/step-00000002/state.toml",
        "checkpoints/step-00000002/model.safetensors",
        "checkpoints/step-00000002/ema.safetensors",
        "checkpoints/step-00000002/moment_1.safetensors",
    ] {
        let (path, kept) = (Path::new(&run).join(name), folder.path("kept"));
        std::fs::rename(&path, &kept).unwrap();
        for is_pipe in [true, false] {
            if is_pipe {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                File::create(&path).unwrap().set_len(64 << 30).unwrap();
            }
            for arguments in
                [&["train", "--resume", &run, "--steps", "2"][..], &["sample", &run, "--count", "1"]]
            {
                let begun = Instant::now();
                let mut program = Program::spawn(arguments);
                while program.child.try_wait().unwrap().is_none() {
                    if begun.elapsed() > Duration::from_secs(30) {
                        program.child.kill().unwrap();
                        panic!("{arguments:?} hangs at {name}, a pipe: {is_pipe}");
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                assert!(!program.said().contains("panicked"), "{name}: {}", program.said());
            }
            let _ = std::fs::remove_file(&path);
        }
        std::fs::rename(&kept, &path).unwrap();
    }
}

/// The program ends with one error, which says what needs less of what was being done.
#[test]
fn memory_that_runs_out_is_an_error() {
    let folder = Folder::new();
    let run = folder.path("run");
    let few = ["--steps", "2", "--set", "network.hidden_dims=[512]", "--set", "sampling.count=2"];
    common::succeed(&[&["train", "swissroll", "--out", &run][..], &few].concat());
    let third = folder.path("third");
    let (config, other) =
        (long(&folder, &[("batch_size = 2048", "batch_size = 1000000")]), folder.path("other"));
    let training = ["train", "--config", &config, "--set", "data.n=1000000", "--out", &other];
    let sampling = ["sample", &run, "--count", "1000000", "--batch-size", "1000000"];
    let network = ["train", "swissroll", "--set", "network.hidden_dims=[9999, 90000]", "--out", &third];
    for (mib, arguments, advice) in [
        (4096, &training[..], "--batch-size"),
        (1024, &sampling[..], "--count"),
        (2048, &network[..], "network"),
    ] {
        let before = format!("export RAYON_NUM_THREADS=1; ulimit -v {}", mib << 10);
        let mut program = Program::after(&before, arguments);
        let (code, said) = (program.end().code(), program.said());
        let lines = |start: &str| Vec::from_iter(said.lines().filter(|line| line.starts_with(start)));
        let (errors, hints) = (lines("error: "), lines("hint: "));
        assert_eq!((code, errors.len(), hints.len()), (Some(1), 1, 1), "{arguments:?}: {said}");
        assert!(errors[0].contains("bytes of memory") && hints[0].contains(advice), "{arguments:?}: {said}");
        assert!(
            !said.contains("memory allocation of") && !said.contains("warning: "),
            "{arguments:?}: {said}"
        );
    }
}

/// So is a thread that the system does not start: its stack has no room.
#[test]
fn threads_that_cannot_be_started_are_an_error() {
    let folder = Folder::new();
    let run = folder.path("run");
    for mib in [200, 400, 600, 1000] {
        let before = format!("export RAYON_NUM_THREADS=1 RUST_MIN_STACK=400000000; ulimit -v {}", mib << 10);
        let mut program = Program::after(&before, &["train", "swissroll", "--out", &run, "--overwrite"]);
        let (code, said) = (program.end().code(), program.said());
        let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!((code, errors), (Some(1), 1), "{mib} MiB: {said}");
        assert!(!said.contains("panicked"), "{mib} MiB: {said}");
    }
}
