//! What `sample` makes samples of, from files and options.

use crate::args::TaskArgs;
use crate::error::CliError;
use burn::tensor::TensorData;
use diffusion::core::Invalid;
use diffusion::core::task::{Inversion, Variation};
use diffusion::data::{Channels, Codec, ImageFolderConfig, read_image};
use diffusion_recipe::{Ends, RecipeError, RunConfig, Task, read_latents};
use std::path::Path;

/// The task that is asked for, of a run of `config`.
pub fn task(args: &TaskArgs, config: &RunConfig) -> Result<Task, CliError> {
    let inversion = Inversion { fixed_point: args.fixed_point, ..Inversion::default() };
    let inverts = args.invert || args.vary.is_some() || args.interpolate.is_some();
    if args.fixed_point > 0 && !inverts {
        return Err(CliError::usage(
            "--fixed-point was given, and nothing is inverted",
            "give it with --invert, --vary or --interpolate, or leave it out",
        ));
    }
    let task = match &args.interpolate {
        Some(ends) => Task::Interpolate(self::ends(ends, inversion, config)?),
        None if args.init.is_empty() => Task::Generate,
        None => of_data(args, inversion, config)?,
    };
    task.validate(config).map_err(|Invalid { setting, reason }| {
        let option = match &*setting {
            "fresh" => "vary".to_string(),
            "inversion.fixed_point" | "fixed_point" => "fixed-point".to_string(),
            _ => setting,
        };
        CliError::Option(Invalid::new(option, reason))
    })?;
    Ok(task)
}

/// That of the data which are given to begin with.
fn of_data(args: &TaskArgs, inversion: Inversion, config: &RunConfig) -> Result<Task, CliError> {
    let parts = args.init.iter().map(|path| data(path, "--init", config)).collect::<Result<Vec<_>, _>>()?;
    let data = joined(parts);
    Ok(match (&args.inpaint, args.vary) {
        (Some(mask), _) => Task::Complete {
            data,
            mask: self::mask(mask, config)?,
            strength: args.strength.unwrap_or(1.0),
            repaint: args.repaint,
            jump: args.jump,
        },
        (None, Some(fresh)) => {
            let strength = args.strength.unwrap_or(Variation::default().strength);
            Task::Vary { data, variation: Variation { strength, fresh, inversion } }
        }
        (None, None) if args.invert => Task::Invert { data, inversion },
        (None, None) => Task::Change { data, strength: args.strength.unwrap_or(0.8) },
    })
}

/// Two seeds or two files; a file that is called like a number comes first.
fn ends(ends: &[String], inversion: Inversion, config: &RunConfig) -> Result<Ends, CliError> {
    let [a, b] = ends else {
        return Err(CliError::usage("--interpolate has two ends", "give it two seeds, or two files"));
    };
    let seed = |text: &String| text.parse::<u64>().ok().filter(|_| !Path::new(text).exists());
    match (seed(a), seed(b)) {
        (Some(a), Some(b)) => Ok(Ends::Seeds([a, b])),
        (None, None) => {
            let [a, b] = [a, b].map(|path| one(Path::new(path), config));
            Ok(Ends::Data { ends: Box::new([a?, b?]), inversion })
        }
        _ => Err(CliError::usage(
            format!("--interpolate {a} {b} goes from a seed to a file"),
            "give it two seeds, or two files",
        )),
    }
}

/// An end of a way, of one example.
fn one(path: &Path, config: &RunConfig) -> Result<TensorData, CliError> {
    let data = data(path, "--interpolate", config)?;
    match data.shape[0] {
        1 => Ok(data),
        n => Err(CliError::usage(
            format!("--interpolate {} has {n} examples, expected one", path.display()),
            "pass a file of one",
        )),
    }
}

/// The examples in a file as the network of the run sees them, `[examples, …]`.
fn data(path: &Path, option: &str, config: &RunConfig) -> Result<TensorData, CliError> {
    let Some(codec) = config.data.latents() else {
        let image = picture(path, option, config.network.input_shape())?;
        return Ok(with_batch(image));
    };
    let is_safetensors = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    if !is_safetensors {
        return Err(CliError::usage(
            format!("{option} {} is no safetensors file, and this run makes latents", path.display()),
            "pass the latents of the picture, as `encode` writes them",
        ));
    }
    let latents = read_latents(path)?;
    let mut values = vec![0.0; latents.values.len()];
    codec.encode(&latents.values, &mut values);
    Ok(TensorData::new(values, [&[latents.count()], &latents.shape[..]].concat()))
}

/// A mask, `[1, 1, height, width]`: 1 where the picture is white.
fn mask(path: &Path, config: &RunConfig) -> Result<TensorData, CliError> {
    let mut shape = config.network.input_shape();
    if let [channels, _, _] = &mut shape[..] {
        *channels = 1;
    }
    let image = with_batch(picture(path, "--inpaint", shape)?);
    let values = image.iter::<f32>().map(|value| value / 2.0 + 0.5).collect();
    Ok(TensorData::new::<f32, _>(values, image.shape))
}

/// A picture, brought to the shape of an example.
fn picture(path: &Path, option: &str, shape: Vec<usize>) -> Result<TensorData, CliError> {
    let (channels, [height, width]) = match shape[..] {
        [1, height, width] => (Channels::Gray, [height, width]),
        [3, height, width] => (Channels::Rgb, [height, width]),
        _ => {
            return Err(CliError::usage(
                format!("{option} takes a picture, and this run makes samples of shape {shape:?}"),
                "leave it out; it is for runs of gray images, of images in color and of latents",
            ));
        }
    };
    Ok(read_image(path, ImageFolderConfig { height, width, channels }).map_err(RecipeError::from)?)
}

fn with_batch(data: TensorData) -> TensorData {
    let shape = [&[1], &data.shape[..]].concat();
    TensorData { shape: shape.into(), ..data }
}

/// Examples behind each other.
fn joined(parts: Vec<TensorData>) -> TensorData {
    let mut shape = parts.first().map(|part| part.shape.to_vec()).unwrap_or_default();
    if let Some(count) = shape.first_mut() {
        *count = parts.iter().map(|part| part.shape[0]).sum();
    }
    let values = parts.iter().flat_map(|part| part.iter::<f32>()).collect();
    TensorData::new::<f32, _>(values, shape)
}
