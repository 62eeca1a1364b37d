//! The `diffusion` program: trains diffusion models, samples from them, and carries them to and from PyTorch.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod condition;
mod config;
mod doctor;
mod error;
mod examine;
mod export;
mod import;
mod inspect;
mod interval;
mod metrics;
mod pictures;
mod presets;
mod progress;
mod reference;
mod run;
mod sample;
mod samples;
mod say;
mod session;
mod size;
mod train;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    diffusion::keep_memory();
    let result = match args::Args::parse().command {
        args::Command::Train(args) => train::main(args),
        args::Command::Sample(args) => sample::main(args),
        args::Command::Import(args) => import::main(args),
        args::Command::Export(args) => export::main(args),
        args::Command::Doctor(args) => doctor::main(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
