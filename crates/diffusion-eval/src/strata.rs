//! The noise levels of validation, spread evenly over those of training.

use diffusion_core::Schedule;
use diffusion_core::objective::{Drawn, Objective};
use diffusion_core::random::{Purpose, Stream};
use diffusion_core::watch::{Stopped, Watch};

/// The noise levels of validation.
pub const VALIDATION_SIGMA: Purpose = Purpose(10);

/// Work that is done between two questions whether to go on: levels that are drawn, or sorted, some milliseconds each.
const PIECE: usize = 1 << 14;

/// Draws from the schedule for each level that is used: their ranks are known to a part in so many.
pub(crate) const DRAWS: usize = 64;

/// `n` noise levels in increasing order, which lie among training's as evenly as can be: the middle ones of `n` equally
/// large groups, by the objective's quantiles where it knows them, else of many draws in order.
pub(crate) fn strata<S: Schedule + ?Sized>(
    objective: &impl Objective,
    schedule: &S,
    seed: u64,
    n: usize,
    watch: &Watch,
) -> Result<Vec<Drawn>, Stopped> {
    let at = |i: usize| objective.level_at(schedule, (i as f64 + 0.5) / n as f64);
    if at(0).is_some() {
        let mut levels = Vec::with_capacity(n);
        for first in (0..n).step_by(PIECE) {
            watch.report(DRAWING, first as u64, Some(n as u64))?;
            levels.extend((first..n.min(first + PIECE)).filter_map(at));
        }
        return Ok(levels);
    }
    let draw = |i| objective.draw(schedule, &mut Stream::new(seed, VALIDATION_SIGMA, 0, i as u64));
    let all = n * DRAWS;
    let mut draws: Vec<f64> = Vec::with_capacity(all);
    for first in (0..all).step_by(PIECE) {
        watch.report(DRAWING, first as u64, Some(all as u64))?;
        draws.extend((first..all.min(first + PIECE)).map(draw));
    }
    sort(&mut draws, 0, &|done| {
        watch.report("sorting noise levels of validation", done as u64, Some(all as u64))
    })?;
    Ok((0..n).map(|i| Drawn::plain(draws[i * DRAWS + DRAWS / 2])).collect())
}

/// What a watch is told.
const DRAWING: &str = "drawing noise levels of validation";

/// Sorts `values`, and asks on the way whether to go on: `go_on` is told how many values are sorted, `before` of which
/// stand before these.
fn sort(
    values: &mut [f64],
    before: usize,
    go_on: &impl Fn(usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    go_on(before)?;
    if values.len() <= PIECE {
        values.sort_unstable_by(f64::total_cmp);
        return Ok(());
    }
    let middle = values.len() / 2;
    let (low, _, high) = values.select_nth_unstable_by(middle, f64::total_cmp);
    sort(low, before, go_on)?;
    sort(high, before + middle + 1, go_on)
}
