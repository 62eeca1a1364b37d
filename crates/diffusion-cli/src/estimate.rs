//! How fast work goes and how long it will take: from its newest part, all that it is made of included.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back is looked.
const WINDOW: Duration = Duration::from_secs(60);
/// The least time that says something.
const LEAST: Duration = Duration::from_secs(2);
/// The fewest parts that say something.
const FEWEST: usize = 3;
/// Between two marks.
const SPACING: Duration = Duration::from_millis(200);

/// The speed of work. Its first part counts for nothing: it warms up.
#[derive(Debug, Default)]
pub struct Estimate {
    /// When how much was done, at least [`SPACING`] apart but for the last.
    marks: VecDeque<(Instant, u64)>,
    warm: bool,
}

impl Estimate {
    /// So much is `done` now.
    pub fn add(&mut self, now: Instant, done: u64) {
        if !self.warm && self.marks.back().is_some_and(|&(_, before)| done > before) {
            self.marks.clear();
            self.warm = true;
        }
        if self.marks.len() > 1
            && let [.., (before, _), (last, _)] = *self.marks.make_contiguous()
            && last - before < SPACING
        {
            self.marks.pop_back();
        }
        self.marks.push_back((now, done));
        while self.marks.len() > FEWEST + 1 && now - self.marks[0].0 > WINDOW {
            self.marks.pop_front();
        }
    }

    /// Parts in a second, once that can be said.
    pub fn speed(&self) -> Option<f64> {
        let (&(begun, first), &(now, last)) = (self.marks.front()?, self.marks.back()?);
        let (time, parts) = (now - begun, last.saturating_sub(first));
        let known = time >= LEAST && self.marks.len() > FEWEST && parts > 0;
        known.then(|| parts as f64 / time.as_secs_f64())
    }

    /// How long the rest of `total` will take, once that can be said.
    pub fn left(&self, total: u64) -> Option<Duration> {
        let &(_, done) = self.marks.back()?;
        Duration::try_from_secs_f64(total.saturating_sub(done) as f64 / self.speed()?).ok()
    }
}

/// As people say it.
pub fn text(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a part after each of `times`, in seconds.
    fn after(times: &[f64]) -> Estimate {
        let (mut estimate, begun) = (Estimate::default(), Instant::now());
        let mut now = 0.0;
        for (done, time) in (1..).zip(times) {
            now += time;
            estimate.add(begun + Duration::from_secs_f64(now), done);
        }
        estimate
    }

    #[test]
    fn nothing_is_said_before_it_is_known() {
        assert_eq!(after(&[]).left(10), None);
        assert_eq!(after(&[30.0]).left(10), None);
        assert_eq!(after(&[30.0, 0.1, 0.1, 0.1]).left(10), None);
    }

    #[test]
    fn the_first_part_counts_for_nothing() {
        // A kernel is compiled for ten seconds, then a step takes a tenth of one.
        let times = [&[10.0], &[0.1; 40][..]].concat();
        let left = after(&times).left(200).unwrap().as_secs_f64();
        assert!((left - 15.9).abs() < 0.5, "{left} s");
    }

    #[test]
    fn the_newest_part_counts() {
        // A machine that others leave: two seconds a step, then a half.
        let times = [&[2.0; 60][..], &[0.5; 240]].concat();
        let left = after(&times).left(400).unwrap().as_secs_f64();
        assert!((left - 50.0).abs() < 3.0, "{left} s");
    }

    #[test]
    fn pauses_count() {
        // Ten steps of a tenth, then a validation of one second.
        let times: Vec<f64> = (0..300).map(|i| if i % 10 == 0 { 1.1 } else { 0.1 }).collect();
        let left = after(&times).left(400).unwrap().as_secs_f64();
        assert!((left - 20.0).abs() < 1.5, "{left} s");
    }

    #[test]
    fn slow_parts_are_enough() {
        let left = after(&[600.0; 6]).left(10).unwrap();
        assert_eq!(text(left), "40 min");
        assert_eq!(text(Duration::from_secs(119)), "119 s");
        assert_eq!(text(Duration::from_secs(7_260)), "2 h 1 min");
    }
}
