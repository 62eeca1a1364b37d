//! Workers as the driver sees them: processes that are asked for steps.

use crate::error::BenchError;
use crate::protocol::{Reply, Request};
use crate::work::Work;
use diffusion_backends::BackendName;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The worker that speaks Python.
const PEER: &str = include_str!("../peer.py");

/// Who can do the work.
#[derive(Clone, Debug, PartialEq)]
pub enum Contestant {
    /// This program.
    Here {
        /// Where it computes.
        backend: BackendName,
        /// With how many threads.
        threads: u32,
    },
    /// smalldiffusion.
    Peer {
        /// The Python that has it.
        python: PathBuf,
        /// With how many threads.
        threads: u32,
        /// Whether it computes on a GPU.
        gpu: bool,
    },
}

impl Contestant {
    /// What errors and tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Here { .. } => "here",
            Self::Peer { .. } => "smalldiffusion",
        }
    }

    /// The same with another number of threads.
    pub fn with_threads(mut self, n: u32) -> Self {
        match &mut self {
            Self::Here { threads, .. } | Self::Peer { threads, .. } => *threads = n,
        }
        self
    }

    /// With how many threads it computes.
    pub fn threads(&self) -> u32 {
        match self {
            Self::Here { threads, .. } | Self::Peer { threads, .. } => *threads,
        }
    }

    fn command(&self) -> Result<(PathBuf, Command), BenchError> {
        let threads = self.threads().to_string();
        Ok(match self {
            Self::Here { backend, .. } => {
                let program = this_program()?;
                let mut command = Command::new(&program);
                command.args(["worker", "--backend", backend.name()]);
                // Of Rayon and, where the backend is PyTorch's library, of that.
                command.env("RAYON_NUM_THREADS", &threads).env("MATMUL_NUM_THREADS", &threads);
                command.env("OMP_NUM_THREADS", &threads).env("MKL_NUM_THREADS", &threads);
                (program, command)
            }
            Self::Peer { python, .. } => {
                let mut command = Command::new(python);
                command.args(["-c", PEER]);
                command.env("OMP_NUM_THREADS", &threads).env("MKL_NUM_THREADS", &threads);
                (python.clone(), command)
            }
        })
    }
}

fn this_program() -> Result<PathBuf, BenchError> {
    env::current_exe().map_err(|source| BenchError::Start { program: "diffusion-bench".into(), source })
}

/// Writes a folder for latent diffusion, in a process of its own, which takes its memory along when it ends.
pub fn make_folder(folder: &Path) -> Result<(), BenchError> {
    let program = this_program()?;
    let status = Command::new(&program).arg("folder").arg(folder).status();
    match status.map_err(|source| BenchError::Start { program, source })? {
        status if status.success() => Ok(()),
        _ => Err(BenchError::Ended("folder")),
    }
}

/// A process that does one work; it ends when this is dropped.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    threads: u32,
    gpu: bool,
    process: Child,
    /// Absent only while it is dropped, which tells the process to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the process.
    pub fn start(contestant: &Contestant) -> Result<Self, BenchError> {
        let (program, mut command) = contestant.command()?;
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.map_err(|source| BenchError::Start { program, source })?;
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let gpu = matches!(contestant, Contestant::Peer { gpu: true, .. });
        let (name, threads, input) = (contestant.name(), contestant.threads(), process.stdin.take());
        Ok(Self { name, threads, gpu, process, input, output })
    }

    /// Makes it ready for `work`; returns the number of weights that are trained, and what computes.
    pub fn prepare(&mut self, work: &Work) -> Result<(usize, String), BenchError> {
        let (work, threads, gpu) = (work.clone(), self.threads, self.gpu);
        match self.ask(&Request::Prepare { work, threads, gpu }, "prepare")? {
            Reply::Ready { parameters, versions } => Ok((parameters, versions)),
            other => Err(self.nonsense("prepare", &other)),
        }
    }

    /// Has it do so many steps; returns the seconds that they took, all together.
    pub fn steps(&mut self, count: u64) -> Result<f64, BenchError> {
        match self.ask(&Request::Steps(count), "steps")? {
            Reply::Took(seconds) => Ok(seconds),
            other => Err(self.nonsense("steps", &other)),
        }
    }

    /// The most memory that it has held so far, in bytes, where the system tells.
    pub fn peak(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        peak_of(&status)
    }

    fn ask(&mut self, request: &Request, name: &'static str) -> Result<Reply, BenchError> {
        let worker = self.name;
        let line = serde_json::to_string(request).map_err(BenchError::Request)?;
        let input = self.input.as_mut().expect("it is open until the worker is dropped");
        // One that has ended cannot be written to; why, its answer tells.
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|source| BenchError::Pipe { worker, source })?;
        if line.is_empty() {
            return Err(BenchError::Ended(worker));
        }
        match serde_json::from_str(&line) {
            Ok(Reply::Failed(reason)) => Err(BenchError::Failed { worker, reason }),
            Ok(reply) => written.map(|()| reply).map_err(|source| BenchError::Pipe { worker, source }),
            Err(_) => Err(BenchError::Nonsense { worker, request: name, line }),
        }
    }

    fn nonsense(&self, request: &'static str, reply: &Reply) -> BenchError {
        BenchError::Nonsense { worker: self.name, request, line: format!("{reply:?}") }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may be in the middle of a step, and it has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The largest resident memory in the text of `/proc/PID/status`, in bytes.
fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tbench\nVmPeak:\t  9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 100 kB\n";
        assert_eq!(peak_of(status), Some(2048 * 1024));
        assert_eq!(peak_of("Name:\tbench\n"), None);
    }
}
