//! Drawing samples, in pieces that memory holds.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::network::SampledNetwork;
use crate::run::{SampleProgress, SampleRequest};
use crate::samples::Samples;
use crate::watched::Watched;
use burn::tensor::backend::Backend;
use diffusion::core::sampler::FromPureNoise;
use diffusion::core::watch::Watch;
use diffusion::core::{AnyCondition, AnyPrediction, Diffusion, Labels, Noise, Tokens, sample_from};

/// How many values are sampled at once; it bounds memory and changes no sample.
const PIECE: usize = 1 << 16;

/// Draws the samples that are asked for: sample i depends on the seed and on i alone.
pub(crate) fn draw<B: Backend, N, const D: usize>(
    model: &Diffusion<B, N, AnyPrediction>,
    config: &RunConfig,
    request: &SampleRequest,
    device: &B::Device,
    watch: &Watch,
    observe: &mut dyn FnMut(SampleProgress<'_>),
) -> Result<Samples, RecipeError>
where
    N: SampledNetwork<B, D>,
{
    let SampleRequest { sampling, seed, batch_size, .. } = request;
    let checked = RunConfig { sampling: sampling.clone(), ..config.clone() };
    checked.validate()?;
    let sigmas = sampling.sigmas(&config.schedule);
    let shape = config.network.input_shape();
    let piece = batch_size.unwrap_or((PIECE / shape.iter().product::<usize>()).max(1)).max(1);
    let labels = Classes::new(config.network.classes(), request.labels.as_deref());
    let (mut values, mut start) = (Vec::new(), Vec::new());
    let steps = sampling.count.div_ceil(piece).saturating_mul(sampling.steps) as u64;
    let report = |step: usize| watch.report("drawing samples: step", step as u64, Some(steps));
    for (before, done) in (0..sampling.count).step_by(piece).enumerate() {
        let (batch, before) = (piece.min(sampling.count - done), before * sampling.steps);
        report(before)?;
        let noise = Noise::new(*seed).starting_at(done as u64);
        let x = model.rand_input(batch, noise, device) * sigmas[0];
        start.extend(x.to_data().convert::<f32>().iter::<f32>());
        let condition = match config.network.text() {
            Some(shape) => texts(request, shape, done, batch).into(),
            None => labels.condition(done, batch),
        };
        let null = model.network.null_condition(&condition);
        let denoiser = model.given(condition).guided_with(null, sampling.guidance);
        let denoiser = Watched::new(&denoiser, watch, "");
        let mut last = x.clone();
        for (i, x) in sample_from(&denoiser, FromPureNoise(sampling.sampler), &sigmas, x, noise).enumerate() {
            let state = || x.to_data().convert::<f32>();
            watch.check()?;
            observe(SampleProgress { done, batch, step: i + 1, steps: sampling.steps, state: &state });
            last = x;
            report(before + i + 1)?;
        }
        values.extend(last.into_data().convert::<f32>().iter::<f32>());
    }
    let drawn = labels.of(0, sampling.count);
    Ok(Samples { values, start, shape, labels: drawn, period: labels.period() })
}

/// The texts of the samples `first`, `first + 1`, … of `count`: those that are asked for, in turn, or none.
///
/// # Panics
/// If they are of another shape than `[tokens, width]`.
fn texts(request: &SampleRequest, [tokens, width]: [usize; 2], first: usize, count: usize) -> Tokens {
    let Some(texts) = &request.texts else { return Tokens::none([count, tokens, width]) };
    let [n, found @ ..] = texts.shape();
    assert_eq!(found, [tokens, width], "tokens and values of the texts");
    let text = |i: usize| &texts.values()[i % n * tokens * width..][..tokens * width];
    Tokens::new((first..first + count).flat_map(text).copied().collect(), [count, tokens, width])
}

/// The labels of samples.
struct Classes<'a> {
    /// The number of classes, if there are labels.
    classes: Option<usize>,
    /// Those that are asked for, to be repeated; all in turn where there are none.
    asked: Option<&'a [usize]>,
}

impl<'a> Classes<'a> {
    fn new(classes: Option<usize>, asked: Option<&'a [usize]>) -> Self {
        Self { classes, asked: asked.filter(|asked| !asked.is_empty()) }
    }

    /// After how many samples they repeat.
    fn period(&self) -> Option<usize> {
        self.classes.map(|classes| self.asked.map_or(classes, <[usize]>::len))
    }

    /// Those of the samples `first`, `first + 1`, … of `count`.
    fn of(&self, first: usize, count: usize) -> Option<Vec<usize>> {
        let classes = self.classes?;
        let label = |i: usize| match self.asked {
            Some(labels) => labels[i % labels.len()],
            None => i % classes,
        };
        Some((first..first + count).map(label).collect())
    }

    /// The condition of those samples.
    fn condition(&self, first: usize, count: usize) -> AnyCondition {
        self.of(first, count).map_or(AnyCondition::None, |labels| Labels(labels).into())
    }
}
