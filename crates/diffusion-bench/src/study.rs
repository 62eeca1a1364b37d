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
use train::{Limit, Peer, Timed};

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
                Maker::Here(here) => step_here::<B>(args, here, device).map(drop),
                Maker::Peer(peer) => {
                    let (peer, seconds) = (args.peer(recipe, peer), 60.0 * args.minutes);
                    peer.time(seconds, &timed(args, &recipe.name))
                }
            });
        }
        for recipe in &chosen {
            for seed in 0..args.seeds {
                let place = folder(args, &recipe.name, seed).join(RESULT);
                let settings = settings(args, recipe)?;
                let row = match rows::read::<Row>(&place)? {
                    Some(row) if row.is_of(&settings, args.count) => row,
                    _ => {
                        let row = measure::<B>(args, recipe, seed, device)?;
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
fn settings(args: &StudyArgs, recipe: &Recipe) -> Result<String, BenchError> {
    let Recipe { settings, maker, .. } = recipe;
    Ok(match maker {
        Maker::Here(_) => format!("backend = \"{}\"\n{settings}", args.backend),
        // How far it comes by the clock depends on them, a number of steps does not.
        Maker::Peer(_) if peer_step(args, recipe)?.is_none() => {
            format!("threads = {}\n{settings}", threads(args))
        }
        Maker::Peer(_) => settings.clone(),
    })
}

/// Threads of PyTorch.
fn threads(args: &StudyArgs) -> u32 {
    args.threads.unwrap_or_else(processors)
}

impl StudyArgs {
    /// smalldiffusion, which trains a recipe of this name.
    fn peer<'a>(&'a self, recipe: &'a Recipe, name: &'a str) -> Peer<'a> {
        let settings = &recipe.settings;
        Peer { python: &self.python, recipe: name, settings, threads: threads(self) }
    }
}

/// The seconds of one of smalldiffusion's steps, where they were timed.
fn peer_step(args: &StudyArgs, recipe: &Recipe) -> Result<Option<f64>, BenchError> {
    Timed::read(&timed(args, &recipe.name), |timed: &String| *timed == recipe.settings)
}

/// Where it is written how long the steps of a recipe take.
fn timed(args: &StudyArgs, name: &str) -> PathBuf {
    args.out.join("timed").join(format!("{name}.json"))
}

/// Where a recipe's run with this seed is.
fn folder(args: &StudyArgs, name: &str, seed: u64) -> PathBuf {
    args.out.join(format!("{}m-{name}-seed-{seed}", args.minutes))
}

/// In how many steps of so many seconds a recipe is trained.
fn steps_in(args: &StudyArgs, each: f64) -> u64 {
    ((60.0 * args.minutes / each).round() as u64).max(1)
}

/// The seconds of a step of a recipe that this program trains.
fn step_here<B: Backend>(args: &StudyArgs, here: &Here, device: &B::Device) -> Result<f64, BenchError> {
    train::time::<B>(&here.config, 60.0 * args.minutes, &timed(args, &here.trained_as), device)
}

/// Trains one recipe and judges its samples.
fn measure<B: Backend>(
    args: &StudyArgs,
    recipe: &Recipe,
    seed: u64,
    device: &B::Device,
) -> Result<Row, BenchError> {
    let (step, trained, (values, judged)) = match &recipe.maker {
        Maker::Peer(name) => {
            let step = peer_step(args, recipe)?;
            let limit = match step {
                Some(each) => Limit::Steps(steps_in(args, each)),
                None => Limit::Seconds(60.0 * args.minutes),
            };
            let folder = folder(args, &recipe.name, seed);
            let (trained, samples) =
                args.peer(recipe, name).train(limit, (args.count as usize, seed), &folder)?;
            (step, trained, judge::file::<B>(&samples, args, device)?)
        }
        Maker::Here(here) => {
            let folder = folder(args, &here.trained_as, seed);
            let each = step_here::<B>(args, here, device)?;
            let trained = match train::earlier(&here.config, &folder)? {
                Some(trained) => trained,
                None => train::here::<B>(&here.config, steps_in(args, each), seed, &folder, device)?,
            };
            let mut run = train::open::<B>(here, &folder, device)?;
            (Some(each), trained, judge::run::<B>(&mut *run, args, device)?)
        }
    };
    Ok(Row {
        name: recipe.name.clone(),
        change: recipe.change.clone(),
        settings: settings(args, recipe)?,
        count: args.count,
        seed,
        step,
        trained,
        judged,
        values,
    })
}
