//! A run's configuration: everything that a repetition needs, as it stands in config.toml.

use crate::error::CliError;
use crate::interval::Interval;
use crate::size::{MAX_SIZE, NetworkSize, bounded, positive, shallow, together};
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::{AnyPrediction, Straight, VarianceExploding};
use diffusion::prelude::{
    Cosine, Ddpm, Flow, Ldm, Levels, LogLinear, LogNormalFlow, LrDecay, Schedule, Sigmoid, TrainConfig,
};
use diffusion::train::AdamWConfig;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset that it came from.
    pub preset: String,
    /// Examples per update.
    pub batch_size: usize,
    /// Whether examples are mirrored at random.
    pub flip: bool,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Steps or minutes between checkpoints; the first and the last state are always kept.
    pub checkpoint_every: Interval,
    /// How many checkpoints are kept, besides the best by its held-out loss.
    pub checkpoint_keep: usize,
    /// The run whose last weights this one began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    pub data: DataConfig,
    pub network: NetworkConfig,
    pub schedule: ScheduleConfig,
    pub training: TrainConfig,
    /// How the model is examined on its way; not at all where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutConfig>,
    pub sampling: SamplingConfig,
}

/// How the model is examined on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOutConfig {
    /// Steps between two exams; there is one after the last step too, if there was one before.
    pub every: u64,
    /// Examples that are kept from training for the exam, of data that have no test set of their own: at most a tenth,
    /// and none of points, which are all there is of their distribution.
    pub examples: usize,
    /// Ranges of noise levels, each as likely in training as any other.
    pub bins: usize,
    /// Examples in each of them.
    pub per_bin: usize,
}

/// Which examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataConfig {
    Swissroll {
        tmin: f64,
        tmax: f64,
        n: usize,
    },
    Tree {
        branching_factor: usize,
        depth: u32,
        num_samples_per_path: usize,
    },
    Datasaurus {
        path: PathBuf,
        name: String,
    },
    /// Fashion-MNIST, MNIST or anything else in their format.
    Mnist {
        path: PathBuf,
    },
    /// CIFAR-10 in its binary version.
    Cifar {
        path: PathBuf,
    },
    /// A folder of PNG and JPEG images; a subfolder is a class.
    Images {
        path: PathBuf,
    },
    /// Latents of images in safetensors shards; the network sees them times `scale` plus `shift`.
    Latents {
        path: PathBuf,
        scale: f64,
        shift: f64,
    },
}

/// Which network; the labelled ones need labelled data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NetworkConfig {
    TimeInputMlp(TimeInputMlpConfig),
    ConditionalMlp(ConditionalMlpConfig),
    Dit(DitConfig),
    ConditionalDit { dit: DitConfig, labels: CondEmbedderLabelConfig },
    Unet(UnetConfig),
    ConditionalUnet { unet: UnetConfig, labels: CondEmbedderLabelConfig },
}

