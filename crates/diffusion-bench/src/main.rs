//! The `diffusion-bench` program: what training and sampling cost here, and what they cost in smalldiffusion on PyTorch.
//!
//! Its driver starts workers, processes that each prepare one piece of work and do steps of it when asked: this
//! program itself, and with `--peer` Python. They take turns, so that a machine's moods meet both alike, and each piece
//! of work has new ones, so that the largest memory of a process is that of the work.

#![allow(clippy::print_stderr, reason = "a benchmark may end with the terminal that it reports to")]

mod args;
mod compute;
mod driver;
mod error;
mod facts;
mod latent;
mod measure;
mod options;
mod protocol;
mod report;
mod serve;
mod statistics;
mod study;
mod suite;
mod table;
mod trajectory;
mod work;
mod worker;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    diffusion::keep_memory();
    let args = args::Args::parse();
    let result = match args.command {
        Some(args::Command::Worker { backend }) => worker::main(backend),
        Some(args::Command::Folder { path }) => latent::write_folder(&path),
        Some(args::Command::Study(study)) => study::main(&study),
        None => report::main(&args.bench),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
