//! `diffusion sample`: new pictures from a trained run.

use crate::args::{GuidanceArgs, SampleArgs, SamplingArgs, with_weight};
use crate::chosen::Chosen;
use crate::configure::{set_all, set_pretrained};
use crate::denoising::{self, Denoising};
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::image_files::ImageFiles;
use crate::memory::{Work, during};
use crate::output::{log, try_print};
use crate::pictures;
use crate::place::check_file;
use crate::prompts::{Prompts, prompts};
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use crate::table;
use crate::task::task;
use crate::told::told;
use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use diffusion::core::guidance::Autoguidance;
use diffusion::core::{AnyGuidance, counted};
use diffusion::latent::{Autoencoder, AutoencoderConfig, Folder, autoencoder};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    Composed, RecipeError, Run, RunConfig, RunFolder, SampleRequest, Samples, SamplingConfig, check_decoder,
    check_replaceable, decode,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn main(args: SampleArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let (run, mut config) = RunFolder::open(&args.run)?;
    // What leads back takes a way without noise.
    let own = (args.task.invert || args.task.interpolate.is_some()).then_some("heun");
    set(&mut config, &args.sampling, own, args.count)?;
    set_pretrained(&mut config, args.pretrained.as_deref())?;
    config.validate()?;
    config.warnings().iter().for_each(|warning| log(format_args!("warning: {warning}")));
    let request = request(&args.sampling, &config)?;
    let seed = request.seed;
    let prompts = prompts(&args, &config)?;
    let task = task(&args.task, &config)?;
    if args.first.checked_add(config.sampling.count).is_none() {
        let what = format!("the samples from --first {} on have numbers beyond {}", args.first, usize::MAX);
        return Err(CliError::usage(what, "give a smaller --first"));
    }
    let told =
        if args.out.as_deref().is_some_and(ImageFiles::is_at) { told(&args, &run, &config)? } else { None };
    let out = args.out.unwrap_or_else(|| match args.first {
        0 => run.file(&format!("samples-seed-{seed}.png")),
        first => run.file(&format!("samples-seed-{seed}-from-{first}.png")),
    });
    let is_drawn = !ImageFiles::is_at(&out);
    if is_drawn {
        check_out(&out, &config, args.overwrite)?;
    }
    let chosen = Chosen::find(&run, &config, &args.weights)?;
    let decoder = match args.decoder {
        Some(_) if config.data.latents().is_none() => {
            return Err(CliError::usage(
                "--decoder was given, but this run makes no latents",
                "leave it out",
            ));
        }
        Some(_) if draw::is_safetensors(&out) => {
            let what = format!("--decoder makes a picture, and {} is none", out.display());
            return Err(CliError::usage(what, "let --out end in .png, or leave --decoder out"));
        }
        // A model that was trained further makes pictures by its own decoder.
        None if !draw::is_safetensors(&out) => config.network.pretrained().map(Path::to_path_buf),
        Some(folder) => Some(checked_decoder(folder, &config)?),
        None => None,
    };
    if pictures::is_animation(&out) {
        let factor =
            decoder.as_deref().map(decoder_config).transpose()?.map_or(1, |decoder| decoder.factor());
        show_few(&mut config, factor, args.task.interpolate.is_some());
    }
    let request = SampleRequest { task, first: args.first, sampling: config.sampling.clone(), ..request };
    let files = match is_drawn {
        true => None,
        false => {
            let settings = (decoder.is_some(), args.overwrite);
            Some(ImageFiles::find(&out, (&request, &config), (&chosen, told), settings)?)
        }
    };
    if let Some(files) = &files {
        signals::advise(files.advice().to_string());
    }
    let guidance = args.sampling.guidance;
    run_on(
        args.backend,
        Sampling { config, folder: run, chosen, request, guidance, prompts, out, files, decoder, display },
    )?
}