impl NetworkConfig {
    /// The number of classes, if the network is conditioned on labels.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::TimeInputMlp(_) | Self::Dit(_) | Self::Unet(_) => None,
            Self::ConditionalMlp(mlp) => Some(mlp.labels.num_classes),
            Self::ConditionalDit { labels, .. } | Self::ConditionalUnet { labels, .. } => {
                Some(labels.num_classes)
            }
        }
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        match self {
            Self::TimeInputMlp(mlp) => vec![mlp.dim],
            Self::ConditionalMlp(mlp) => vec![mlp.dim],
            Self::Dit(dit) | Self::ConditionalDit { dit, .. } => vec![dit.channels, dit.in_dim, dit.in_dim],
            Self::Unet(unet) | Self::ConditionalUnet { unet, .. } => {
                vec![unet.in_ch, unet.in_dim, unet.in_dim]
            }
        }
    }

    fn check(&self) -> Result<(), CliError> {
        match self {
            Self::TimeInputMlp(TimeInputMlpConfig { dim, hidden_dims })
            | Self::ConditionalMlp(ConditionalMlpConfig { dim, hidden_dims, .. }) => {
                positive("dim", *dim)?;
                shallow("the number of the network's hidden layers", hidden_dims.len())?;
                hidden_dims.iter().try_for_each(|&width| positive("hidden width", width))?;
            }
            Self::Dit(dit) | Self::ConditionalDit { dit, .. } => {
                let DitConfig { in_dim, channels, patch_size, head_dim, num_heads, mlp_ratio, .. } = *dit;
                positive("in_dim", in_dim)?;
                positive("channels", channels)?;
                positive("patch_size", patch_size)?;
                positive("head_dim", head_dim)?;
                positive("num_heads", num_heads)?;
                shallow("the network's depth", dit.depth)?;
                bounded("the width of a token", head_dim.saturating_mul(num_heads))?;
                bounded("the numbers of an image", in_dim.saturating_mul(in_dim).saturating_mul(channels))?;
                if !in_dim.is_multiple_of(patch_size) {
                    let what =
                        format!("images of {in_dim} pixels cannot be cut into patches of {patch_size}");
                    return Err(CliError::invalid(what, "let patch_size divide in_dim"));
                }
                if !(head_dim * num_heads).is_multiple_of(4) {
                    let what = format!("tokens of {head_dim}·{num_heads} numbers have no position embedding");
                    return Err(CliError::invalid(what, "make head_dim times num_heads a multiple of 4"));
                }
                if !(mlp_ratio <= 1000.0 && mlp_ratio * (head_dim * num_heads) as f64 >= 1.0) {
                    let what = format!("mlp_ratio is {mlp_ratio}");
                    return Err(CliError::invalid(what, "give a positive number up to 1000, 4 say"));
                }
            }
            Self::Unet(unet) | Self::ConditionalUnet { unet, .. } => check_unet(unet)?,
        }
        if let Self::ConditionalMlp(ConditionalMlpConfig { labels, .. })
        | Self::ConditionalDit { labels, .. }
        | Self::ConditionalUnet { labels, .. } = self
        {
            positive("num_classes", labels.num_classes)?;
            if !(0.0..=1.0).contains(&labels.dropout) {
                let what = format!("the labels' dropout is {}", labels.dropout);
                return Err(CliError::invalid(what, "give a probability between 0 and 1"));
            }
        }
        if let Self::ConditionalMlp(mlp) = self {
            positive("cond_dim", mlp.cond_dim)?;
        }
        if let Self::Dit(DitConfig { sigma_embedding, .. })
        | Self::ConditionalDit { dit: DitConfig { sigma_embedding, .. }, .. }
        | Self::Unet(UnetConfig { sigma_embedding, .. })
        | Self::ConditionalUnet { unet: UnetConfig { sigma_embedding, .. }, .. } = self
            && let SigmaEmbedding::SinCos(embedding) = sigma_embedding
            && !(embedding.scaling_factor as f32).is_normal()
        {
            let what = format!("the noise level's scaling_factor is {}", embedding.scaling_factor);
            return Err(CliError::invalid(what, "give a number other than 0, 0.5 say"));
        }
        Ok(())
    }
}

