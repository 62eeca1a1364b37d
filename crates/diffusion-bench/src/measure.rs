//! Measuring: the contestants take turns.

use crate::driver::{Contestant, Worker};
use crate::error::BenchError;
use crate::statistics::Summary;
use crate::suite::Measure;
use crate::work::Work;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// How long a turn lasts at least, in seconds: as many steps as that takes, so that clocks and pipes do not matter.
pub const TURN: f64 = 0.1;

/// The most steps in a turn.
const STEPS: f64 = 10_000.0;

/// Between turns: the threads of one wait busily for a moment before they sleep, and would disturb the other.
const PAUSE: Duration = Duration::from_millis(20);

/// What came out for one contestant.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The number of weights that are trained.
    pub parameters: usize,
    /// What computed.
    pub versions: String,
    /// Threads on the CPU.
    pub threads: u32,
    /// Steps per turn.
    pub steps: u64,
    /// Seconds per step, one number for each turn.
    pub seconds: Vec<f64>,
    /// The most memory held, in bytes.
    pub peak: Option<u64>,
}

impl Measured {
    /// Works of which each was measured as often as the others, one after the other: the sums of their times, turn by
    /// turn, the largest of their memories and of their networks; none if there are no works.
    pub fn one_after_the_other<'a>(works: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut works = works.into_iter();
        let mut sum = works.next()?.clone();
        // A turn of each has another number of steps.
        sum.steps = 1;
        for work in works {
            sum.parameters = sum.parameters.max(work.parameters);
            sum.seconds.iter_mut().zip(&work.seconds).for_each(|(sum, seconds)| *sum += seconds);
            sum.peak = sum.peak.zip(work.peak).map(|(sum, peak)| sum.max(peak));
        }
        Some(sum)
    }

    /// Median and quartiles of the seconds per step.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.seconds).expect("every contestant has a turn at least")
    }
}

/// Measures `work` with each of the contestants, `repeats` times in turn, and every other time in the reverse order.
pub fn take_turns(
    contestants: &[Contestant],
    work: &Work,
    measure: Measure,
    repeats: u32,
) -> Result<Vec<Measured>, BenchError> {
    match measure {
        Measure::Step => {
            let turns: Vec<_> = contestants.iter().map(|contestant| (contestant, work)).collect();
            take_turns_between(&turns, repeats, TURN)
        }
        Measure::Start => starts(contestants, work, repeats),
    }
}

/// Measures steps of works, each by its contestant, `repeats` times in turn, and every other time in the reverse order; a
/// turn lasts at least `turn` seconds, and with 0 is a single step.
pub fn take_turns_between(
    turns: &[(&Contestant, &Work)],
    repeats: u32,
    turn: f64,
) -> Result<Vec<Measured>, BenchError> {
    let mut workers = Vec::with_capacity(turns.len());
    for &(contestant, work) in turns {
        let mut worker = Worker::start(contestant)?;
        let (parameters, versions) = worker.prepare(work)?;
        // The first steps choose kernels, fill caches and start threads.
        let mut seconds = worker.steps(1)?.min(worker.steps(1)?);
        let count = |seconds: f64| (turn / seconds.max(1e-9)).ceil().clamp(1.0, STEPS) as u64;
        if count(seconds) > 1 {
            let warm = count(seconds);
            seconds = worker.steps(warm)? / warm as f64;
        }
        let (steps, threads) = (count(seconds), contestant.threads());
        let measured = Measured { parameters, versions, threads, steps, seconds: Vec::new(), peak: None };
        workers.push((worker, measured));
    }
    for repeat in 0..repeats {
        in_order(&mut workers, repeat, |(worker, measured)| {
            thread::sleep(PAUSE);
            measured.seconds.push(worker.steps(measured.steps)? / measured.steps as f64);
            Ok(())
        })?;
    }
    Ok(workers.into_iter().map(|(worker, measured)| Measured { peak: worker.peak(), ..measured }).collect())
}

fn starts(contestants: &[Contestant], work: &Work, repeats: u32) -> Result<Vec<Measured>, BenchError> {
    let mut runs: Vec<(&Contestant, Option<Measured>)> = contestants.iter().map(|c| (c, None)).collect();
    // One time more: the first only brings the programs from the disk into memory.
    for repeat in 0..=repeats {
        in_order(&mut runs, repeat, |(contestant, measured)| {
            thread::sleep(PAUSE);
            let begun = Instant::now();
            let mut worker = Worker::start(contestant)?;
            let (parameters, versions) = worker.prepare(work)?;
            worker.steps(1)?;
            let seconds = begun.elapsed().as_secs_f64();
            let threads = contestant.threads();
            let measured = measured.get_or_insert_with(|| Measured {
                parameters,
                versions,
                threads,
                steps: 1,
                seconds: Vec::new(),
                peak: None,
            });
            measured.peak = measured.peak.max(worker.peak());
            if repeat > 0 {
                measured.seconds.push(seconds);
            }
            Ok(())
        })?;
    }
    Ok(runs.into_iter().filter_map(|(_, measured)| measured).collect())
}

/// Calls `turn` for each of `all`, from the last to the first where `repeat` is odd.
fn in_order<T>(
    all: &mut [T],
    repeat: u32,
    turn: impl FnMut(&mut T) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    if repeat.is_multiple_of(2) {
        all.iter_mut().try_for_each(turn)
    } else {
        all.iter_mut().rev().try_for_each(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_turn_goes_backwards() {
        let mut seen = Vec::new();
        for repeat in 0..3 {
            let visit = |who: &mut char| {
                seen.push(*who);
                Ok(())
            };
            in_order(&mut ['a', 'b'], repeat, visit).expect("no turn fails");
        }
        assert_eq!(seen, ['a', 'b', 'b', 'a', 'a', 'b']);
    }
}
