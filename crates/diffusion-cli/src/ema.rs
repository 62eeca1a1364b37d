//! `diffusion ema`: an average of a run's weights of another width, made of its snapshots.

use crate::args::EmaArgs;
use crate::draw;
use crate::error::CliError;
use crate::invocation::{invocation, word};
use crate::output::try_print;
use crate::place::check_file;
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use diffusion::core::counted;
use diffusion::train::{AverageFile, post_hoc};
use diffusion_recipe::{RecipeError, RunFolder};

pub fn main(args: EmaArgs) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let (run, _) = RunFolder::open(&args.run)?;
    let is_found_by_width = args.out.is_none() && args.step.is_none();
    let out = args.out.unwrap_or_else(|| run.average(args.width, args.step));
    if !draw::is_safetensors(&out) {
        let what = format!("{} is not the name of a safetensors file", out.display());
        return Err(CliError::usage(what, "let --out end in .safetensors"));
    }
    check_file(&out, args.overwrite)?;
    if out.exists() && AverageFile::open(&out).is_err() {
        let what = format!("{} holds something else than such an average", out.display());
        return Err(CliError::usage(what, "pass --out FILE for another name"));
    }
    let _busy = Busy::begin();
    let made = post_hoc(run.snapshots(), args.width, args.step, &out).map_err(RecipeError::from)?;
    try_print(format_args!(
        "the average of the width {} at step {}, of {}, to {:.2} % of its profile: {}",
        made.file.width(),
        made.file.step(),
        counted(made.stored, "stored average"),
        100.0 * made.error,
        out.display()
    ));
    let choice = match is_found_by_width {
        true => format!("--ema {}", args.width),
        false => format!("--weights {}", word(&out)),
    };
    try_print(format_args!("`{} sample {} {choice}` draws with it", invocation(), word(&args.run)));
    Ok(())
}
