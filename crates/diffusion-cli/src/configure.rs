//! The configuration of a run: from a preset, a file, data or another run, with what the command line changes.

use crate::args::{LocationArgs, TrainArgs};
use crate::chosen::checkpoint;
use crate::display::Display;
use crate::error::CliError;
use crate::output::log;
use diffusion::train::Which;
use diffusion_recipe::{LatentModel, RunConfig, RunFolder};
use std::fs;
use std::path::{Path, PathBuf};

/// The preset's, the file's, the images' or the other run's configuration with what the command line changes.
pub fn configure(args: &TrainArgs, display: &Display) -> Result<RunConfig, CliError> {
    if args.pretrained.is_some() && args.latents.is_none() {
        return Err(CliError::usage(
            "--pretrained was given without latents",
            "give those that the model has encoded with --latents",
        ));
    }
    let folder = (&args.images, &args.latents);
    let mut config = match (&args.config, &args.init_from, &args.preset, folder) {
        (Some(path), ..) => RunConfig::read(path)?,
        (_, Some(from), ..) => {
            let (run, config) = RunFolder::open(from)?;
            let chosen = args.checkpoint.map(|which| checkpoint(&run, which)).transpose()?;
            let init_checkpoint = chosen.map(|checkpoint| checkpoint.state().step);
            RunConfig { init_from: Some(absolute(from)), init_checkpoint, init_ema: args.ema, ..config }
        }
        (_, _, Some(preset), _) => RunConfig::preset(preset)?,
        (.., (Some(images), _)) => for_images(images, args, display)?,
        (.., (_, Some(latents))) => for_latents(latents, args)?,
        _ => RunConfig::preset("swissroll")?,
    };
    set_data(&mut config, args)?;
    if let Some(teacher) = &args.teacher {
        config.teacher = Some(absolute(teacher));
        // Training it further shall not change this run.
        let step = config.teacher_checkpoint;
        config.teacher_checkpoint = match step {
            Some(step) => Some(step),
            None => Some(checkpoint(&RunFolder::open(teacher)?.0, Which::Latest)?.state().step),
        };
    }
    set(&mut config, args)?;
    config.validate()?;
    Ok(config)
}

/// Reads the data from where the command line says.
pub fn set_data(config: &mut RunConfig, args: &TrainArgs) -> Result<(), CliError> {
    if let Some(images) = &args.images {
        config.set_images(absolute(images));
    }
    if let Some(latents) = &args.latents {
        config.set_latents(absolute(latents))?;
    }
    if let Some(pairs) = &args.pairs {
        config.set_pairs(absolute(pairs));
    }
    set_data_path(config, args.data.as_deref())
}

/// Reads the data from the file or folder of `--data`, if it was given.
fn set_data_path(config: &mut RunConfig, data: Option<&Path>) -> Result<(), CliError> {
    match data {
        Some(data) if !config.data.set_path(absolute(data)) => {
            let what = format!("{} makes its own data and reads none", config.preset);
            Err(CliError::usage(what, "leave --data out"))
        }
        _ => Ok(()),
    }
}

/// Takes the data and the pretrained model of the run from where the command line says.
pub fn set_location(config: &mut RunConfig, location: &LocationArgs) -> Result<(), CliError> {
    set_pretrained(config, location.pretrained.as_deref())?;
    set_data_path(config, location.data.as_deref())
}

/// Takes the pretrained model of the run from where the command line says.
pub fn set_pretrained(config: &mut RunConfig, folder: Option<&Path>) -> Result<(), CliError> {
    match folder {
        Some(folder) if !config.network.set_pretrained(absolute(folder)) => {
            let what =
                format!("--pretrained was given, but {} begins with no pretrained model", config.preset);
            Err(CliError::usage(what, "leave --pretrained out"))
        }
        _ => Ok(()),
    }
}

/// The configuration that follows from a folder of images.
fn for_images(images: &Path, args: &TrainArgs, display: &Display) -> Result<RunConfig, CliError> {
    display.begin("looking at the images");
    let (folder, watch) = (absolute(images), display.watch());
    let config = RunConfig::for_images(folder, args.image_size, args.network, args.size, watch);
    display.end();
    Ok(config?)
}

/// The configuration that follows from a folder of latents.
fn for_latents(latents: &Path, args: &TrainArgs) -> Result<RunConfig, CliError> {
    let folder = absolute(latents);
    let config = match &args.pretrained {
        Some(model) => {
            let rank = (!args.all_weights).then_some(args.lora_rank);
            RunConfig::for_pretrained(folder, absolute(model), rank)?
        }
        None => {
            let TrainArgs { network, size, condition, .. } = *args;
            RunConfig::for_latents(folder, LatentModel { network, size, condition })?
        }
    };
    Ok(config)
}

/// Says which settings follow from a folder, where all of them do.
pub fn say_settings(config: &RunConfig, args: &TrainArgs) -> Result<(), CliError> {
    let (what, folder) = match (&args.images, &args.latents) {
        (Some(images), _) => ("images", images),
        (_, Some(latents)) => ("latents", latents),
        _ => return Ok(()),
    };
    if args.config.is_none() && args.init_from.is_none() && args.preset.is_none() {
        log(format_args!("settings for the {what} in {}:\n\n{}", folder.display(), config.to_toml()?));
    }
    Ok(())
}

/// Changes what the command line changes, and returns the paths of these settings.
pub fn set(config: &mut RunConfig, args: &TrainArgs) -> Result<Vec<String>, CliError> {
    let flags = [
        ("training.steps", args.steps.map(|n| n.to_string())),
        ("batch_size", args.batch_size.map(|n| n.to_string())),
        ("training.lr", args.lr.map(toml_float)),
        ("training.seed", args.seed.map(|n| n.to_string())),
        ("checkpoint_every", args.checkpoint_every.map(|every| every.to_string())),
        ("validation.every", args.val_every.map(|n| n.to_string())),
        ("pictures.every", args.sample_every.map(|every| every.to_string())),
    ];
    let keys =
        args.set.iter().filter_map(|assignment| Some(assignment.split_once('=')?.0.trim().to_string()));
    let flagged = flags.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.to_string());
    let asked = flagged.chain(keys).collect();
    set_all(config, flags, &args.set)?;
    Ok(asked)
}

/// Changes the settings that have flags of their own, where these are given, and then those of --set.
pub fn set_all<'a>(
    config: &mut RunConfig,
    flags: impl IntoIterator<Item = (&'a str, Option<String>)>,
    set: &[String],
) -> Result<(), CliError> {
    let flags = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    let assignments: Vec<String> = flags.chain(set.iter().cloned()).collect();
    Ok(config.set_all(assignments.iter().map(String::as_str))?)
}

/// As TOML writes it, whose `nan` is not Rust's.
fn toml_float(x: f64) -> String {
    format!("{x:?}").to_lowercase()
}

/// So that the run can be repeated from another folder.
pub fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
