//! What can be said on the command line.

use clap::{Parser, Subcommand};
use diffusion_backends::BackendName;
use std::path::PathBuf;

/// Measure what training and sampling cost here, and with --peer what they cost in smalldiffusion on PyTorch.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do work as the lines on standard input ask for it.
    #[command(hide = true)]
    Worker {
        /// Where to compute.
        #[arg(long, value_enum, default_value_t)]
        backend: BackendName,
    },
    Study(StudyArgs),
    /// Write networks of the sizes of Stable Diffusion 1.5 to a folder.
    #[command(hide = true)]
    Folder {
        /// The folder.
        path: PathBuf,
    },
}

/// Train recipes for Fashion-MNIST for the same time each, and compare their samples.
#[derive(Debug, clap::Args)]
pub struct StudyArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// How long each is trained, in minutes.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = minutes)]
    pub minutes: f64,
    /// How many samples of each are judged.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=60_000))]
    pub count: u32,
    /// With how many seeds each is trained.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// These recipes only, by their names in `crates/diffusion-bench/study.toml`.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The recipes of smalldiffusion on PyTorch too.
    #[arg(long)]
    pub peer: bool,
    /// Time the steps of each recipe, which needs a machine that does nothing else, and keep that for a training later, which
    /// does not.
    #[arg(long)]
    pub time: bool,
    /// The Python that has smalldiffusion.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,
    /// Threads of PyTorch; without it, as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Where runs and what was measured of them stay; what is there already is not done again.
    #[arg(long, value_name = "FOLDER", default_value = "runs/study")]
    pub out: PathBuf,
}

/// A time of training.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number".to_string())?;
    if minutes > 0.0 && minutes < 1e5 {
        Ok(minutes)
    } else {
        Err("expected more than 0 and less than 100000".into())
    }
}

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Measure smalldiffusion too, each in turn.
    #[arg(long)]
    pub peer: bool,
    /// The Python that has smalldiffusion.
    #[arg(long, value_name = "PATH", default_value = "python3", requires = "peer")]
    pub python: PathBuf,
    /// Measure latent diffusion alone, beside diffusers, with networks of the sizes of Stable Diffusion 1.5 in this folder;
    /// they are made, of 2.2 GB, if there is no such folder.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["scaling", "curves", "options"])]
    pub latent: Option<PathBuf>,
    /// Measure these only: works of the tables or curves, by their names.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How often each is measured.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// Threads on the CPU; without it, as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// The table of all works; the default where neither --scaling nor --curves is asked for.
    #[arg(long)]
    pub table: bool,
    /// Training and sampling with 1, 2, 4, … threads.
    #[arg(long)]
    pub scaling: bool,
    /// What a training step costs as batch, tokens or width grow.
    #[arg(long)]
    pub curves: bool,
    /// What options cost: an objective with every part beside the plain one, and each sampler beside its calls of the network.
    #[arg(long)]
    pub options: bool,
    /// Write every single measurement to this file as well.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
