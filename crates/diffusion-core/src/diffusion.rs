//! A network with a meaning: the diffusion model, its loss and its predictions.

use crate::condition::Condition;
use crate::denoiser::DenoiserOutput;
use crate::invalid::{Invalid, expect_valid};
use crate::network::Network;
use crate::objective::{Objective, PredictionMse};
use crate::parameterization::{Parameterization, Scalings, is_data};
use crate::path::Path;
use crate::precision::check_level;
use crate::random::Noise;
use crate::schedule::Schedule;
use crate::sigma::{Sigma, combine, mix};
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use std::marker::PhantomData;

/// A network `N` whose output means what the parameterization `P` says.
///
/// `Diffusion<B, Dit<B>, Scaled<VPrediction>>` is smalldiffusion's `Scaled(PredV(DiT))`. It is a Burn module: its
/// parameters are the network's. Train it on an autodiff backend and sample from its `.valid()`.
///
/// A conditional network is called with its condition,
/// ```
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, EpsPrediction, Labels, Noise, network::mlp::ConditionalMlpConfig};
/// let device = Default::default();
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let x = model.rand_input::<2>(4, Noise::new(0), &device);
/// model.predict_eps(x, 1.0, Labels(vec![0, 1, 2, 3]));
/// ```
/// and cannot be called without:
/// ```compile_fail,E0308
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, EpsPrediction, Labels, Noise, network::mlp::ConditionalMlpConfig};
/// let device = Default::default();
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let x = model.rand_input::<2>(4, Noise::new(0), &device);
/// model.predict_eps(x, 1.0, ());
/// ```
#[derive(Module, Debug)]
pub struct Diffusion<B: Backend, N, P: Parameterization> {
    /// The network.
    pub network: N,
    /// What its output means.
    #[module(skip)]
    pub parameterization: P,
    _backend: PhantomData<B>,
}

impl<B: Backend, N, P: Parameterization> Diffusion<B, N, P> {
    /// The model of `network` and `parameterization`.
    pub fn new(network: N, parameterization: P) -> Self {
        Self { network, parameterization, _backend: PhantomData }
    }