/// Changes what the command line changes; `own` is the sampler of a task where no other is asked for.
pub fn set(
    config: &mut RunConfig,
    args: &SamplingArgs,
    own: Option<&str>,
    count: Option<usize>,
) -> Result<(), CliError> {
    if let Some(name) = args.sampler.as_deref().or(own) {
        config.sampling.set_sampler(name)?;
    }
    if let Some(name) = &args.grid {
        config.sampling.set_grid(name)?;
    }
    if let Some(scale) = args.cfg_scale {
        config.sampling.set_cfg_scale(scale);
    }
    set_guidance(&mut config.sampling, &args.guidance)?;
    let flags = [("sampling.count", count), ("sampling.steps", args.steps)];
    set_all(config, flags.map(|(key, n)| (key, n.map(|n| n.to_string()))), &args.set)
}

/// Asks for no more samples than an animation shows, whose sides are `factor` times those of what the run makes.
fn show_few(config: &mut RunConfig, factor: usize, is_interpolated: bool) {
    let mut shape = config.network.input_shape();
    shape.iter_mut().skip(1).for_each(|side| *side *= factor);
    let (count, most) = (config.sampling.count, denoising::most(&shape));
    if count > most {
        let of = counted(count, "sample");
        match is_interpolated {
            true => log(format_args!("the animation goes its way in {most} instead of {of}")),
            false => log(format_args!("the animation shows the first {most} of {of}")),
        }
        config.sampling.count = most;
    }
}

/// The samples that the command line asks for, of a run of `config`, but for texts, which need a device.
pub fn request(args: &SamplingArgs, config: &RunConfig) -> Result<SampleRequest, CliError> {
    let labels = args.labels.as_deref().map(|names| labels("--labels", names, config)).transpose()?;
    if args.batch_size == Some(0) {
        return Err(CliError::usage("0 samples at once were asked for", "give --batch-size at least 1"));
    }
    let seed = args.seed.unwrap_or(config.training.seed);
    let negative_labels = match &args.guidance.negative {
        Some(names) if config.network.text().is_none() => {
            Some(self::labels("--negative", std::slice::from_ref(names), config)?)
        }
        _ => None,
    };
    let composed = composed_labels(&args.guidance.also, config)?;
    let batch_size = args.batch_size;
    Ok(SampleRequest { seed, labels, negative_labels, composed, batch_size, ..SampleRequest::of(config) })
}

/// Changes how the samples are guided.
fn set_guidance(sampling: &mut SamplingConfig, args: &GuidanceArgs) -> Result<(), CliError> {
    let guidance = std::mem::take(&mut sampling.guidance);
    let (scale, modifiers) =
        guidance.parts().map_or((0.0, Vec::new()), |(scale, known)| (scale, known.to_vec()));
    let modifiers = args.modifiers.changed(&modifiers);
    let guidance = match &args.weaker {
        None => guidance,
        Some(_) if scale == 0.0 => {
            return Err(CliError::usage("--weaker was given, and no strength", "give --cfg-scale, e.g. 1"));
        }
        Some(weaker) => {
            let checkpoint = weaker.parse::<u64>().ok();
            let run = checkpoint.is_none().then(|| PathBuf::from(weaker));
            Autoguidance { checkpoint, run, ..Autoguidance::new(scale) }.into()
        }
    };
    if !args.modifiers.is_empty() && guidance == AnyGuidance::None {
        let what = "something was given that changes guidance, but there is none";
        return Err(CliError::usage(what, "give --cfg-scale as well, e.g. 2"));
    }
    sampling.guidance = guidance.with_modifiers(modifiers);
    Ok(())
}

/// The classes that all samples follow besides, of a run that has classes.
fn composed_labels(also: &[String], config: &RunConfig) -> Result<Vec<Composed>, CliError> {
    if config.network.text().is_some() {
        return Ok(Vec::new());
    }
    let composed = |text: &String| {
        let (name, weight) = with_weight(text);
        Ok(Composed::of_labels(weight, labels("--also", &[name.to_string()], config)?))
    };
    also.iter().map(composed).collect()
}

