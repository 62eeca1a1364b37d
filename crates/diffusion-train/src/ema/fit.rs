//! Which combination of stored averages is nearest to another average (Karras et al. 2024, arXiv:2312.02696, §3.1 and
//! appendix C).

use super::power::Profile;

/// A combination of stored averages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fit {
    /// How much of each; they come to 1.
    pub weights: Vec<f64>,
    /// The norm of what the combined profile lacks, relative to that of the profile that was asked for.
    pub error: f64,
}

/// Averages of which less than this is no combination of those taken before say nothing of their own.
const DEPENDENT: f64 = 1e-9;
/// An average that brings the squared error down by less is not needed.
const GAIN: f64 = 1e-15;

impl Fit {
    /// The combination of `stored` whose profile is nearest to `target` in the mean square: A·X = b with the products of
    /// the profiles in A and b, X then divided by its sum.
    ///
    /// The averages are taken one by one, each time the one that brings the error down most (a pivoted Cholesky
    /// decomposition of A); so a target that is stored is that one alone, and averages that others say already, which
    /// would have large weights of both signs, are left out.
    pub fn new(stored: &[Profile], target: Profile) -> Self {
        let norms: Vec<f64> = stored.iter().map(|profile| profile.product(*profile).sqrt()).collect();
        let norm = target.product(target).sqrt();
        let wanted: Vec<f64> =
            stored.iter().zip(&norms).map(|(profile, n)| profile.product(target) / (n * norm)).collect();
        let similar = |i: usize, j: usize| stored[i].product(stored[j]) / (norms[i] * norms[j]);

        let (mut open, mut left) = (wanted.clone(), vec![1.0; stored.len()]);
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); stored.len()];
        let (mut taken, mut along) = (Vec::new(), Vec::new());
        while let Some(next) = best(&open, &left, &taken) {
            let (root, row) = (left[next].sqrt(), rows[next].clone());
            let part = open[next] / root;
            for i in 0..stored.len() {
                let known: f64 = rows[i].iter().zip(&row).map(|(a, b)| a * b).sum();
                let length = (similar(i, next) - known) / root;
                left[i] -= length * length;
                open[i] -= length * part;
                rows[i].push(length);
            }
            taken.push(next);
            along.push(part);
        }
        let mut weights = vec![0.0; stored.len()];
        for (k, &i) in taken.iter().enumerate().rev() {
            let later: f64 = taken[k + 1..].iter().map(|&j| rows[j][k] * weights[j]).sum();
            weights[i] = (along[k] - later) / rows[i][k];
        }
        let both =
            |i: usize| taken.iter().map(|&j| weights[j] * similar(i, j)).sum::<f64>() - 2.0 * wanted[i];
        let squared = 1.0 + taken.iter().map(|&i| weights[i] * both(i)).sum::<f64>();
        weights.iter_mut().zip(&norms).for_each(|(weight, n)| *weight *= norm / n);
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Self { weights, error: squared.max(0.0).sqrt() }
    }
}

/// The average that brings the error down most, if any does by much.
fn best(open: &[f64], left: &[f64], taken: &[usize]) -> Option<usize> {
    let gain = |i: &usize| open[*i] * open[*i] / left[*i];
    (0..open.len())
        .filter(|i| left[*i] > DEPENDENT && !taken.contains(i) && gain(i) > GAIN)
        .max_by(|a, b| gain(a).total_cmp(&gain(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(snapshots: u64, widths: &[f64]) -> Vec<Profile> {
        let examples = (1..=snapshots).map(|k| 6400 * k);
        examples.flat_map(|n| widths.iter().map(move |&width| Profile::new(width, n))).collect()
    }

    #[test]
    fn a_stored_average_is_itself() {
        let stored = stored(100, &[0.05, 0.1]);
        for k in [0, 1, 57, 198, 199] {
            let Fit { weights, error } = Fit::new(&stored, stored[k]);
            for (i, weight) in weights.iter().enumerate() {
                let expected = f64::from(u8::from(i == k));
                assert!((weight - expected).abs() < 1e-6, "{k}: weight {i} is {weight}");
            }
            assert!(error < 1e-6, "{error}");
        }
    }

    /// Those few are far from each other, so that all are taken and the equations hold as they stand.
    #[test]
    fn the_combination_solves_the_equations() {
        let stored = stored(4, &[0.05, 0.1]);
        let target = Profile::new(0.075, 6400 * 4);
        let Fit { weights, .. } = Fit::new(&stored, target);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let product = |i: usize| -> f64 {
            stored.iter().zip(&weights).map(|(other, weight)| weight * stored[i].product(*other)).sum()
        };
        let ratios: Vec<f64> = (0..stored.len()).map(|i| product(i) / stored[i].product(target)).collect();
        // The same factor in every equation: 1 divided by the sum that X had.
        for ratio in &ratios {
            assert!((ratio / ratios[0] - 1.0).abs() < 1e-9 && (ratio - 1.0).abs() < 0.05, "{ratios:?}");
        }
    }

    /// More snapshots say more, and a width far from those that were tracked is told less well.
    #[test]
    fn the_error_falls_with_the_snapshots_and_grows_with_the_distance() {
        let error = |snapshots, width| {
            Fit::new(&stored(snapshots, &[0.05, 0.1]), Profile::new(width, 6400 * snapshots)).error
        };
        assert!(error(4, 0.075) < 0.05 && error(16, 0.075) < 5e-3 && error(64, 0.075) < 5e-4);
        assert!(error(4, 0.28) > 0.4 && error(4, 0.02) > 0.3 && error(16, 0.02) < 0.2);
    }

    #[test]
    fn nothing_is_a_combination_of_nothing() {
        let fit = Fit::new(&[], Profile::new(0.1, 10));
        assert_eq!((fit.weights.len(), fit.error), (0, 1.0));
    }
}