    /// Unit normal noise of the network's input shape; times the first σ it is where sampling starts.
    ///
    /// # Shapes
    /// - returns the network's input shape for `batch` examples
    pub fn rand_input<const D: usize>(&self, batch: usize, noise: Noise, device: &B::Device) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        noise.initial(self.network.input_shape(batch), device)
    }

    /// The noisy example `α(σ)·x₀ + σ·ε`.
    ///
    /// # Shapes
    /// - `x0`, `eps`, returns: `[batch, …]`
    ///
    /// # Panics
    /// If `x0` and `eps` differ in shape, or `sigma` is neither one number nor one per example.
    pub fn noised<const D: usize>(
        &self,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let sigma = sigma.into();
        assert_eq!(x0.dims(), eps.dims(), "data and noise differ in shape");
        sigma.check(x0.dims()[0]);
        let path = self.parameterization.path();
        mix((sigma.map(|s| path.alpha(s)), x0), (sigma, eps))
    }

    /// The network's raw output F(c_in·x, σ), a prediction of `a·x₀ + b·ε`.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// If the shape of `x` is not the network's input shape, or `sigma` or `condition` is for another batch size,
    /// or a σ is not positive.
    pub fn predict<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        condition: N::Condition,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        self.predict_after(x, sigma, condition, None)
    }

    /// The same of a network that is [given its last estimate](Network::self_conditioned) of the data, `estimate`: zeros
    /// where there is none. Other networks do not see it.
    ///
    /// The estimate is in the data's own units, whatever `c_in` does to `x`.
    ///
    /// # Shapes
    /// - `x`, `estimate`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict), or if `estimate` has not the shape of `x`.
    pub fn predict_after<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        condition: N::Condition,
        estimate: Option<Tensor<B, D>>,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        let sigma = sigma.into();
        let batch = x.dims()[0];
        if let Some(estimate) = &estimate {
            assert_eq!(estimate.dims(), x.dims(), "the estimate of the data and the input differ in shape");
        }
        assert_eq!(x.dims(), self.network.input_shape(batch), "input and network differ in shape");
        sigma.check(batch);
        condition.check(batch);
        let levels = sigma.tensor(batch, &x.device());
        let x = sigma.map(|s| self.parameterization.c_in(s)).times(x);
        self.network.forward(self.network.with_estimate(x, estimate), levels, condition)
    }

    /// The training loss: the mean over the batch of [`loss_per_example`](Self::loss_per_example), smalldiffusion's
    /// `get_loss`.
    ///
    /// # Shapes
    /// - `x0`, `eps`: `[batch, …]`, noise of unit variance
    /// - returns `[1]`
    ///
    /// # Panics
    /// As [`noised`](Self::noised) and [`predict`](Self::predict).
    pub fn loss<const D: usize>(
        &self,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
        condition: N::Condition,
    ) -> Tensor<B, 1>
    where
        N: Network<B, D>,
    {
        self.loss_under(&PredictionMse, x0, sigma, eps, condition)
    }

    /// Squared error of the prediction, per example: `‖F(c_in·x, σ) − (a·x₀ + b·ε)‖²`, averaged over all axes but
    /// the batch.
    ///
    /// # Shapes
    /// - `x0`, `eps`: `[batch, …]`, noise of unit variance
    /// - returns `[batch]`
    ///
    /// # Panics
    /// As [`noised`](Self::noised) and [`predict`](Self::predict).
    pub fn loss_per_example<const D: usize>(
        &self,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
        condition: N::Condition,
    ) -> Tensor<B, 1>
    where
        N: Network<B, D>,
    {
        self.loss_per_example_under(&PredictionMse, x0, sigma, eps, condition)
    }

    /// The training loss under `objective`: the mean over the batch of
    /// [`loss_per_example_under`](Self::loss_per_example_under).
    ///
    /// # Shapes
    /// - `x0`, `eps`: `[batch, …]`, noise of unit variance
    /// - returns `[1]`
    ///
    /// # Panics
    /// As [`noised`](Self::noised) and [`predict`](Self::predict).
    pub fn loss_under<const D: usize>(
        &self,
        objective: &impl Objective,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
        condition: N::Condition,
    ) -> Tensor<B, 1>
    where
        N: Network<B, D>,
    {
        let losses = self.weighted_losses(objective, x0, sigma.into(), eps, condition, None);
        // Along an axis: on a GPU the mean of a whole tensor adds its parts in the order in which they are ready.
        let values = losses.shape().num_elements();
        losses.reshape([1, values]).mean_dim(1).reshape([1])
    }

    /// The loss of each example under `objective`, averaged over all axes but the batch.
    ///
    /// # Shapes
    /// - `x0`, `eps`: `[batch, …]`, noise of unit variance
    /// - returns `[batch]`
    ///
    /// # Panics
    /// As [`noised`](Self::noised) and [`predict`](Self::predict).
    pub fn loss_per_example_under<const D: usize>(
        &self,
        objective: &impl Objective,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
        condition: N::Condition,
    ) -> Tensor<B, 1>
    where
        N: Network<B, D>,
    {
        self.loss_per_example_after(objective, x0, sigma, eps, condition, None)
    }

    /// The same of a network that is given its last `estimate` of the data, as [`predict_after`](Self::predict_after)
    /// gives it.
    ///
    /// # Shapes
    /// - `x0`, `eps`: `[batch, …]`, noise of unit variance
    /// - `estimate`: `[batch, …]`
    /// - returns `[batch]`
    ///
    /// # Panics
    /// As [`noised`](Self::noised) and [`predict_after`](Self::predict_after).
    pub fn loss_per_example_after<const D: usize>(
        &self,
        objective: &impl Objective,
        x0: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        eps: Tensor<B, D>,
        condition: N::Condition,
        estimate: Option<Tensor<B, D>>,
    ) -> Tensor<B, 1>
    where
        N: Network<B, D>,
    {
        let losses = self.weighted_losses(objective, x0, sigma.into(), eps, condition, estimate);
        losses.flatten::<2>(1, D - 1).mean_dim(1).squeeze_dim(1)
    }

    /// The loss of each value, `[batch, …]`, or of each example, `[batch, 1, …]`.
    fn weighted_losses<const D: usize>(
        &self,
        objective: &impl Objective,
        x0: Tensor<B, D>,
        sigma: Sigma,
        eps: Tensor<B, D>,
        condition: N::Condition,
        estimate: Option<Tensor<B, D>>,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        let noisy = self.noised(x0.clone(), &sigma, eps.clone());
        let output = self.predict_after(noisy, &sigma, condition, estimate);
        let target = |s| self.parameterization.target(s);
        let target = mix((sigma.map(|s| target(s).x0), x0), (sigma.map(|s| target(s).eps), eps));
        assert_eq!(output.dims(), target.dims(), "prediction and target differ in shape");
        objective.losses(&self.parameterization, &sigma, output - target)
    }

    /// The estimate of the noise ε in `x`.
    ///
    /// For flow models this is ε itself; smalldiffusion's `predict_eps` of a flow model is [`velocity`](Self::velocity).
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn predict_eps<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        condition: N::Condition,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        self.estimate(x, sigma.into(), condition, |s| self.parameterization.noise(s))
    }

    /// The estimate D of the data x₀ in `x`.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn denoised<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        condition: N::Condition,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        self.estimate(x, sigma.into(), condition, |s| self.parameterization.denoised(s))
    }

    /// The estimate of dx/dσ along the path, the direction that samplers follow.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn velocity<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: impl Into<Sigma>,
        condition: N::Condition,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        self.estimate(x, sigma.into(), condition, |s| self.parameterization.velocity(s))
    }

    fn estimate<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: Sigma,
        condition: N::Condition,
        scalings: impl Fn(f64) -> Scalings,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        let output = self.output(x.clone(), &sigma, condition, None);
        sigma.levels().iter().for_each(|&sigma| self.expect_estimates(sigma));
        combine(&sigma, scalings, x, output)
    }

    /// What [`predict_after`](Self::predict_after) gives, without asking the network where its output counts nothing.
    pub(crate) fn output<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: &Sigma,
        condition: N::Condition,
        estimate: Option<Tensor<B, D>>,
    ) -> Tensor<B, D>
    where
        N: Network<B, D>,
    {
        if sigma.levels().iter().all(|&sigma| is_data(&self.parameterization, sigma)) {
            return x.zeros_like();
        }
        self.predict_after(x, sigma, condition, estimate)
    }

    /// Whether the model can be trained and sampled at the noise levels of `schedule`; training asks before it begins.
    ///
    /// # Errors
    /// If a level is not on the path or f32 does not hold it, or the
    /// [parameterization](Parameterization::check_levels) cannot be used there.
    pub fn check<S: Schedule<Path = P::Path> + ?Sized>(&self, schedule: &S) -> Result<(), Invalid> {
        let most = self.parameterization.path().max_sigma();
        for &level in schedule.levels() {
            check_level("schedule", level)?;
            Invalid::unless(level <= most, "schedule", || {
                format!("has σ = {level}, expected at most {most}")
            })?;
        }
        self.parameterization.check_levels(schedule.levels())
    }

    /// Panics where no estimate follows from the network's output.
    fn expect_estimates(&self, sigma: f64) {
        expect_valid(self.parameterization.check_levels(&[sigma]));
    }

    /// The estimate of ε that follows from the network's output.
    pub(crate) fn eps_of<const D: usize>(
        &self,
        x: Tensor<B, D>,
        output: Tensor<B, D>,
        sigma: f64,
    ) -> Tensor<B, D> {
        self.expect_estimates(sigma);
        combine(&Sigma::All(sigma), |s| self.parameterization.noise(s), x, output)
    }

    pub(crate) fn denoiser_output<const D: usize>(
        &self,
        x: Tensor<B, D>,
        output: Tensor<B, D>,
        sigma: f64,
    ) -> DenoiserOutput<B, D> {
        self.expect_estimates(sigma);
        DenoiserOutput {
            x,
            output,
            denoised: self.parameterization.denoised(sigma),
            velocity: self.parameterization.velocity(sigma),
        }
    }
}
