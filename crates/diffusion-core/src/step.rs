//! One step of a sampling run.

/// One step of a sampling run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerStep {
    /// Its place in the run, from 0.
    pub index: usize,
    /// The noise level that it starts from, positive.
    pub from: f64,
    /// The noise level that it ends at, at most `from`; 0 is data.
    pub to: f64,
}

impl SamplerStep {
    /// A step from `sigma` to data, which is what an evaluation outside of a run is taken for.
    pub fn to_data(sigma: f64) -> Self {
        Self { index: 0, from: sigma, to: 0.0 }
    }

    /// How far it is from the noise level `sigma` down to the step's end; 0 from below it.
    pub fn length_below(&self, sigma: f64) -> f64 {
        (sigma - self.to).max(0.0)
    }
}
