//! The study of recipes: how good samples are after the same time of training, as one thing after the other is changed.
//!
//! The recipes are data, [`Recipe`]s of `study.toml`. Each is trained here, or by smalldiffusion on PyTorch, for so many
//! seconds; its samples are judged by the features of the classifier of Fashion-MNIST. What was measured stays in a folder of
//! its own, so that a study that was interrupted goes on with what is missing.

mod judge;
mod recipe;
mod rows;
mod train;

use crate::args::StudyArgs;
use crate::error::BenchError;
use crate::facts::{Facts, processors};
use burn::tensor::backend::Backend;
use diffusion_backends::{Job, run_on};
use recipe::{Maker, Recipe};
use rows::Row;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Trains and judges the recipes that are asked for, and prints a table of them.
pub fn main(args: &StudyArgs) -> Result<(), BenchError> {
    let recipes = recipe::all()?;
    if let Some(unknown) = args.only.iter().find(|name| recipes.iter().all(|recipe| recipe.name != **name)) {
        let known = recipes.iter().map(|recipe| recipe.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(BenchError::Unknown { name: unknown.clone(), known });
    }
    let asked = |recipe: &Recipe| match &args.only[..] {
        [] => args.peer || matches!(recipe.maker, Maker::Here(_)),
        only => only.contains(&recipe.name),
    };
    let chosen: Vec<Recipe> = recipes.into_iter().filter(asked).collect();
    run_on(args.backend, Study { args, chosen }).map_err(BenchError::from).flatten()
}

struct Study<'a> {
    args: &'a StudyArgs,
    chosen: Vec<Recipe>,
}

impl Job for Study<'_> {
    type Output = Result<(), BenchError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let Self { args, chosen } = self;
        let mut rows = Vec::new();
        for recipe in &chosen {
            for seed in 0..args.seeds {
                let folder = folder(args, &recipe.name, seed);
                let row = match Row::read(&folder)? {
                    // One of other settings is no result of this recipe.
                    Some(row) if row.change == recipe.change => row,
                    _ => {
                        let row = measure::<B>(args, recipe, seed, &folder, device)?;
                        row.write(&folder)?;
                        row
                    }
                };
                eprintln!("{row}");
                rows.push(row);
            }
        }
        let table = rows::table(&rows, &Facts::here());
        let written = write!(io::stdout().lock(), "{table}");
        written.map_err(BenchError::Output)
    }
}

/// Where a recipe's run with this seed is.
fn folder(args: &StudyArgs, name: &str, seed: u64) -> PathBuf {
    args.out.join(format!("{}m-{name}-seed-{seed}", args.minutes))
}

/// Trains one recipe and judges its samples.
fn measure<B: Backend>(
    args: &StudyArgs,
    recipe: &Recipe,
    seed: u64,
    folder: &Path,
    device: &B::Device,
) -> Result<Row, BenchError> {
    let seconds = 60.0 * args.minutes;
    let made = |row: Row| Row { name: recipe.name.clone(), change: recipe.change.clone(), seed, ..row };
    match &recipe.maker {
        Maker::Peer(name) => {
            let threads = args.threads.unwrap_or_else(processors);
            let trained =
                train::by_peer(&args.python, name, seconds, args.count as usize, (seed, threads), folder)?;
            let (values, judged) = judge::file::<B>(&trained.samples, args, device)?;
            Ok(made(Row { values, judged, ..trained.row }))
        }
        Maker::Here(config) => {
            let mut trained = train::here::<B>(config, seconds, seed, folder, device)?;
            let (values, judged) = judge::run::<B>(&mut *trained.run, args, device)?;
            Ok(made(Row { values, judged, ..trained.row }))
        }
    }
}
