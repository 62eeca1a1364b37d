//! Means and covariances of examples in groups, for a standard error of what they give.

use crate::error::MetricError;
use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::gaussian::Gaussian;
use crate::moments::Moments;
use crate::resample::{Estimate, estimate, group_of};
use diffusion_core::watch::Watch;

/// [`Moments`] of examples that come in pieces, in groups of which each can be left out, however the pieces lie.
///
/// It is what [`jackknife`](crate::jackknife) of the Fréchet distance is, for more examples than memory holds.
#[derive(Clone, Debug)]
pub struct GroupedMoments {
    groups: Vec<Moments>,
    count: usize,
}

impl GroupedMoments {
    /// Those of no example yet, which will have `dimensions` features, in so many groups.
    ///
    /// # Errors
    /// If there are fewer than 2 groups.
    pub fn new(dimensions: usize, groups: usize) -> Result<Self, MetricError> {
        if groups < 2 {
            return Err(MetricError::Groups { groups, count: 0 });
        }
        Ok(Self { groups: vec![Moments::new(dimensions); groups], count: 0 })
    }

    /// How many examples were added.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds examples.
    ///
    /// # Errors
    /// If they have another number of features.
    pub fn add(&mut self, features: &Features) -> Result<(), MetricError> {
        let groups = self.groups.len();
        for (group, moments) in self.groups.iter_mut().enumerate() {
            let is_in = |row: &usize| group_of(self.count + row, groups) == group;
            let rows: Vec<usize> = (0..features.count()).filter(is_in).collect();
            if !rows.is_empty() {
                moments.add(&features.select(&rows))?;
            }
        }
        self.count += features.count();
        Ok(())
    }

    /// Those of all groups together.
    ///
    /// # Errors
    /// Never of groups that this has made.
    pub fn moments(&self) -> Result<Moments, MetricError> {
        self.without(None)
    }

    fn without(&self, left_out: Option<usize>) -> Result<Moments, MetricError> {
        let mut groups = self.groups.iter().enumerate().filter(|(group, _)| Some(*group) != left_out);
        let mut all = groups.next().map(|(_, moments)| moments.clone()).unwrap_or_else(|| Moments::new(0));
        groups.try_for_each(|(_, moments)| all.merge(moments))?;
        Ok(all)
    }

    /// The Fréchet distance of all examples from `real`, with its standard error by the jackknife over the groups. `watch`
    /// may stop it.
    ///
    /// # Errors
    /// As [`frechet_distance`], if without a group there are fewer than 2 examples, or if `watch` stops it.
    pub fn frechet(&self, real: &Gaussian, watch: &Watch) -> Result<Estimate, MetricError> {
        let groups = self.groups.len();
        let total = Some(groups as u64 + 1);
        let without = |left_out: Option<usize>| {
            let done = left_out.map_or(0, |group| group as u64 + 1);
            watch.report("computing Fréchet distances", done, total)?;
            frechet_distance(&self.without(left_out)?.gaussian()?, real)
        };
        let value = without(None)?;
        let values = (0..groups).map(|group| without(Some(group))).collect::<Result<Vec<_>, _>>()?;
        Ok(estimate(value, &values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jackknife;

    #[test]
    fn pieces_of_any_size_have_the_jackknife_of_the_whole() {
        let values = |n: usize, step: usize| (0..2 * n).map(|i| ((i * step) % 17) as f32).collect();
        let (all, real) =
            (Features::new(values(31, 5), 2).unwrap(), Features::new(values(40, 3), 2).unwrap());
        let gaussian = |features: &Features| {
            let mut moments = Moments::new(2);
            moments.add(features)?;
            moments.gaussian()
        };
        let real = gaussian(&real).unwrap();
        let expected = jackknife(&all, 4, |samples| frechet_distance(&gaussian(samples)?, &real)).unwrap();
        let mut grouped = GroupedMoments::new(2, 4).unwrap();
        for piece in [0..1, 1..10, 10..12, 12..31] {
            grouped.add(&all.select(&piece.collect::<Vec<_>>())).unwrap();
        }
        let found = grouped.frechet(&real, &Watch::default()).unwrap();
        assert_eq!(grouped.count(), 31);
        assert!((found.value - expected.value).abs() < 1e-10 * expected.value, "{found:?}, {expected:?}");
        assert!((found.error - expected.error).abs() < 1e-8 * expected.error, "{found:?}, {expected:?}");
    }

    #[test]
    fn one_group_has_no_error() {
        assert!(matches!(GroupedMoments::new(2, 1), Err(MetricError::Groups { groups: 1, .. })));
    }
}
