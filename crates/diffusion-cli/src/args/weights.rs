//! Which weights of a run can be asked for.

use clap::builder::NonEmptyStringValueParser;
use diffusion::train::Which;
use std::path::PathBuf;

/// Which of a run's weights.
#[derive(Debug, clap::Args)]
pub struct WeightsArgs {
    /// Which checkpoint: latest, best (by its validation loss), or the number of its step.
    #[arg(long, value_name = "WHICH", value_parser = which, default_value = "latest")]
    pub checkpoint: Which,
    /// Use the weights themselves instead of their exponential moving average.
    #[arg(long)]
    pub no_ema: bool,
    /// Use another average of the weights, by its name or width: one of the run's training.emas or training.snapshots, or
    /// one that `ema` has made.
    #[arg(long, value_name = "NAME|WIDTH", conflicts_with = "no_ema", value_parser = NonEmptyStringValueParser::new())]
    pub ema: Option<String>,
    /// Use the average in this file, which `ema` has made.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["checkpoint", "no_ema", "ema"])]
    pub weights: Option<PathBuf>,
}

/// The newest checkpoint, the best by its validation loss, or that of a step.
pub fn which(text: &str) -> Result<Which, String> {
    match text {
        "latest" => Ok(Which::Latest),
        "best" => Ok(Which::Best),
        step => step
            .parse()
            .map(Which::Step)
            .map_err(|_| format!("found `{text}`, expected latest, best or a step")),
    }
}
