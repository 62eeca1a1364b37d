//! Keeping what is done beside the training below a share of its time.

use std::time::Duration;

/// A share of the time for some work that is done again and again.
pub struct Budget {
    share: f64,
    spent: Duration,
    /// The time that it took last.
    last: Option<Duration>,
}

impl Budget {
    /// Nothing is spent of `share`, which is 0.01 for 1 %.
    pub fn new(share: f64) -> Self {
        Self { share, spent: Duration::ZERO, last: None }
    }

    /// Whether there is time for the work, `elapsed` after the beginning, if it takes as long as last time, or the first time
    /// as long as `expected`.
    pub fn affords(&self, elapsed: Duration, expected: Duration) -> bool {
        self.spent + self.last.unwrap_or(expected) <= elapsed.mul_f64(self.share)
    }

    /// The time that it took last, if it was done.
    pub fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The work was done, and took that long.
    pub fn spend(&mut self, time: Duration) {
        self.spent += time;
        self.last = Some(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that is due every 10 s of 1,000 and takes 1 s is done as often as 2 % allow, evenly.
    #[test]
    fn what_is_too_dear_is_done_more_rarely() {
        let mut budget = Budget::new(0.02);
        let second = Duration::from_secs(1);
        let mut done = Vec::new();
        for now in (10..=1_000).step_by(10) {
            if budget.affords(now * second, second) {
                budget.spend(second);
                done.push(now);
            }
        }
        assert_eq!(done, Vec::from_iter((1..=20).map(|i| 50 * i)));
    }

    /// The first time nothing but an estimate is known.
    #[test]
    fn what_was_dearer_than_expected_waits_longer() {
        let mut budget = Budget::new(0.02);
        let second = Duration::from_secs(1);
        assert!(!budget.affords(49 * second, second) && budget.affords(50 * second, second));
        budget.spend(3 * second);
        assert!(!budget.affords(299 * second, second) && budget.affords(300 * second, second));
    }
}
