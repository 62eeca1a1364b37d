//! What samples are made of besides noise: data that are changed, completed, varied, inverted or blended.

use crate::config::RunConfig;
use crate::error::RecipeError;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::task::{
    Inversion, Jumps, Known, Start, Variation, check_strength, invert, last_part, repaint, slerp, vary,
};
use diffusion::core::{AnyPath, Denoiser, Invalid, Noise, Sampler, Sigmas, sample_from};

/// What is made. Data are as the network sees them, `[examples, …]`; sample i takes the example i, and where there are fewer,
/// they take turns.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Task {
    /// New samples, from noise.
    #[default]
    Generate,
    /// Data, of which `strength` from 0 to 1 is made new; with 0 they stay as they are, with 1 nothing is left of them.
    Change {
        /// What is changed.
        data: TensorData,
        /// How much of it.
        strength: f64,
    },
    /// Data of which a part is made anew, so that it suits the rest, which stays.
    Complete {
        /// What is completed.
        data: TensorData,
        /// At least ½ where it is made anew; of one example for all, and of one channel for all.
        mask: TensorData,
        /// How much of that part is made new, from 0 to 1.
        strength: f64,
        /// How often each part of the way is walked (RePaint); 1 is once.
        repaint: usize,
        /// The steps of such a part.
        jump: usize,
    },
    /// Variations of data.
    Vary {
        /// What is varied.
        data: TensorData,
        /// How.
        variation: Variation,
    },
    /// Data that are inverted to noise and sampled from there: they come back, and the state that each sample began with is
    /// their noise.
    Invert {
        /// What is inverted.
        data: TensorData,
        /// How.
        inversion: Inversion,
    },
    /// The way between two ends, spherically in noise: the first sample is the one end, the last the other.
    Interpolate(Ends),
}

/// Two ends of a way.
#[derive(Clone, Debug, PartialEq)]
pub enum Ends {
    /// The noise of the first sample of two seeds.
    Seeds([u64; 2]),
    /// The noise of two data, one example each.
    Data {
        /// The ends.
        ends: Box<[TensorData; 2]>,
        /// How they are inverted.
        inversion: Inversion,
    },
}

impl Task {
    /// Whether a run of `config` can do it.
    ///
    /// # Errors
    /// If a value or a shape does not suit the run.
    pub fn validate(&self, config: &RunConfig) -> Result<(), Invalid> {
        let sigmas = config.sampling.sigmas(&config.schedule);
        self.steps(&sigmas, &config.network.input_shape()).map(|_| ())
    }

    /// The steps that a sample of a network for examples of `shape` takes along `sigmas`.
    ///
    /// # Errors
    /// If a value or a shape does not suit them.
    pub(crate) fn steps(&self, sigmas: &Sigmas<AnyPath>, shape: &[usize]) -> Result<usize, Invalid> {
        let left = |strength| Ok::<_, Invalid>(last_part(sigmas, strength)?.map_or(0, |part| part.steps()));
        match self {
            Self::Generate => Ok(sigmas.steps()),
            Self::Change { data, strength } => {
                check(data, shape, "init")?;
                left(*strength)
            }
            Self::Complete { data, mask, strength, repaint, jump } => {
                check(data, shape, "init")?;
                check_mask(mask, shape)?;
                check_strength(*strength)?;
                let part = last_part(sigmas, *strength)?;
                part.map_or(Ok(0), |part| Ok(jumps(&part, *jump, *repaint)?.steps()))
            }
            Self::Vary { data, variation } => {
                check(data, shape, "init")?;
                variation.validate()?;
                left(variation.strength)
            }
            Self::Invert { data, inversion } => {
                check(data, shape, "init")?;
                inversion.validate()?;
                Ok(sigmas.steps())
            }
            Self::Interpolate(ends) => {
                if let Ends::Data { ends, inversion } = ends {
                    inversion.validate()?;
                    ends.iter().try_for_each(|end| check(end, shape, "interpolate"))?;
                }
                Ok(sigmas.steps())
            }
        }
    }