fn check_unet(unet: &UnetConfig) -> Result<(), CliError> {
    let UnetConfig { in_dim, in_ch, out_ch, ch, ch_mult, embed_ch_mult, num_res_blocks, dropout, .. } = unet;
    positive("in_dim", *in_dim)?;
    positive("in_ch", *in_ch)?;
    positive("ch", *ch)?;
    positive("embed_ch_mult", *embed_ch_mult)?;
    positive("num_res_blocks", *num_res_blocks)?;
    shallow("the network's num_res_blocks", *num_res_blocks)?;
    positive("number of levels", ch_mult.len())?;
    ch_mult.iter().try_for_each(|&mult| positive("multiple of channels", mult))?;
    let widest = ch_mult.iter().chain([embed_ch_mult]).max().map_or(0, |&mult| ch.saturating_mul(mult));
    bounded("the widest layer of the network", widest)?;
    bounded("the numbers of an image", in_dim.saturating_mul(*in_dim).saturating_mul(*in_ch))?;
    if in_ch != out_ch {
        let what = format!("the network takes {in_ch} channels and puts out {out_ch}");
        return Err(CliError::invalid(what, "a diffusion model needs in_ch and out_ch to be the same"));
    }
    if !ch.is_multiple_of(32) {
        let what = format!("the network's ch is {ch}");
        return Err(CliError::invalid(what, "give a multiple of 32, the number of groups in its norms"));
    }
    if (in_dim.trailing_zeros() as usize) < ch_mult.len() - 1 {
        let what = format!("images of {in_dim} pixels cannot be halved {} times", ch_mult.len() - 1);
        return Err(CliError::invalid(what, "give ch_mult fewer levels, or in_dim more factors of two"));
    }
    if !(0.0..1.0).contains(dropout) {
        let what = format!("the network's dropout is {dropout}");
        return Err(CliError::invalid(what, "give a probability from 0 to below 1"));
    }
    Ok(())
}

/// What the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "prediction must be one of eps, x0, v, scaled-eps, scaled-x0, scaled-v, { edm = { sigma_data = 0.5 } } or flow"
)]
pub enum Prediction {
    /// On the variance-exploding path.
    Diffusion(AnyPrediction),
    /// On the straight path.
    Flow(FlowName),
}

/// The one mode of the straight path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowName {
    Flow,
}

/// Which noise levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    LogLinear { n: usize, sigma_min: f64, sigma_max: f64 },
    Ddpm { n: usize, beta_start: f64, beta_end: f64 },
    Ldm { n: usize, beta_start: f64, beta_end: f64 },
    Sigmoid { n: usize, beta_start: f64, beta_end: f64 },
    Cosine { n: usize, max_beta: f64 },
    Levels { levels: Vec<f64> },
    Flow { n: usize, t_min: f64, t_max: f64 },
    LogNormalFlow { n: usize, t_min: f64, t_max: f64 },
}

/// A schedule on the path `P`, chosen at run time.
pub type BoxedSchedule<P> = Box<dyn Schedule<Path = P>>;

impl ScheduleConfig {
    /// The schedule, if it is one of diffusion.
    fn exploding(&self) -> Result<BoxedSchedule<VarianceExploding>, CliError> {
        self.check()?;
        Ok(match *self {
            Self::LogLinear { n, sigma_min, sigma_max } => Box::new(LogLinear::new(n, sigma_min, sigma_max)),
            Self::Ddpm { n, beta_start, beta_end } => Box::new(Ddpm::new(n, beta_start, beta_end)),
            Self::Ldm { n, beta_start, beta_end } => Box::new(Ldm::new(n, beta_start, beta_end)),
            Self::Sigmoid { n, beta_start, beta_end } => Box::new(Sigmoid::new(n, beta_start, beta_end)),
            Self::Cosine { n, max_beta } => Box::new(Cosine::new(n, max_beta)),
            Self::Levels { ref levels } => Box::new(Levels::<VarianceExploding>::new(levels.clone())),
            Self::Flow { .. } | Self::LogNormalFlow { .. } => {
                let what = "a flow schedule does not suit a network that predicts eps, x0 or v";
                return Err(CliError::invalid(what, "set prediction = \"flow\", or choose another schedule"));
            }
        })
    }

    /// The schedule, if it is one of flow matching.
    fn straight(&self) -> Result<BoxedSchedule<Straight>, CliError> {
        self.check()?;
        Ok(match *self {
            Self::Flow { n, t_min, t_max } => Box::new(Flow::new(n, t_min, t_max)),
            Self::LogNormalFlow { n, t_min, t_max } => Box::new(LogNormalFlow::new(n, t_min, t_max)),
            _ => {
                let what = "a diffusion schedule does not suit a network that predicts the flow";
                return Err(CliError::invalid(what, "choose the schedule flow or log-normal-flow"));
            }
        })
    }

