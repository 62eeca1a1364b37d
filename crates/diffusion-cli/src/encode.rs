//! `diffusion encode` and `diffusion decode`: images into latents, and back.

use crate::args::{DecodeArgs, EncodeArgs};
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::invocation::invocation;
use crate::output::{log, try_print};
use crate::place::{check_file, check_png};
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::latent::{Autoencoder, Folder as LatentFolder};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    CaptionNote, EncodeRequest, EncodedTexts, RecipeError, Samples, decode, encode, read_latents,
};
use std::path::PathBuf;

pub fn main(args: EncodeArgs, display: &Display) -> Result<(), CliError> {
    signals::advise("the same command goes on with it".to_string());
    let EncodeArgs { folder, images, no_captions, size, out, batch_size, tiles, overwrite, backend } = args;
    check_batch(batch_size)?;
    let (captions, in_tiles) = (!no_captions, tiles);
    let request = EncodeRequest { images, size, out, batch_size, in_tiles, captions, overwrite };
    run_on(backend, Encode { folder, request, display })?
}

fn check_batch(size: usize) -> Result<(), CliError> {
    match size {
        0 => Err(CliError::usage("0 images at once were asked for", "give --batch-size at least 1")),
        _ => Ok(()),
    }
}

struct Encode<'a> {
    folder: PathBuf,
    request: EncodeRequest,
    display: &'a Display,
}

impl Job for Encode<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let folder = LatentFolder::open(&self.folder)?;
        let mut tell = |note: CaptionNote| {
            let kind = if note.is_warning() { "warning" } else { "note" };
            log(format_args!("{kind}: {note}"));
        };
        let about = encode::<B>(&self.request, &folder, device, self.display.watch(), &mut tell);
        let about = about.map_err(|error| match error {
            RecipeError::Invalid(invalid) => CliError::Option(invalid),
            error => error.into(),
        })?;
        self.display.end();
        let out = self.request.out.display();
        let [channels, height, width] = about.latent_shape;
        let texts = about.text.map(|EncodedTexts { tokens, width }| {
            format!(", with captions of {tokens} tokens of width {width},")
        });
        try_print(format_args!(
            "{} as latents of {channels}x{height}x{width}{} in {out}",
            counted(about.count, "image"),
            texts.unwrap_or_default()
        ));
        try_print(format_args!("`{} train --latents {out}` trains on them", invocation()));
        Ok(())
    }
}

pub fn decode_main(args: DecodeArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let out = args.out.clone().unwrap_or_else(|| args.file.with_extension("png"));
    check_png(&out)?;
    check_batch(args.batch_size)?;
    check_file(&out, args.overwrite)?;
    let latents = read_latents(&args.file)?;
    run_on(args.backend, Decode { args, latents, out, display })?
}

struct Decode<'a> {
    args: DecodeArgs,
    latents: Samples,
    out: PathBuf,
    display: &'a Display,
}

impl Job for Decode<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.display.begin("reading the autoencoder");
        let autoencoder = Autoencoder::<B>::open(&self.args.folder, device)?;
        let how = (self.args.tiles, self.args.batch_size);
        let images = decode(&self.latents, None, &autoencoder, how, self.display.watch(), device)?;
        self.display.end();
        let _busy = Busy::begin();
        draw::picture(&self.out, &images, None)?;
        try_print(format_args!("{}: {}", counted(images.count(), "image"), self.out.display()));
        Ok(images.check()?)
    }
}
