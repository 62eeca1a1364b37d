//! An estimate on its way through guidance.

use crate::denoiser::{Combination, DenoiserOutput};
use burn::tensor::{Tensor, backend::Backend};

/// The estimate D of a denoiser, and how far guidance moves it: `D + scale·difference`, where the difference to begin with
/// is that between D and the estimate of the second denoiser.
///
/// As long as nothing asks for estimates, all of this happens to the denoisers' raw outputs, where nothing cancels at high
/// noise levels. What is asked for is the estimate of x₀, which means the same in every parameterization.
#[derive(Clone, Debug)]
pub struct GuidedEstimate<B: Backend, const D: usize> {
    /// The unguided output.
    output: DenoiserOutput<B, D>,
    /// The difference, as one between raw outputs.
    difference: Tensor<B, D>,
    /// The weight of the difference; 0 to begin with.
    pub scale: f64,
}

impl<B: Backend, const D: usize> GuidedEstimate<B, D> {
    /// `output`, which is not guided yet, and the difference between it and another raw output that means the same.
    pub(super) fn new(output: DenoiserOutput<B, D>, difference: Tensor<B, D>) -> Self {
        Self { output, difference, scale: 0.0 }
    }

    /// The same with another scale.
    pub fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The estimate D that is followed, without guidance.
    ///
    /// # Shapes
    /// - returns `[batch, …]`
    pub fn unguided(&self) -> Tensor<B, D> {
        self.output.clone().denoised()
    }

    /// The difference that is added to it, times the scale.
    ///
    /// # Shapes
    /// - returns `[batch, …]`
    pub fn difference(&self) -> Tensor<B, D> {
        self.difference.clone() * self.output.denoised.out
    }

    /// The same with another difference between estimates.
    ///
    /// # Shapes
    /// - `difference`: `[batch, …]`
    pub fn with_difference(self, difference: Tensor<B, D>) -> Self {
        let difference = difference / self.output.denoised.out;
        Self { difference, ..self }
    }

    /// The guided estimate, `unguided + scale·difference`.
    ///
    /// # Shapes
    /// - returns `[batch, …]`
    pub fn guided(&self) -> Tensor<B, D> {
        self.clone().into_output().denoised()
    }

    /// The same with another guided estimate; the scale is 1 from then on.
    ///
    /// # Shapes
    /// - `guided`: `[batch, …]`
    pub fn with_guided(self, guided: Tensor<B, D>) -> Self {
        let unguided = Combination { denoised: -1.0, ..Combination::default() };
        let difference = guided + self.output.clone().combined(unguided);
        self.with_difference(difference).scaled(1.0)
    }

    /// What the guided denoiser found.
    pub(super) fn into_output(self) -> DenoiserOutput<B, D> {
        let output = self.output.output + self.difference * self.scale;
        DenoiserOutput { output, ..self.output }
    }
}
