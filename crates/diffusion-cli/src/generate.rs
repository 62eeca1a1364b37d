//! `diffusion generate`: pictures of a text or a class, by a pretrained model.

use crate::args::GenerateArgs;
use crate::display::Display;
use crate::error::CliError;
use crate::memory::{Work, during};
use crate::model::Model;
use crate::output::{log, try_print};
use crate::place::{check_file, check_png};
use crate::prompts::warn_of_cut;
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use clap::ValueEnum;
use diffusion::core::guidance::AnyModifier;
use diffusion::core::schedule::{AnySpacing, Grid};
use diffusion::core::{AnySampler, Invalid, Noise};
use diffusion::data::{Channels, ImageFolderConfig, read_image, write_png};
use diffusion::latent::generate::{Prepared, Request, Start};
use diffusion::latent::schedule::Spacing;
use diffusion::latent::{AnyPipeline, Preview};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::RecipeError;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn main(args: GenerateArgs, display: &Display) -> Result<(), CliError> {
    let may_write = args.count > 1 || args.preview_every.is_some();
    signals::advise(if may_write { BEGINS_ANEW } else { NOTHING_WRITTEN }.to_string());
    if args.count == 0 {
        return Err(CliError::usage("0 pictures were asked for", "give --count at least 1"));
    }
    if args.preview_every == Some(0) {
        return Err(CliError::usage(
            "a preview every 0 steps was asked for",
            "give --preview-every at least 1",
        ));
    }
    if args.mask.is_some() && args.image.is_none() {
        return Err(CliError::usage(
            "--mask was given without --image",
            "pass the picture with --image FILE",
        ));
    }
    if args.seed.checked_add(args.count - 1).is_none() {
        return Err(CliError::usage(
            format!(
                "{} pictures from --seed {} on have seeds beyond {}, the largest",
                args.count,
                args.seed,
                u64::MAX
            ),
            "give a smaller --seed; each picture's is one more than that before",
        ));
    }
    args.out.as_deref().map_or(Ok(()), check_png)?;
    // Of a model that is not there, no file is in the way.
    let model = Model::find(&args)?;
    for number in 0..args.count {
        check_file(&place(&args, number), args.overwrite)?;
        if args.preview_every.is_some() {
            check_file(&preview_place(&args, number), args.overwrite)?;
        }
    }
    run_on(args.backend, Generate { args, model, display })?
}

/// What a user can do who stops it when something may have been written.
const BEGINS_ANEW: &str = "the same command with --overwrite begins anew";

/// Where the picture `number` goes.
fn place(args: &GenerateArgs, number: u64) -> PathBuf {
    let seed = args.seed + number;
    match (&args.out, args.count) {
        (None, _) => PathBuf::from(format!("generated-seed-{seed}.png")),
        (Some(out), 1) => out.clone(),
        (Some(out), _) => {
            let stem = out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            out.with_file_name(format!("{stem}-seed-{seed}.png"))
        }
    }
}

/// Where the previews of the picture `number` go.
fn preview_place(args: &GenerateArgs, number: u64) -> PathBuf {
    let place = place(args, number);
    let stem = place.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    place.with_file_name(format!("{stem}-preview.png"))
}

struct Generate<'a> {
    args: GenerateArgs,
    model: Model,
    display: &'a Display,
}

impl Job for Generate<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let Self { args, model, display } = &self;
        during(Work::Network);
        let pipe = model.open::<B>(&args.lora, display, device)?;
        let request = self.request(&pipe)?;
        during(Work::Samples);
        display.begin("encoding what is asked for");
        let prepared =
            pipe.prepare(&request, device).map_err(|invalid| unusable(pipe.has_class_names(), invalid))?;
        self.say(&pipe, &request, &prepared);
        let preview = args.preview_every.map(|_| Preview::of(pipe.autoencoder(), device));
        for number in 0..args.count {
            self.draw(&pipe, (&prepared, &request), number, preview.as_ref())?;
        }
        Ok(())
    }
}

