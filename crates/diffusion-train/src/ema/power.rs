//! Power-function averages: from a width to an exponent, and what two of them have in common.

/// The largest relative width that has an exponent of at least 0, 1/√12.
pub(crate) const WIDEST: f64 = 0.288_675_134_594_812_9;

/// The exponent γ of the power-function average whose profile has the standard deviation `width`, in units of the
/// training so far (Karras et al. 2024, arXiv:2312.02696, §3.1): the one positive root of
/// γ³ + 7γ² + (16 − width⁻²)γ + (12 − width⁻²), for a width below [`WIDEST`].
pub(crate) fn exponent(width: f64) -> f64 {
    let inverse = 1.0 / (width * width);
    // The cubic is positive at 1/width and convex to the right of its root, so that Newton's steps come down to it.
    let mut gamma = 1.0 / width;
    for _ in 0..100 {
        let value = ((gamma + 7.0) * gamma + (16.0 - inverse)) * gamma + (12.0 - inverse);
        let slope = (3.0 * gamma + 14.0) * gamma + (16.0 - inverse);
        let next = gamma - value / slope;
        if next.partial_cmp(&gamma) != Some(std::cmp::Ordering::Less) {
            break;
        }
        gamma = next;
    }
    gamma
}

/// How much the weights at each moment of a training weigh in a power-function average at its end: at the example τ of
/// n with (γ + 1)·τ^γ / n^(γ + 1), which comes to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Profile {
    /// How many examples were seen, n.
    pub examples: f64,
    /// The exponent γ.
    pub exponent: f64,
}

impl Profile {
    /// The profile of the average of that width after so many examples.
    pub fn new(width: f64, examples: u64) -> Self {
        Self { examples: examples as f64, exponent: exponent(width) }
    }

    /// The integral of the product of both (arXiv:2312.02696, appendix C).
    pub fn product(self, other: Self) -> f64 {
        let (early, late) = if self.examples < other.examples { (self, other) } else { (other, self) };
        let factor = (early.exponent + 1.0) * (late.exponent + 1.0) / (early.exponent + late.exponent + 1.0);
        factor * (early.examples / late.examples).powf(late.exponent) / late.examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_have_the_exponents_of_the_paper() {
        // Printed there with two digits; 0.25 is of the same formula.
        for (width, expected) in [(0.05, 16.97), (0.10, 6.94), (0.25, 0.72)] {
            assert!((exponent(width) - expected).abs() < 5e-3, "{width}: {}", exponent(width));
        }
    }

    /// The standard deviation of the density (γ + 1)·τ^γ on [0, 1] is √((γ + 1)/((γ + 2)²(γ + 3))).
    #[test]
    fn the_exponent_gives_the_width_back() {
        for width in [0.001, 0.01, 0.05, 0.1, 0.2, 0.28, 0.2886] {
            let gamma = exponent(width);
            let found = ((gamma + 1.0) / ((gamma + 2.0).powi(2) * (gamma + 3.0))).sqrt();
            assert!(gamma > 0.0 && (found / width - 1.0).abs() < 1e-12, "{width}: {gamma}, {found}");
        }
    }

    #[test]
    fn the_product_is_the_integral_of_the_profiles() {
        let density = |profile: Profile, x: f64| {
            let Profile { examples, exponent } = profile;
            (exponent + 1.0) * (x / examples).powf(exponent) / examples
        };
        let profiles = [(0.05, 700), (0.1, 700), (0.1, 1000), (0.25, 400), (0.28, 1000)]
            .map(|(width, examples)| Profile::new(width, examples));
        for a in profiles {
            for b in profiles {
                // Simpson's rule on what both have.
                let (end, n) = (a.examples.min(b.examples), 20_000);
                let h = end / f64::from(n);
                let weight = |i: i32| if i == 0 || i == n { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
                let value = |i: i32| density(a, f64::from(i) * h) * density(b, f64::from(i) * h);
                let integral = (0..=n).map(|i| weight(i) * value(i)).sum::<f64>() * h / 3.0;
                let found = a.product(b);
                assert!((found / integral - 1.0).abs() < 1e-6, "{a:?} {b:?}: {found}, expected {integral}");
            }
        }
    }
}