    fn is_flow(&self) -> bool {
        matches!(self, Self::Flow { .. } | Self::LogNormalFlow { .. })
    }

    fn check(&self) -> Result<(), CliError> {
        let sizes = 2..=MAX_SIZE;
        // Networks see them in f32.
        let is_f32 = |level: f64| (level as f32).is_normal();
        let good = match *self {
            Self::LogLinear { n, sigma_min, sigma_max } => {
                // So that neighbours differ in f64.
                let apart = sigma_min * (1.0 + 1e-9 * n as f64) < sigma_max;
                sizes.contains(&n) && 0.0 < sigma_min && apart && is_f32(sigma_min) && is_f32(sigma_max)
            }
            Self::Ddpm { n, beta_start, beta_end }
            | Self::Ldm { n, beta_start, beta_end }
            | Self::Sigmoid { n, beta_start, beta_end } => {
                // So that the largest σ is finite.
                let finite = -(n as f64) * (-beta_end).ln_1p() < 700.0;
                sizes.contains(&n) && 0.0 < beta_start && beta_start <= beta_end && beta_end < 1.0 && finite
            }
            Self::Cosine { n, max_beta } => sizes.contains(&n) && 0.0 < max_beta && max_beta < 1.0,
            Self::Levels { ref levels } => {
                levels.len() >= 2
                    && levels.iter().all(|level| is_f32(*level) && *level > 0.0)
                    && levels.windows(2).all(|pair| pair[0] < pair[1])
            }
            Self::Flow { n, t_min, t_max } | Self::LogNormalFlow { n, t_min, t_max } => {
                let apart = t_min * (1.0 + 1e-9 * n as f64) < t_max;
                sizes.contains(&n) && 0.0 < t_min && is_f32(t_min) && apart && t_max <= 1.0
            }
        };
        let hint = "give 2 to 10⁶ increasing noise levels: 0 < sigma_min < sigma_max, 0 < beta_start ≤ beta_end < 1, \
                    or 0 < t_min < t_max ≤ 1, all within f32's range";
        if good {
            Ok(())
        } else {
            Err(CliError::invalid(format!("the schedule {self:?} is impossible"), hint))
        }
    }
}

/// How samples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    pub count: usize,
    pub steps: usize,
    /// 0 is off.
    pub cfg_scale: f64,
    pub sampler: SamplerConfig,
    /// The noise levels to sample through, where they are not those of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
}

/// Which sampler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SamplerConfig {
    General { gam: f64, mu: f64 },
    Heun,
}

impl SamplingConfig {
    pub fn check(&self, classes: Option<usize>) -> Result<(), CliError> {
        if self.count == 0 || self.steps == 0 {
            let what = format!("{} samples in {} steps were asked for", self.count, self.steps);
            return Err(CliError::invalid(what, "ask for at least 1 sample and 1 step"));
        }
        bounded("the number of samples", self.count)?;
        bounded("the number of sampling steps", self.steps)?;
        if let SamplerConfig::General { gam, mu } = self.sampler
            && !(gam.is_finite() && (0.0..1.0).contains(&mu))
        {
            let what = format!("gam is {gam} and mu is {mu}");
            return Err(CliError::invalid(what, "gam is at least 1 as a rule, and 0 ≤ mu < 1"));
        }
        if !self.cfg_scale.is_finite() {
            return Err(CliError::invalid(
                format!("the guidance scale is {}", self.cfg_scale),
                "give a number, 2 say",
            ));
        }
        if classes.is_none() && self.cfg_scale != 0.0 {
            let what = "guidance was asked for, but this model has no labels";
            return Err(CliError::invalid(what, "leave --cfg-scale away, or train a conditional preset"));
        }
        Ok(())
    }
}

