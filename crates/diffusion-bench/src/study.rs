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
use recipe::{Here, Maker, Recipe};
use rows::{RESULT, Row};
use std::io::{self, Write};
use std::path::PathBuf;

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
        if args.time {
            return chosen.iter().try_for_each(|recipe| match &recipe.maker {
                Maker::Here(here) => steps_of::<B>(args, here, device).map(drop),
                Maker::Peer(_) => Ok(()),
            });
        }
        for recipe in &chosen {
            for seed in 0..args.seeds {
                let place = folder(args, &recipe.name, seed).join(RESULT);
                let settings = settings(args, recipe);
                let row = match rows::read::<Row>(&place)? {
                    Some(row) if row.is_of(&settings, args.count) => row,
                    _ => {
                        let row = Row { settings, ..measure::<B>(args, recipe, seed, device)? };
                        rows::write(&place, &row)?;
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

/// All that the samples of a recipe depend on, besides seeds, their number and the time of training.
fn settings(args: &StudyArgs, recipe: &Recipe) -> String {
    let Recipe { settings, maker, .. } = recipe;
    match maker {
        Maker::Here(_) => format!("backend = \"{}\"\n{settings}", args.backend),
        Maker::Peer(_) => format!("threads = {}\n{settings}", threads(args)),
    }
}

/// Threads of PyTorch.
fn threads(args: &StudyArgs) -> u32 {
    args.threads.unwrap_or_else(processors)
}

/// Where a recipe's run with this seed is.
fn folder(args: &StudyArgs, name: &str, seed: u64) -> PathBuf {
    args.out.join(format!("{}m-{name}-seed-{seed}", args.minutes))
}

/// In how many steps a recipe is trained.
fn steps_of<B: Backend>(args: &StudyArgs, here: &Here, device: &B::Device) -> Result<u64, BenchError> {
    let seconds = 60.0 * args.minutes;
    let place = args.out.join("timed").join(format!("{}.json", here.trained_as));
    let each = train::time::<B>(&here.config, seconds, &place, device)?;
    Ok(((seconds / each).round() as u64).max(1))
}

/// Trains one recipe and judges its samples.
fn measure<B: Backend>(
    args: &StudyArgs,
    recipe: &Recipe,
    seed: u64,
    device: &B::Device,
) -> Result<Row, BenchError> {
    let made = |row: Row| Row {
        name: recipe.name.clone(),
        change: recipe.change.clone(),
        count: args.count,
        seed,
        ..row
    };
    match &recipe.maker {
        Maker::Peer(name) => {
            let folder = folder(args, &recipe.name, seed);
            let settings = (args.count as usize, seed, threads(args));
            let (trained, samples) =
                train::by_peer(&args.python, name, 60.0 * args.minutes, settings, &folder)?;
            let (values, judged) = judge::file::<B>(&samples, args, device)?;
            Ok(made(Row { values, judged, trained, ..Row::default() }))
        }
        Maker::Here(here) => {
            let folder = folder(args, &here.trained_as, seed);
            let trained = match train::earlier(&here.config, &folder)? {
                Some(trained) => trained,
                None => {
                    let steps = steps_of::<B>(args, here, device)?;
                    train::here::<B>(&here.config, steps, seed, &folder, device)?
                }
            };
            let mut run = train::open::<B>(here, &folder, device)?;
            let (values, judged) = judge::run::<B>(&mut *run, args, device)?;
            Ok(made(Row { values, judged, trained, ..Row::default() }))
        }
    }
}