impl Generate<'_> {
    /// What the command line asks for.
    fn request<B: Backend>(&self, pipe: &AnyPipeline<B>) -> Result<Request, CliError> {
        let args = &self.args;
        let size = args.size.map_or(pipe.native_size(), |size| [size.height, size.width]);
        // Looked at before pictures are read in it.
        pipe.check_size(size[0], size[1]).map_err(CliError::Option)?;
        let [height, width] = size;
        let config = ImageFolderConfig { height, width, channels: Channels::Rgb };
        let too_large =
            |_| Invalid::new("size", format!("is {height}x{width}, expected at most 16384 pixels each"));
        config.validate().map_err(too_large).map_err(CliError::Option)?;
        let image = match &args.image {
            Some(image) => Some(Start {
                image: read(image, size, Channels::Rgb)?,
                mask: args.mask.as_ref().map(|mask| read(mask, size, Channels::Gray)).transpose()?,
                strength: args.strength.unwrap_or(if args.mask.is_some() { 1.0 } else { 0.8 }),
            }),
            None => None,
        };
        let spacing = args.spacing.map(|spacing| match spacing {
            crate::args::SpacingArg::Leading => Spacing::Leading { offset: 1 },
            crate::args::SpacingArg::Trailing => Spacing::Trailing,
            crate::args::SpacingArg::Linspace => Spacing::Linspace,
        });
        Ok(Request {
            negative: args.negative.clone(),
            steps: args.steps,
            guidance: args.guidance.unwrap_or(pipe.guidance()),
            sampler: args.sampler.as_deref().and_then(AnySampler::from_name),
            modifiers: args.modifiers.changed(&[]),
            spacing,
            grid: args.grid.as_deref().and_then(AnySpacing::from_name).map(Grid::from),
            image,
            in_tiles: args.tiles,
            ..Request::new(&args.prompt, size)
        })
    }

    /// Says what is not as the user may think.
    fn say<B: Backend>(&self, pipe: &AnyPipeline<B>, request: &Request, prepared: &Prepared<'_, B>) {
        warn_of_cut(prepared.cut());
        if let Some(class) = prepared.class() {
            let name = pipe.class_name(class).map(|name| format!(": {name}")).unwrap_or_default();
            log(format_args!("drawing the class {class}{name}"));
        }
        if let (Some(class), None) = (pipe.schedule().replaced(), request.sampler) {
            log(format_args!(
                "note: {class} has no counterpart here; its noise levels are taken, with the sampler `{}`",
                pipe.schedule().sampler_name(request.steps)
            ));
        }
        if pipe.sees_pictures() && request.image.is_none() {
            log(
                "note: this model paints into pictures; without --image and --mask it paints all of an empty one",
            );
        }
    }

    fn draw<B: Backend>(
        &self,
        pipe: &AnyPipeline<B>,
        (prepared, request): (&Prepared<'_, B>, &Request),
        number: u64,
        preview: Option<&Preview>,
    ) -> Result<(), CliError> {
        let (args, watch, begun) = (&self.args, self.display.watch(), Instant::now());
        let seed = args.seed + number;
        let work = match args.count {
            1 => "drawing".to_string(),
            count => format!("drawing picture {} of {count}", number + 1),
        };
        watch.report(&work, 0, Some(request.steps as u64)).map_err(RecipeError::from)?;
        let mut observe = |step: usize, steps: usize, latents: &Tensor<B, 4>| {
            watch.report(&work, step as u64, Some(steps as u64))?;
            if let (Some(preview), Some(every)) = (preview, args.preview_every)
                && step.is_multiple_of(every)
                && let Err(error) =
                    write_png(preview_place(args, number), &data(preview.pictures(latents.clone())), &[])
            {
                log(format_args!("warning: cannot write the preview: {error}"));
            }
            if step == steps {
                watch.report("decoding", 0, None)?;
            }
            Ok(())
        };
        let picture = prepared.draw(Noise::new(seed), &mut observe).map_err(RecipeError::from)?;
        let picture = data(picture);
        self.display.end();
        let _busy = Busy::begin();
        let out = place(args, number);
        let about = self.about(pipe, (request, prepared.class()), seed);
        let about: Vec<(&str, &str)> = about.iter().map(|(key, value)| (*key, value.as_str())).collect();
        write_png(&out, &picture, &about).map_err(|source| RecipeError::Io {
            action: "write",
            path: out.clone(),
            source,
        })?;
        try_print(format_args!("{} in {:.1} s", out.display(), begun.elapsed().as_secs_f64()));
        match picture.iter::<f32>().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(CliError::usage(
                format!("{} has values that are not finite", out.display()),
                "the file is written; try a smaller --guidance, another --sampler, or weights of 32 bits",
            )),
        }
    }

    /// What a picture says of itself.
    fn about<B: Backend>(
        &self,
        pipe: &AnyPipeline<B>,
        (request, class): (&Request, Option<usize>),
        seed: u64,
    ) -> Vec<(&'static str, String)> {
        let (args, [height, width]) = (&self.args, request.size);
        let own = pipe.schedule().sampler_name(request.steps);
        let mut about = vec![
            ("prompt", request.prompt.clone()),
            ("negative_prompt", request.negative.clone().unwrap_or_default()),
            ("seed", seed.to_string()),
            ("steps", request.steps.to_string()),
            // As other programs count it, and as this library does.
            ("guidance_scale", request.guidance.to_string()),
            ("cfg_scale", (request.guidance - 1.0).to_string()),
            ("sampler", args.sampler.clone().unwrap_or(own)),
            ("size", format!("{width}x{height}")),
            ("model", name(&args.folder)),
            ("Software", format!("diffusion {}", env!("CARGO_PKG_VERSION"))),
        ];
        let mut say = |key, value: Option<String>| about.extend(value.map(|value| (key, value)));
        let followed = args.sampler.is_none().then(|| pipe.schedule().config().class_name.clone());
        say("scheduler", followed.filter(|class| !class.is_empty()));
        say("spacing", args.spacing.as_ref().and_then(word));
        say("grid", args.grid.clone());
        let modifiers: Vec<&str> = request.modifiers.iter().map(AnyModifier::name).collect();
        say("guidance_modifiers", (!modifiers.is_empty()).then(|| modifiers.join(", ")));
        say("class", class.map(|class| class.to_string()));
        say("class_name", class.and_then(|class| pipe.class_name(class)).map(ToString::to_string));
        say("lora", (!args.lora.is_empty()).then(|| args.lora.join(", ")));
        say("image", args.image.as_deref().map(name));
        say("mask", args.mask.as_deref().map(name));
        say("strength", request.image.as_ref().map(|start| start.strength.to_string()));
        say("tiles", args.tiles.then(|| "true".to_string()));
        say("variant", args.variant.clone());
        say("prediction", args.prediction.as_ref().and_then(word));
        about
    }
}

/// A value as it is typed.
fn word(value: &impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_string())
}

/// The error that a value of the request cannot be used.
fn unusable(has_names: bool, Invalid { setting, reason }: Invalid) -> CliError {
    match &*setting {
        "prompt" => CliError::usage(
            format!("the prompt {reason}"),
            match has_names {
                true => "this model draws classes; `id2label` in its model_index.json has their names",
                false => {
                    "this model draws classes, and its folder does not say what they are called: give a number"
                }
            },
        ),
        _ => CliError::Option(Invalid { setting, reason }),
    }
}

/// The last part of a path.
fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path, [height, width]: [usize; 2], channels: Channels) -> Result<TensorData, CliError> {
    Ok(read_image(path, ImageFolderConfig { height, width, channels }).map_err(RecipeError::from)?)
}

/// The values of one picture.
fn data<B: Backend>(picture: Tensor<B, 4>) -> TensorData {
    picture.squeeze_dim::<3>(0).into_data()
}
