//! How likely a run's data are under its model.

use crate::config::{RunConfig, SamplingConfig};
use crate::error::RecipeError;
use crate::watched::Watched;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use diffusion::core::invalid::MAX_SIZE;
use diffusion::core::task::{LikelihoodConfig, OdeSolver, PIXEL_OFFSET, dequantized, likelihood};
use diffusion::core::watch::Watch;
use diffusion::core::{AnyCondition, AnyPrediction, Diffusion, Invalid, Network, Noise};
use diffusion::data::{AnyDataset, Dataset};

/// Which likelihoods, and how they are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct LikelihoodRequest {
    /// Of how many examples, evenly spaced among those of validation, or of training where there are none.
    pub count: usize,
    /// How many steps of the solver.
    pub steps: usize,
    /// The solver and the estimate of the trace.
    pub config: LikelihoodConfig,
    /// The seed of the random signs and of what bytes are made continuous with.
    pub seed: u64,
    /// How many are computed at once, for the sake of memory. An adaptive solver takes one at a time, so that each has steps
    /// of its own.
    pub batch_size: usize,
}

impl LikelihoodRequest {
    /// Of 100 examples in 50 steps, with the seed of the run.
    pub fn of(config: &RunConfig) -> Self {
        let (count, steps, batch_size) = (100, 50, 32);
        Self { count, steps, config: LikelihoodConfig::default(), seed: config.training.seed, batch_size }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (setting, found) in
            [("count", self.count), ("steps", self.steps), ("batch-size", self.batch_size)]
        {
            Invalid::unless_positive(setting, found, MAX_SIZE)?;
        }
        self.config.validate()
    }
}

/// The likelihoods of examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihoods {
    /// The logarithm of the density at each example, as the network sees it, in nats.
    pub log_likelihood: Vec<f64>,
    /// What each costs in bits per dimension: of pixels their bytes, else the density.
    pub bits_per_dim: Vec<f64>,
    /// Whether the examples are pixels, and the bits those of their bytes.
    pub of_pixels: bool,
    /// Whether they are examples that training never sees.
    pub of_validation: bool,
}

impl Likelihoods {
    /// The mean in bits per dimension, and its standard error; of one example the error is not known.
    pub fn mean(&self) -> (f64, Option<f64>) {
        let n = self.bits_per_dim.len() as f64;
        let mean = self.bits_per_dim.iter().sum::<f64>() / n;
        let squares = self.bits_per_dim.iter().map(|bits| (bits - mean).powi(2)).sum::<f64>();
        (mean, (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt()))
    }
}

/// The likelihoods of examples of `data` under `model`, whose parameters are not differentiated.
///
/// # Errors
/// If the model is one of consistency, an example cannot be read, or `watch` stops it.
pub(crate) fn measure<B: AutodiffBackend, N, const D: usize>(
    model: &Diffusion<B, N, AnyPrediction>,
    config: &RunConfig,
    (data, of_validation): (&AnyDataset, bool),
    request: &LikelihoodRequest,
    device: &B::Device,
    watch: &Watch,
) -> Result<Likelihoods, RecipeError>
where
    N: Network<B, D, Condition = AnyCondition>,
{
    Invalid::unless(!config.objective.is_consistency(), "likelihood", || {
        "follows from a flow, and a consistency model, whose estimates are samples and no means, has none"
            .into()
    })?;
    let sampling = SamplingConfig { steps: request.steps, ..config.sampling.clone() };
    let sigmas = sampling.sigmas(&config.schedule);
    let of_pixels = data.shape().len() == 3 && config.data.latents().is_none();
    let indices: Vec<usize> = diffusion::data::evenly_spaced(data.len(), request.count).collect();
    let at_once = match request.config.solver {
        OdeSolver::Adaptive { .. } => 1,
        _ => request.batch_size.max(1),
    };
    let (mut log_likelihood, mut bits_per_dim) = (Vec::new(), Vec::new());
    for (batch, indices) in indices.chunks(at_once).enumerate() {
        let done = batch * at_once;
        watch.report("measuring likelihoods", done as u64, Some(request.count.min(data.len()) as u64))?;
        let (values, condition): (TensorData, AnyCondition) = data.gather(indices)?;
        let noise = Noise::new(request.seed).starting_at(done as u64);
        let x0 = Tensor::<B::InnerBackend, D>::from_data(values, device);
        let x0 = if of_pixels { dequantized(x0, noise) } else { x0 };
        let denoiser = model.given(condition);
        let denoiser = Watched::new(&denoiser, watch, "");
        let found = likelihood(&denoiser, &request.config, &sigmas, x0, noise);
        watch.check()?;
        bits_per_dim.extend(found.bits_per_dim(if of_pixels { PIXEL_OFFSET } else { 0.0 }));
        log_likelihood.extend(found.log_likelihood);
    }
    Ok(Likelihoods { log_likelihood, bits_per_dim, of_pixels, of_validation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn a_consistency_model_has_no_likelihood() {
        let mut config = RunConfig::preset("swissroll-consistency").unwrap();
        config.set("network.hidden_dims=[8]").unwrap();
        let request = LikelihoodRequest { count: 2, steps: 2, ..LikelihoodRequest::of(&config) };
        let found = config.build::<Flex>(&Default::default()).unwrap().likelihood(&request);
        match found {
            Err(RecipeError::Invalid(invalid)) => assert_eq!(invalid.setting, "likelihood"),
            other => panic!("{other:?}"),
        }
    }
}
