//! Evenly spaced values, and what maps them to a probability.

/// `n` evenly spaced values from `start` to `end`, both included; `start` alone if `n` is 1.
pub(crate) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    // Counted from the nearer end, so that both ends are exact.
    (0..n)
        .map(|i| if 2 * i < n { start + step * i as f64 } else { end - step * (n - 1 - i) as f64 })
        .collect()
}

pub(crate) fn sigmoid(t: f64) -> f64 {
    1.0 / (1.0 + (-t).exp())
}