/// The schedules of a run on the path `P`.
pub struct Schedules<P> {
    /// The noise levels to train on.
    pub training: BoxedSchedule<P>,
    /// Those to sample through.
    pub sampling: BoxedSchedule<P>,
}

impl RunConfig {
    /// The schedules, if they are of diffusion.
    pub fn exploding(&self) -> Result<Schedules<VarianceExploding>, CliError> {
        Ok(Schedules { training: self.schedule.exploding()?, sampling: self.of_sampling().exploding()? })
    }

    /// The schedules, if they are of flow matching.
    pub fn straight(&self) -> Result<Schedules<Straight>, CliError> {
        Ok(Schedules { training: self.schedule.straight()?, sampling: self.of_sampling().straight()? })
    }

    /// Whether the run is of flow matching.
    pub fn is_flow(&self) -> bool {
        self.schedule.is_flow()
    }

    fn of_sampling(&self) -> &ScheduleConfig {
        self.sampling.schedule.as_ref().unwrap_or(&self.schedule)
    }

    /// Reads a config.toml.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = fs::read_to_string(path).map_err(CliError::io("read", path))?;
        Self::parse(&text).map_err(|reason| CliError::Config { path: path.to_path_buf(), reason })
    }

    /// Reads the text of a config.toml; or says what is wrong with it, and where.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| format!("line {}: ", 1 + before.matches('\n').count()));
            line.unwrap_or_default() + error.message()
        })
    }

    /// The text of a config.toml.
    pub fn to_toml(&self) -> Result<String, CliError> {
        let bad = |error: toml::ser::Error| CliError::Config {
            path: "config.toml".into(),
            reason: error.to_string(),
        };
        toml::to_string(self).map_err(bad)
    }

    /// Finds what cannot work before anything is computed or written.
    pub fn check(&self) -> Result<(), CliError> {
        let TrainConfig { steps, lr, accumulate, clip_norm, lr_schedule, .. } = &self.training;
        let (steps, lr, accumulate) = (*steps, *lr, *accumulate);
        if self.batch_size == 0 {
            return Err(CliError::invalid("the batch size is 0", "give --batch-size at least 1"));
        }
        if steps == 0 {
            return Err(CliError::invalid("0 training steps were asked for", "give --steps at least 1"));
        }
        if !(lr.is_finite() && lr > 0.0) {
            return Err(CliError::invalid(
                format!("the learning rate is {lr}"),
                "give --lr a positive number, 1e-3 say",
            ));
        }
        self.check_optimizer()?;
        if !(0.0..1.0).contains(&self.training.ema.decay) {
            let what = format!("the average's decay is {}", self.training.ema.decay);
            return Err(CliError::invalid(what, "give a number from 0 to below 1"));
        }
        let power = self.training.ema.warmup_power;
        if power.is_nan() || power < 0.0 {
            let what = format!("the average's warm-up power is {power}");
            return Err(CliError::invalid(what, "give at least 0, 2/3 say"));
        }
        if let Prediction::Diffusion(AnyPrediction::Edm { sigma_data }) = self.prediction
            && !(sigma_data.is_finite() && sigma_data > 0.0)
        {
            let what = format!("the data's standard deviation is {sigma_data}");
            return Err(CliError::invalid(what, "give sigma_data a positive number, 0.5 say"));
        }
        if accumulate == 0 || accumulate > MAX_SIZE {
            let what = format!("an update of {accumulate} batches was asked for");
            return Err(CliError::invalid(what, "give --accumulate a number from 1 to 10⁶"));
        }
        bounded("the batch size", self.batch_size)?;
        if let &Some(norm) = clip_norm
            && !(norm.is_finite() && norm > 0.0)
        {
            let what = format!("gradients are to be clipped to the norm {norm}");
            return Err(CliError::invalid(what, "give --clip-norm a positive number, 1 say"));
        }
        match lr_schedule.decay {
            LrDecay::Cosine { floor } if !(0.0..=1.0).contains(&floor) => {
                let what = format!("the cosine's floor is {floor}");
                return Err(CliError::invalid(
                    what,
                    "give a number from 0 to 1, as a share of the learning rate",
                ));
            }
            LrDecay::InverseSqrt { after: 0 } => {
                let what = "the learning rate is to fall from step 0 on";
                return Err(CliError::invalid(what, "give `after` at least 1, 1000 say"));
            }
            _ => {}
        }
        if !self.checkpoint_every.is_possible() || self.checkpoint_keep == 0 {
            let what = "checkpoints are to be made or kept 0 times";
            return Err(CliError::invalid(what, "give checkpoint_every and checkpoint_keep at least 1"));
        }
        if let Some(HeldOutConfig { every, examples, bins, per_bin }) = &self.held_out {
            if *every == 0 || *examples == 0 || *bins == 0 || *per_bin == 0 {
                let what = "an exam every 0 steps, of 0 examples or of 0 ranges was asked for";
                return Err(CliError::invalid(what, "give at least 1 of each, or leave [held_out] away"));
            }
            bounded("the number of questions in the exam", bins.saturating_mul(*per_bin))?;
        }
        self.check_name()?;
        if let DataConfig::Latents { scale, shift, .. } = self.data
            && !((scale as f32).is_normal() && (shift as f32).is_finite())
        {
            let what = format!("the latents' scale is {scale} and their shift {shift}");
            return Err(CliError::invalid(what, "give finite numbers, and a scale other than 0"));
        }
        self.network.check()?;
        self.schedule.check()?;
        if let Some(schedule) = &self.sampling.schedule {
            schedule.check()?;
            if schedule.is_flow() != self.schedule.is_flow() {
                let what = format!("the schedule {schedule:?} for sampling does not suit that of training");
                return Err(CliError::invalid(what, "let both be of diffusion, or both of flow matching"));
            }
        }
        self.sampling.check(self.network.classes())?;
        self.check_memory()
    }

    /// The preset's name is also that of the run's folder, where no other is given.
    fn check_name(&self) -> Result<(), CliError> {
        let mut parts = Path::new(&self.preset).components();
        let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if is_plain && !self.preset.contains(['/', '\\', '\0']) {
            return Ok(());
        }
        let what = format!("the preset is called {:?}", self.preset);
        Err(CliError::invalid(what, "give it a name that a folder can have, swissroll say"))
    }

    fn check_optimizer(&self) -> Result<(), CliError> {
        let AdamWConfig { beta_1, beta_2, epsilon, weight_decay } = self.training.adamw;
        for (what, beta) in [("beta_1", beta_1), ("beta_2", beta_2)] {
            if !(0.0..1.0).contains(&beta) {
                let what = format!("the optimizer's {what} is {beta}");
                return Err(CliError::invalid(what, "give a number from 0 to below 1"));
            }
        }
        if !((epsilon as f32).is_normal() && epsilon > 0.0) {
            let what = format!("the optimizer's epsilon is {epsilon}");
            return Err(CliError::invalid(what, "give a positive number, 1e-8 say"));
        }
        if !(weight_decay.is_finite() && weight_decay >= 0.0) {
            let what = format!("the weights' decay is {weight_decay}");
            return Err(CliError::invalid(what, "give at least 0, 1e-2 say"));
        }
        Ok(())
    }

    /// Finds sizes that are possible each, but not together.
    fn check_memory(&self) -> Result<(), CliError> {
        let size = NetworkSize::of(&self.network);
        size.check(self.batch_size)?;
        let example = self.network.input_shape().iter().map(|&n| n as u128).product();
        together("the size of all samples", example, self.sampling.count)?;
        match &self.held_out {
            Some(exam) => {
                together("the size of a layer's output for a range of the exam", size.layer, exam.per_bin)?;
                together("the size of the exam", example, exam.bins.saturating_mul(exam.per_bin))
            }
            None => Ok(()),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