/// Finds out before hours of sampling whether the autoencoder in `folder` decodes the latents of the run.
fn checked_decoder(folder: PathBuf, config: &RunConfig) -> Result<PathBuf, CliError> {
    let decoder = decoder_config(&folder)?;
    if let [channels, _, _] = config.network.input_shape()[..] {
        check_decoder(&decoder, channels).map_err(RecipeError::from)?;
    }
    Ok(folder)
}

/// The settings of the autoencoder in a folder.
fn decoder_config(folder: &Path) -> Result<AutoencoderConfig, CliError> {
    let part = Folder::open(folder)?.part("vae", autoencoder::CLASSES)?;
    Ok(AutoencoderConfig::from_settings(part.settings())?)
}

/// Finds out before hours of sampling that the picture, or a file of latents beside it, will have no place.
fn check_out(out: &Path, config: &RunConfig, overwrite: bool) -> Result<(), CliError> {
    let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !is_png && !draw::is_safetensors(out) && !pictures::is_animation(out) {
        let what =
            format!("{} is not the name of a PNG picture, an animation or a safetensors file", out.display());
        let hint = "let --out end in .png, .gif, .apng, .safetensors, .npz, or in / for a folder";
        return Err(CliError::usage(what, hint));
    }
    check_file(out, overwrite)?;
    if pictures::is_animation(out) {
        return Ok(());
    }
    let endings = if is_png { draw::endings(config) } else { &["safetensors"] };
    for out in endings.iter().map(|ending| out.with_extension(ending)).filter(|out| draw::is_safetensors(out))
    {
        check_file(&out, overwrite)?;
        check_replaceable(&out)?;
    }
    Ok(())
}

/// The labels of the classes that are asked for by name or number as `option`; where they have names, it is said which they
/// are.
fn labels(option: &str, texts: &[String], config: &RunConfig) -> Result<Vec<usize>, CliError> {
    let Some(classes) = config.network.classes() else {
        let what = format!("labels were given as {option}, but this model has none");
        return Err(CliError::usage(what, "leave that option out"));
    };
    let unknown = |name: String| {
        let last = classes - 1;
        let known = match &config.classes[..] {
            [] => format!("the classes 0 to {last}"),
            names => format!("the classes {}", table::classes(names)),
        };
        let asked = if name.is_empty() { "an empty label".to_string() } else { format!("the label {name}") };
        let what = format!("{asked} was asked for by {option}, but the model has {known}");
        CliError::usage(what, "give one of the model's classes, by its name or number")
    };
    let labels = texts.iter().map(|text| config.labels(text)).collect::<Result<Vec<_>, _>>();
    let labels = labels.map_err(unknown)?.concat();
    let mut named: Vec<(usize, &String)> =
        labels.iter().filter_map(|&label| Some((label, config.classes.get(label)?))).collect();
    let mut seen = BTreeSet::new();
    named.retain(|(label, _)| seen.insert(*label));
    if !named.is_empty() {
        log(format_args!("drawing the classes {}", table::numbered(named)));
    }
    Ok(labels)
}

struct Sampling<'a> {
    config: RunConfig,
    folder: RunFolder,
    chosen: Chosen,
    request: SampleRequest,
    guidance: GuidanceArgs,
    prompts: Option<Prompts>,
    out: PathBuf,
    /// Where single pictures go, if that is asked for.
    files: Option<ImageFiles>,
    decoder: Option<PathBuf>,
    display: &'a Display,
}

