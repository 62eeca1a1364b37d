//! The `diffusion` program: trains diffusion models, samples from them, and carries them to and from PyTorch.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod budget;
mod chosen;
mod configure;
mod denoising;
mod display;
mod doctor;
mod draw;
mod ema;
mod encode;
mod error;
mod estimate;
mod eval;
mod export;
mod gallery;
mod generate;
mod going_on;
mod image_files;
mod import;
mod invocation;
mod likelihood;
mod memory;
mod model;
mod output;
mod pictures;
mod place;
mod progress;
mod prompts;
mod reflow;
mod report;
mod sample;
mod samplers;
mod signals;
mod table;
mod task;
mod told;
mod train;

use display::Display;
use error::CliError;
use output::{log, print};
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    diffusion::keep_memory();
    memory::watch();
    let result = match args::Args::typed() {
        Ok(args) => run(args.command),
        Err(error) if error.use_stderr() => error.exit(),
        // What was asked for: help, or the version.
        Err(text) => {
            let text = text.render();
            let text = if stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
            print(text.trim_end()).map_err(CliError::from)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {}", error.sentence()));
            if let Some(hint) = error.hint() {
                log(format_args!("hint: {hint}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: args::Command) -> Result<(), CliError> {
    let display = Display::new();
    signals::listen(display.watch().clone());
    let result = match command {
        args::Command::Train(args) => train::main(*args, &display),
        args::Command::Sample(args) => sample::main(*args, &display),
        args::Command::Eval(args) => eval::main(*args, &display),
        args::Command::Likelihood(args) => likelihood::main(args, &display),
        args::Command::Generate(args) => generate::main(*args, &display),
        args::Command::Encode(args) => encode::main(args, &display),
        args::Command::Decode(args) => encode::decode_main(args, &display),
        args::Command::Reflow(args) => reflow::main(args, &display),
        args::Command::Import(args) => import::main(args, &display),
        args::Command::Export(args) => export::main(args, &display),
        args::Command::Ema(args) => ema::main(args),
        args::Command::Doctor(args) => doctor::main(args, &display),
        args::Command::Samplers(args) => samplers::main(args, &display),
    };
    display.end();
    result
}