    /// Where the samples of a batch begin; `noise` is theirs.
    ///
    /// # Errors
    /// As [`steps`](Self::steps), which is asked before.
    pub(crate) fn begin<B: Backend, const D: usize, M: Denoiser<B, D, Path = AnyPath>>(
        &self,
        denoiser: &M,
        sigmas: &Sigmas<AnyPath>,
        Batch { first, done, size, count }: Batch,
        noise: Noise,
        device: &B::Device,
    ) -> Result<Begun<B, D>, RecipeError> {
        let dims = denoiser.input_shape(size);
        let unit = || noise.initial::<B, D>(dims, device);
        let rows = |data: &TensorData| rows::<B, D>(data, dims, first, device);
        let whole = |x| Begun { way: Some(Way::Straight(sigmas.clone())), x };
        Ok(match self {
            Self::Generate => whole(unit() * sigmas[0]),
            Self::Change { data, strength } => {
                let data = rows(data);
                Begun::from(Start::new(sigmas, data.clone(), *strength, unit())?, data)
            }
            Self::Complete { data, mask, strength, repaint, jump } => {
                let data = rows(data);
                let Some(Start { sigmas, x }) = Start::new(sigmas, data.clone(), *strength, unit())? else {
                    return Ok(Begun { way: None, x: data });
                };
                let mut mask_dims = dims;
                mask_dims.iter_mut().skip(1).zip(&mask.shape[1..]).for_each(|(dim, &of_mask)| *dim = of_mask);
                let known = Known::new(data, self::rows(mask, mask_dims, first, device))?;
                Begun { way: Some(Way::Known(jumps(&sigmas, *jump, *repaint)?, known)), x }
            }
            Self::Vary { data, variation } => {
                let data = rows(data);
                Begun::from(vary(denoiser, variation, sigmas, data.clone(), unit()), data)
            }
            Self::Invert { data, inversion } => whole(invert(denoiser, inversion, sigmas, rows(data))),
            Self::Interpolate(ends) => {
                let [from, to] = match ends {
                    Ends::Seeds(seeds) => seeds.map(|seed| {
                        let one = Noise::new(seed).initial::<B, D>(denoiser.input_shape(1), device);
                        one.expand(dims) * sigmas[0]
                    }),
                    // Under each sample's own condition.
                    Ends::Data { ends, inversion } => {
                        ends.each_ref().map(|end| invert(denoiser, inversion, sigmas, rows(end)))
                    }
                };
                let place = |i: usize| if count > 1 { i as f64 / (count - 1) as f64 } else { 0.5 };
                let blended = (0..size).map(|row| {
                    let [from, to] = [&from, &to].map(|end| end.clone().narrow(0, row, 1));
                    slerp(from, to, place(done + row))
                });
                whole(Tensor::cat(blended.collect(), 0))
            }
        })
    }
}

/// Which samples of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// The number of the first one.
    pub first: usize,
    /// How many of the request come before it.
    pub done: usize,
    /// How many they are.
    pub size: usize,
    /// How many the request has.
    pub count: usize,
}

/// A batch that has begun.
pub(crate) struct Begun<B: Backend, const D: usize> {
    /// The way that is left to it; none where it is at its end.
    way: Option<Way<B, D>>,
    /// The state at its beginning, `[batch, …]`.
    pub x: Tensor<B, D>,
}

enum Way<B: Backend, const D: usize> {
    Straight(Sigmas<AnyPath>),
    Known(Jumps<AnyPath>, Known<B, D>),
}

impl<B: Backend, const D: usize> Begun<B, D> {
    /// That of a start, or `data` themselves where there is none.
    fn from(start: Option<Start<AnyPath, B, D>>, data: Tensor<B, D>) -> Self {
        match start {
            Some(Start { sigmas, x }) => Self { way: Some(Way::Straight(sigmas)), x },
            None => Self { way: None, x: data },
        }
    }

    /// The states after each step.
    pub fn states<'a, M, S>(
        &'a self,
        denoiser: &'a M,
        sampler: S,
        noise: Noise,
    ) -> Box<dyn Iterator<Item = Tensor<B, D>> + 'a>
    where
        M: Denoiser<B, D, Path = AnyPath>,
        S: Sampler + Clone + 'a,
    {
        let x = self.x.clone();
        match &self.way {
            None => Box::new(std::iter::empty()),
            Some(Way::Straight(sigmas)) => {
                let noise = sampler.noise_kind().of(noise);
                Box::new(sample_from(denoiser, sampler, sigmas, x, noise))
            }
            Some(Way::Known(jumps, known)) => {
                Box::new(repaint(denoiser, sampler, jumps, x, noise, known.clone()))
            }
        }
    }
}

/// The walks of a part of the way; `times` is the setting `repaint` here.
fn jumps(sigmas: &Sigmas<AnyPath>, length: usize, times: usize) -> Result<Jumps<AnyPath>, Invalid> {
    Jumps::new(sigmas, length, times).map_err(|Invalid { setting, reason }| match &*setting {
        "times" => Invalid::new("repaint", reason),
        _ => Invalid::new(setting, reason),
    })
}

/// The rows of a batch of shape `dims` whose first one is the sample `first`; examples take turns.
fn rows<B: Backend, const D: usize>(
    data: &TensorData,
    dims: [usize; D],
    first: usize,
    device: &B::Device,
) -> Tensor<B, D> {
    let size = dims[1..].iter().product::<usize>();
    let values: Vec<f32> = data.iter::<f32>().collect();
    let n = values.len() / size.max(1);
    let row = |i: usize| &values[i % n * size..][..size];
    let rows: Vec<f32> = (first..first + dims[0]).flat_map(row).copied().collect();
    Tensor::from_data(TensorData::new(rows, dims), device)
}

/// Refuses data that are no examples of the network.
fn check(data: &TensorData, shape: &[usize], setting: &str) -> Result<(), Invalid> {
    let fits = data.shape.len() == shape.len() + 1 && data.shape[0] > 0 && data.shape[1..] == *shape;
    Invalid::unless(fits, setting, || {
        format!("is of shape {:?}, expected examples of shape {shape:?}", data.shape)
    })
}

/// Refuses a mask that does not lie on the examples of the network.
fn check_mask(mask: &TensorData, shape: &[usize]) -> Result<(), Invalid> {
    let fits = mask.shape.len() == shape.len() + 1
        && mask.shape[0] > 0
        && mask.shape[1..].iter().zip(shape).all(|(found, expected)| found == expected || *found == 1);
    Invalid::unless(fits, "inpaint", || {
        format!(
            "is a mask of shape {:?}, expected examples of shape {shape:?}, or 1 in some places",
            mask.shape
        )
    })
}
