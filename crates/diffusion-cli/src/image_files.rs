//! Where `sample` writes single pictures, or the bytes of all.

use crate::chosen::Chosen;
use crate::error::CliError;
use crate::place::check_file;
use crate::signals::Busy;
use diffusion_recipe::{
    Draw, Drawn, RecipeError, RunConfig, SampleFolder, SampleRequest, Written, write_archive,
};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

/// A place for single pictures, or for the bytes of all.
#[derive(Clone, Debug)]
pub enum ImageFiles {
    /// A folder of PNG pictures, and by what they are drawn.
    Folder { path: PathBuf, drawn: Drawn, overwrite: bool },
    /// A `.npz` file.
    Archive(PathBuf),
}

impl ImageFiles {
    /// Whether `out` is such a place by its name: it ends in `.npz` or in a slash, or is a folder that has no file's name.
    pub fn is_at(out: &Path) -> bool {
        is_archive(out) || is_folder(out)
    }

    /// The place `out`, which is looked at before hours of sampling; `told` tells what is asked for besides `request`. A run
    /// on latents needs a decoder.
    pub fn find(
        out: &Path,
        (request, config): (&SampleRequest, &RunConfig),
        (chosen, told): (&Chosen, Option<String>),
        (has_decoder, overwrite): (bool, bool),
    ) -> Result<Self, CliError> {
        let (shape, is_latent) = (config.network.input_shape(), config.data.latents().is_some());
        if is_latent && !has_decoder {
            let what = format!("{} is for images, and this run makes latents", out.display());
            return Err(CliError::usage(what, "pass --decoder FOLDER, or let --out end in .safetensors"));
        }
        if !is_latent && !matches!(shape[..], [1 | 3, _, _]) {
            let what =
                format!("{} is for images, and this run's samples are of shape {shape:?}", out.display());
            return Err(CliError::usage(what, "let --out end in .safetensors, or in .png for points"));
        }
        if is_archive(out) {
            check_file(out, overwrite)?;
            return Ok(Self::Archive(out.to_path_buf()));
        }
        let above = out.parent().filter(|above| !above.as_os_str().is_empty());
        if let Some(above) = above.filter(|above| !above.is_dir()) {
            let what =
                format!("{} cannot be made, for there is no folder {}", out.display(), above.display());
            return Err(CliError::usage(what, "make it first"));
        }
        let drawn = Drawn::of(request, chosen.identity()?, told)?;
        SampleFolder::check(out, &drawn, overwrite)?;
        Ok(Self::Folder { path: out.to_path_buf(), drawn, overwrite })
    }

    /// How to go on with what a signal interrupts.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "the same command goes on with it",
            Self::Archive(_) => crate::signals::NOTHING_WRITTEN,
        }
    }

    /// Draws the samples of `request` by `draw`, which is to be short while it holds images, into the place.
    pub fn write(&self, request: &SampleRequest, draw: &Draw<'_>) -> Result<Written, RecipeError> {
        match self {
            Self::Folder { path, drawn, overwrite } => {
                let folder = SampleFolder::open(path, drawn.clone(), *overwrite)?;
                folder.fill(request, draw)
            }
            Self::Archive(path) => {
                // What is cut off would leave a large hidden file.
                let _busy = Busy::begin();
                write_archive(path, request, draw)
            }
        }
    }

    /// Where it is, and what was there before.
    pub fn text(&self, written: &Written) -> String {
        match self {
            Self::Archive(path) => path.display().to_string(),
            Self::Folder { path, .. } => match written.there {
                0 => path.display().to_string(),
                there => format!("{}, where {there} were already", path.display()),
            },
        }
    }
}

fn is_archive(out: &Path) -> bool {
    let has_ending = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
    has_ending && !ends_in_slash(out)
}

/// The endings of files that are no folders.
const FILES: [&str; 5] = ["png", "gif", "apng", "npz", "safetensors"];

fn is_folder(out: &Path) -> bool {
    let has_ending = |ending: &&str| out.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending));
    ends_in_slash(out) || out.is_dir() && !FILES.iter().any(has_ending)
}

fn ends_in_slash(out: &Path) -> bool {
    out.to_string_lossy().ends_with(['/', MAIN_SEPARATOR])
}
