//! The weights by which values at some places give an integral over another.

/// The weights w of the values of a function at `nodes` for which `Σ wᵢ·p(nodeᵢ)` is the integral of every polynomial p of a
/// degree below the number of nodes, given the integrals `moments` of 1, u, u², … (at least as many as nodes).
///
/// The nodes differ. They are few: a method of more than four steps is of no use.
pub(super) fn weights(nodes: &[f64], moments: &[f64]) -> Vec<f64> {
    let weight = |i: usize| {
        // The polynomial that is 1 at this node and 0 at the others, by its coefficients.
        let mut polynomial = vec![1.0];
        for (_, &node) in nodes.iter().enumerate().filter(|&(j, _)| j != i) {
            let slope = 1.0 / (nodes[i] - node);
            let mut next = vec![0.0; polynomial.len() + 1];
            for (k, coefficient) in polynomial.iter().enumerate() {
                next[k] -= coefficient * node * slope;
                next[k + 1] += coefficient * slope;
            }
            polynomial = next;
        }
        polynomial.iter().zip(moments).map(|(coefficient, moment)| coefficient * moment).sum()
    };
    (0..nodes.len()).map(weight).collect()
}

/// `∫₀¹ q·e^(−q(1−u))·uᵏ du` for k = 0 to 3: what a step of the length q in λ makes of 1, u, u² and u³, over the weight of
/// the data at its end. For an infinite q that is 1.
pub(super) fn exponential_moments(q: f64) -> [f64; 4] {
    if q.is_infinite() {
        return [1.0; 4];
    }
    if q < 0.5 {
        // The recursion below would cancel: Σ qⁿ⁺¹·(−1)ⁿ·k!/(k+1+n)!, of which each term is a q-th of the one before.
        return [0, 1, 2, 3].map(|k| {
            let mut term = q / f64::from(k + 1);
            let mut sum = term;
            for n in 1..20 {
                term *= -q / f64::from(k + 1 + n);
                sum += term;
            }
            sum
        });
    }
    let mut moments = [-(-q).exp_m1(), 0.0, 0.0, 0.0];
    for k in 1..4 {
        moments[k] = 1.0 - k as f64 * moments[k - 1] / q;
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral(f: impl Fn(f64) -> f64) -> f64 {
        let n = 100_000;
        (0..n).map(|i| f((f64::from(i) + 0.5) / f64::from(n))).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn moments_are_integrals() {
        for q in [1e-9, 0.01, 0.3, 0.499, 0.5, 2.0, 30.0, f64::INFINITY] {
            for (k, found) in exponential_moments(q).into_iter().enumerate() {
                let expected = match q {
                    f64::INFINITY => 1.0,
                    q => integral(|u| q * (-q * (1.0 - u)).exp() * u.powi(k as i32)),
                };
                assert!((found / expected - 1.0).abs() < 1e-7, "{q}, {k}: {found}, {expected}");
            }
        }
    }

    /// Those of Adams and Bashforth, and of Simpson.
    #[test]
    fn weights_of_even_steps_are_known() {
        let moments = [1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0];
        for (nodes, expected) in [
            (&[0.0][..], &[1.0][..]),
            (&[0.0, -1.0], &[1.5, -0.5]),
            (&[0.0, -1.0, -2.0, -3.0], &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0]),
            (&[0.0, 0.5, 1.0], &[1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0]),
        ] {
            for (found, expected) in weights(nodes, &moments).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-14, "{nodes:?}: {found}, {expected}");
            }
        }
    }
}
