//! The `diffusion` program: trains diffusion models, samples from them, and carries them to and from PyTorch.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod doctor;
mod draw;
mod error;
mod export;
mod import;
mod invocation;
mod output;
mod pictures;
mod progress;
mod sample;
mod table;
mod train;

use clap::Parser;
use output::log;
use std::process::ExitCode;

fn main() -> ExitCode {
    diffusion::keep_memory();
    let result = match args::Args::parse().command {
        args::Command::Train(args) => train::main(*args),
        args::Command::Sample(args) => sample::main(args),
        args::Command::Import(args) => import::main(args),
        args::Command::Export(args) => export::main(args),
        args::Command::Doctor(args) => doctor::main(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            if let Some(hint) = error.hint() {
                log(format_args!("hint: {hint}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}
