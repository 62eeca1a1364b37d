//! Drawing samples, in pieces that memory holds.

use crate::asked::Asked;
use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::network::SampledNetwork;
use crate::run::{SampleProgress, SampleRequest};
use crate::samples::Samples;
use crate::task::Batch;
use crate::watched::Watched;
use crate::weaker::Tellable;
use burn::tensor::backend::Backend;
use diffusion::core::sampler::FromPureNoise;
use diffusion::core::watch::Watch;
use diffusion::core::{
    AnyCondition, AnyGuidance, AnyPath, AnyPrediction, Denoiser, Diffusion, Guided, Invalid, Noise,
    Sampler as _,
};

/// How many values are sampled at once; it bounds memory and changes no sample.
const PIECE: usize = 1 << 16;

/// Of the sampler mean-flow, where the model is no mean flow.
pub(crate) const NO_MEAN_VELOCITY: &str = "is mean-flow, which asks for mean velocities, expected a network with mean_velocity = true that was trained by the \
     objective mean-flow, or another sampler";

/// Who is given the samples of each batch.
pub(crate) type Take<'a> = dyn FnMut(Samples) -> Result<(), RecipeError> + 'a;

/// Draws the samples that are asked for, and hands each batch of them to `take`: sample i depends on the seed and on i alone.
pub(crate) fn draw<B: Backend, N, const D: usize>(
    model: &Diffusion<B, N, AnyPrediction>,
    config: &RunConfig,
    weaker: Option<&dyn Tellable<B, D>>,
    request: &SampleRequest,
    device: &B::Device,
    watch: &Watch,
    (take, observe): (&mut Take<'_>, &mut dyn FnMut(SampleProgress<'_>)),
) -> Result<(), RecipeError>
where
    N: SampledNetwork<B, D>,
{
    let SampleRequest { sampling, seed, batch_size, first, .. } = request;
    let checked = RunConfig { sampling: sampling.clone(), ..config.clone() };
    checked.validate()?;
    let sigmas = sampling.sigmas(&config.schedule);
    let shape = config.network.input_shape();
    let piece = batch_size.unwrap_or((PIECE / shape.iter().product::<usize>()).max(1)).max(1);
    let asked = Asked::new(request, config)?;
    let each = request.task.steps(&sigmas, &shape)?;
    let steps = sampling.count.div_ceil(piece).saturating_mul(each) as u64;
    let report = |step: usize| watch.report("drawing samples: step", step as u64, Some(steps));
    for (before, done) in (0..sampling.count).step_by(piece).enumerate() {
        let (batch, before) = (piece.min(sampling.count - done), before * each);
        report(before)?;
        let noise = Noise::new(*seed).starting_at((first + done) as u64);
        let (conditions, against) =
            (asked.conditions(first + done, batch), asked.against(first + done, batch));
        let denoiser = guided(model, weaker, conditions, against, &sampling.guidance)?;
        if sampling.sampler.takes_mean_velocity() && denoiser.start_averaged().is_none() {
            return Err(Invalid::new("sampling.sampler", NO_MEAN_VELOCITY).into());
        }
        let denoiser = Watched::new(&denoiser, watch, "");
        let place = Batch { first: first + done, done, size: batch, count: sampling.count };
        let begun = request.task.begin(&denoiser, &sigmas, place, noise, device)?;
        watch.check()?;
        let start = begun.x.to_data().convert::<f32>().iter::<f32>().collect();
        let mut last = begun.x.clone();
        for (i, x) in begun.states(&denoiser, FromPureNoise(sampling.sampler), noise).enumerate() {
            let state = || x.to_data().convert::<f32>();
            watch.check()?;
            observe(SampleProgress { done, batch, step: i + 1, steps: each, state: &state });
            last = x;
            report(before + i + 1)?;
        }
        let values = last.into_data().convert::<f32>().iter::<f32>().collect();
        let labels = asked.labels(first + done, batch);
        let (shape, period, class_names) = (shape.clone(), asked.period(), config.classes.clone());
        let is_latent = config.data.latents().is_some();
        take(Samples { values, start, shape, is_latent, labels, period, class_names })?;
    }
    Ok(())
}

/// The model under these conditions, guided away from `against`, from no condition, or from the weaker model.
fn guided<'a, B: Backend, N: SampledNetwork<B, D>, const D: usize>(
    model: &'a Diffusion<B, N, AnyPrediction>,
    weaker: Option<&'a dyn Tellable<B, D>>,
    conditions: Vec<(f64, AnyCondition)>,
    against: Option<AnyCondition>,
    guidance: &AnyGuidance,
) -> Result<Box<dyn Denoiser<B, D, Path = AnyPath> + 'a>, RecipeError> {
    let AnyGuidance::Autoguidance(rule) = guidance else {
        let against = against.unwrap_or_else(|| model.network.null_condition(&conditions[0].1));
        return Ok(Box::new(model.given_all(conditions).guided_with(against, guidance.clone())));
    };
    let Some(weaker) = weaker else {
        let reason = "is autoguidance, and the weaker model was not opened: `Run::open_weaker` does that";
        return Err(Invalid::new("sampling.guidance", reason).into());
    };
    let (strong, weak) = (model.told(conditions.clone()), weaker.told(conditions));
    Ok(Box::new(Guided::new(strong, weak, rule.clone())))
}
