//! What options cost: an objective with every part beside the plain one, and each sampler beside what it asks of the network.

use crate::args::BenchArgs;
use crate::driver::Contestant;
use crate::error::BenchError;
use crate::measure::{Measured, TURN, take_turns_between};
use crate::statistics::{Summary, ratios};
use crate::table::{Table, verdict, with_spread};
use crate::work::{DitSizes, Part, Work};
use diffusion::core::objective::{
    Adaptive, Assignment, LearnedVariance, LogNormal, MinSnr, OffsetNoise, PseudoHuber,
};
use diffusion::prelude::{AnyObjective, AnySampler, Weighted};
use serde::Serialize;

/// An option, and what is done without it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its name on the command line and in the table.
    pub name: String,
    /// What it is measured beside.
    pub without: Work,
    /// The work with it, or what it adds.
    pub with: Work,
    /// Whether `with` is only what it adds.
    pub adds: bool,
    /// How many times the time without it the time with it may be.
    pub most: f64,
}

/// The objective with every part that goes together.
fn rich() -> AnyObjective {
    Weighted {
        sigmas: LogNormal::default().into(),
        weight: MinSnr::default().into(),
        loss: PseudoHuber { c: None }.into(),
        stratified: true,
        adaptive: Some(Adaptive::default()),
        learned_variance: Some(LearnedVariance::default()),
        offset_noise: Some(OffsetNoise::default()),
        pairing: Some(Assignment {}.into()),
    }
    .into()
}

/// All options, in their order: the objective with the network of the preset `fashion-dit-small`, the samplers with that of
/// `fashion-dit`, smalldiffusion's example.
pub fn choices() -> Vec<Choice> {
    let (dit, batch) = (DitSizes::fashion_small, 64);
    let objective = Choice {
        name: "objective".into(),
        without: Work::TrainDit { dit: dit(), batch },
        with: Work::TrainUnder { dit: dit(), batch, objective: Box::new(rich()) },
        adds: false,
        most: 1.03,
    };
    let samplers = AnySampler::names_for_any_model().map(|name| {
        let dit = DitSizes::fashion();
        let work =
            |part| Work::SampleBy { dit: dit.clone(), batch: 16, steps: 10, sampler: name.into(), part };
        let (without, with) = (work(Part::Calls), work(Part::Sampler));
        Choice { name: name.into(), without, with, adds: true, most: 1.02 }
    });
    [objective].into_iter().chain(samplers).collect()
}

/// An option as it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    name: String,
    without: Measured,
    with: Measured,
    ratio: Summary,
    most: f64,
}

/// Measures the options in turns.
pub fn measure(args: &BenchArgs, here: &Contestant) -> Result<Vec<Compared>, BenchError> {
    let asked = |choice: &Choice| args.only.is_empty() || args.only.contains(&choice.name);
    let compare = |Choice { name, without, with, adds, most }| {
        // Of a trajectory the sampler's own part is short, and all of it has to be waited for.
        let turn = if adds { 0.0 } else { TURN };
        let measured = take_turns_between(&[(here, &without), (here, &with)], args.repeats, turn)?;
        let [without, with] = <[Measured; 2]>::try_from(measured).expect("two works were measured");
        let ratios = ratios(&with.seconds, &without.seconds).into_iter().map(|ratio| ratio + f64::from(adds));
        let ratio = Summary::of(&ratios.collect::<Vec<_>>()).expect("there is a turn at least");
        eprintln!("{name}: {:.3}", ratio.median);
        Ok(Compared { name, without, with, ratio, most })
    };
    choices().into_iter().filter(asked).map(compare).collect()
}

/// The table of all of them.
pub fn table(options: &[Compared]) -> String {
    let mut table = Table::new(["option", "without, ms", "with it or added, ms", "ratio", "must"]);
    let milliseconds = |measured: &Measured| with_spread(measured.summary().times(1e3));
    for Compared { name, without, with, ratio, most } in options {
        table.row([
            Some(name.clone()),
            Some(milliseconds(without)),
            Some(milliseconds(with)),
            Some(with_digits(*ratio)),
            verdict(Some(*most), Some(ratio.median)),
        ]);
    }
    table.to_string()
}

fn with_digits(Summary { median, low, high }: Summary) -> String {
    format!("{median:.4} ({low:.4}–{high:.4})")
}
