//! Classifier-free guidance.

use crate::condition::{Condition, NullCondition};
use crate::denoiser::Denoiser;
use crate::diffusion::{Diffusion, Given};
use crate::guidance::{Guidance, Guided, TwoConditions};
use crate::invalid::Invalid;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::precision::check_factor;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6): `F_c + scale·(F_c − F_u)`.
///
/// A scale of 0 turns it off, as in smalldiffusion. Elsewhere the scale is often written as G = 1 + scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierFree {
    /// How far to go beyond the first output.
    pub scale: f64,
}

impl ClassifierFree {
    /// Whether there is such guidance.
    ///
    /// # Errors
    /// If the scale is not finite in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("scale", self.scale)
    }
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> Given<'a, Diffusion<B, N, P>, C> {
    /// Classifier-free guidance away from "no condition" with this scale, of which 0 is off.
    pub fn guided(self, scale: f64) -> Guided<TwoConditions<'a, Diffusion<B, N, P>, C>, ClassifierFree>
    where
        N: NullCondition<Condition = C>,
    {
        let against = self.model.network.null_condition(&self.condition);
        self.guided_by(against, scale)
    }

    /// Classifier-free guidance away from a condition of the caller's choice, e.g. a "negative prompt".
    pub fn guided_by(
        self,
        against: C,
        scale: f64,
    ) -> Guided<TwoConditions<'a, Diffusion<B, N, P>, C>, ClassifierFree> {
        self.guided_with(against, ClassifierFree { scale })
    }
}

impl<B: Backend, N, P: Parameterization> Diffusion<B, N, P> {
    /// The estimate of ε under classifier-free guidance, `ε_c + scale·(ε_c − ε_u)`: 0 is off, and other authors' G
    /// is `1 + scale`.
    ///
    /// For flow models this is ε itself; smalldiffusion's `predict_eps_cfg` of a flow model is the velocity, from which
    /// ε differs by the estimate of the data:
    /// ```
    /// # use burn::backend::Flex;
    /// # use diffusion_core::network::mlp::ConditionalMlpConfig;
    /// # use diffusion_core::{Denoiser, Diffusion, FlowPrediction, Labels, Noise};
    /// # let device = Default::default();
    /// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
    /// let (x, labels) = (model.rand_input::<2>(4, Noise::new(0), &device), Labels(vec![0, 1, 2, 3]));
    /// let eps = model.predict_eps_cfg(x.clone(), 0.5, labels.clone(), 2.0);
    /// let guided = model.given(labels).guided(2.0).evaluate(x, 0.5);
    /// let velocity = guided.clone().velocity(); // what smalldiffusion returns
    /// let difference = eps - velocity - guided.denoised();
    /// assert!(difference.abs().max().into_scalar() < 1e-5);
    /// ```
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn predict_eps_cfg<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: f64,
        condition: <N as Network<B, D>>::Condition,
        scale: f64,
    ) -> Tensor<B, D>
    where
        N: Network<B, D> + NullCondition<Condition = <N as Network<B, D>>::Condition>,
    {
        let output = self.given(condition).guided(scale).evaluate(x.clone(), sigma).output;
        self.eps_of(x, output, sigma)
    }
}

impl Guidance for ClassifierFree {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}

    fn is_active(&self, _sigma: f64) -> bool {
        self.scale != 0.0
    }

    fn combine<B: Backend, const D: usize>(
        &self,
        with: Tensor<B, D>,
        without: Tensor<B, D>,
        _sigma: f64,
        (): &mut (),
    ) -> Tensor<B, D> {
        with.clone() + (with - without) * self.scale
    }
}