impl Job for Sampling<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(mut self, device: &B::Device) -> Self::Output {
        if let (Some(prompts), Some(expected)) = (&self.prompts, self.config.network.text()) {
            self.display.begin("encoding the prompts");
            let encode = |texts: &[String]| prompts.encode::<B>(texts, expected, device);
            self.request.texts = match prompts.texts() {
                [] => None,
                texts => Some(encode(texts)?),
            };
            if let Some(negative) = &self.guidance.negative {
                self.request.negative_texts = Some(encode(std::slice::from_ref(negative))?);
            }
            for (text, weight) in self.guidance.also.iter().map(|text| with_weight(text)) {
                self.request.composed.push(Composed::of_texts(weight, encode(&[text.to_string()])?));
            }
        }
        self.display.begin("making the network");
        during(Work::Network);
        let mut run = self.config.build::<B>(device)?;
        run.watch(self.display.watch().clone());
        let autoencoder = match &self.decoder {
            Some(folder) => Some(Autoencoder::<B>::open(folder, device)?),
            None => None,
        };
        self.sample(run, |latents| {
            let Some(autoencoder) = &autoencoder else { return Ok(None) };
            let codec = self.config.data.latents();
            decode(latents, codec, autoencoder, (false, 1), self.display.watch(), device).map(Some)
        })
    }
}

impl Sampling<'_> {
    /// Draws samples and their picture, of latents that of the images that `decode` makes of them.
    fn sample(
        &self,
        mut run: Box<dyn Run>,
        decode: impl Fn(&Samples) -> Result<Option<Samples>, RecipeError>,
    ) -> Result<(), CliError> {
        self.chosen.load(&mut *run)?;
        run.open_weaker(&self.folder)?;
        let begun = Instant::now();
        during(Work::Samples);
        if let Some(files) = &self.files {
            return self.write(files, &*run, decode, begun);
        }
        let is_moving = pictures::is_animation(&self.out);
        let mut denoising = Denoising::default();
        let samples = run.sample(&self.request, &mut |progress| {
            if is_moving {
                denoising.take(&progress);
            }
        })?;
        let behind = self.behind(&mut *run)?;
        if is_moving {
            let _busy = Busy::begin();
            denoising.write(&self.out, &samples, behind, decode, self.display.watch())?;
            self.display.end();
        } else {
            let images = decode(&samples)?;
            self.display.end();
            let _busy = Busy::begin();
            draw::samples(&self.out, &samples, &self.config, behind)?;
            if let Some(images) = images.filter(|_| !draw::is_safetensors(&self.out)) {
                draw::picture(&self.out, &images, None)?;
            }
        }
        try_print(format_args!(
            "{} of step {} in {:.1} s: {}",
            counted(samples.count(), "sample"),
            self.chosen.step(),
            begun.elapsed().as_secs_f64(),
            self.out.display()
        ));
        Ok(samples.check()?)
    }

    /// Draws samples as single pictures, or as the bytes of all.
    fn write(
        &self,
        files: &ImageFiles,
        run: &dyn Run,
        decode: impl Fn(&Samples) -> Result<Option<Samples>, RecipeError>,
        begun: Instant,
    ) -> Result<(), CliError> {
        let written = files.write(&self.request, &|request, take| {
            let mut take = |samples: Samples| {
                let images = decode(&samples)?.unwrap_or(samples);
                let _busy = Busy::begin();
                take(images)
            };
            run.sample_each(request, &mut take, &mut |_| {})
        })?;
        self.display.end();
        try_print(format_args!(
            "{} of step {} in {:.1} s: {}",
            counted(written.drawn, "sample"),
            self.chosen.step(),
            begun.elapsed().as_secs_f64(),
            files.text(&written)
        ));
        Ok(written.check()?)
    }

    /// Points are drawn over the data, if these are at hand; a picture of images does not need them.
    fn behind(&self, run: &mut dyn Run) -> Result<Option<TensorData>, RecipeError> {
        if self.config.network.input_shape() != [2] || draw::is_safetensors(&self.out) {
            return Ok(None);
        }
        during(Work::Data);
        match run.examples(draw::POINTS) {
            Ok(data) => Ok(Some(data)),
            Err(RecipeError::Stopped) => Err(RecipeError::Stopped),
            Err(error) => {
                log(format_args!("warning: the samples are drawn without the data behind them: {error}"));
                Ok(None)
            }
        }
    }
}
