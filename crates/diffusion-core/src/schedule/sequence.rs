//! Evenly spaced values, and what maps them to a probability.

/// `n` evenly spaced values from `start` to `end`, both included; `start` alone if `n` is 1.
pub(crate) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    // Counted from the nearer end, so that both ends are exact.
    (0..n)
        .map(|i| if 2 * i < n { start + step * i as f64 } else { end - step * (n - 1 - i) as f64 })
        .collect()
}

/// `steps` levels along `level`, a function that falls from `max` at 0 to `min` at 1, with exact ends.
fn between(steps: usize, [min, max]: [f64; 2], level: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut levels: Vec<f64> =
        linspace(0.0, 1.0, steps).into_iter().map(|t| level(t).clamp(min, max)).collect();
    if let Some(last) = levels.last_mut() {
        *last = min;
    }
    if let Some(first) = levels.first_mut() {
        *first = max;
    }
    levels
}

/// `steps` levels from `max` down to `min`, evenly spaced in σ^(1/`rho`) (Karras et al. 2022, arXiv:2206.00364, eq. 5).
pub(crate) fn karras(steps: usize, [min, max]: [f64; 2], rho: f64) -> Vec<f64> {
    let [low, high] = [min, max].map(|level| level.powf(rho.recip()));
    between(steps, [min, max], |t| (high + t * (low - high)).powf(rho))
}

/// `steps` levels from `max` down to `min` with `ln σ = ln min + r^rho·(ln max − ln min)` for r from 1 to 0, evenly spaced.
pub(crate) fn poly_exponential(steps: usize, [min, max]: [f64; 2], rho: f64) -> Vec<f64> {
    between(steps, [min, max], |t| (min.ln() + (1.0 - t).powf(rho) * (max.ln() - min.ln())).exp())
}

pub(crate) fn sigmoid(t: f64) -> f64 {
    1.0 / (1.0 + (-t).exp())
}
