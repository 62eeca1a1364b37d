//! A run's configuration: everything that a repetition needs, as it stands in config.toml.

mod few_steps;
mod sampling;
mod set;
#[cfg(test)]
mod tests;
mod warnings;

pub use sampling::SamplingConfig;

use crate::encoded::Encoded;
use crate::error::RecipeError;
use crate::interval::Interval;
use crate::network::NetworkConfig;
use crate::pictures::PicturesConfig;
use diffusion::core::invalid::MAX_SIZE;
use diffusion::core::objective::AnyPairing;
use diffusion::core::schedule::PURE_NOISE;
use diffusion::core::{
    AnyGuidance, AnyObjective, AnyPrediction, Invalid, Parameterization, Schedule, ScheduleConfig, Weighted,
};
use diffusion::data::{DataConfig, DataError, ImagesConfig, LatentShardsConfig, Problem};
use diffusion::eval::ValidationConfig;
use diffusion::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

fn is_false(setting: &bool) -> bool {
    !setting
}

/// The most values of one tensor: in f32 they take 40 GB.
const MAX_VALUES: u128 = 10_000_000_000;

/// The most bytes of a configuration.
const LONGEST: u64 = 1 << 20;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset that it came from, or any name; also that of the run's folder where no other is given.
    pub preset: String,
    /// Examples per batch.
    pub batch_size: usize,
    /// Whether examples are mirrored at random; not by default.
    #[serde(default)]
    pub flip: bool,
    /// What the network predicts.
    pub prediction: AnyPrediction,
    /// What training minimizes and validation measures; the squared error of the prediction by default.
    #[serde(default)]
    pub objective: AnyObjective,
    /// Steps or minutes between checkpoints; the first and the last state are always kept.
    pub checkpoint_every: Interval,
    /// How many checkpoints are kept, besides the one with the lowest validation loss.
    pub checkpoint_keep: usize,
    /// The run whose weights this one began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// The step of that run whose weights they are; its last checkpoint's where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_checkpoint: Option<u64>,
    /// Whether they are that run's EMA weights; not by default.
    #[serde(default, skip_serializing_if = "is_false")]
    pub init_ema: bool,
    /// The run that this one learns from, by its EMA weights, where the objective needs a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// The step of that run whose weights they are; its last checkpoint's where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_checkpoint: Option<u64>,
    /// The names of the classes in the order of their labels, as the data had them when the run began; they are compared
    /// whenever the data are opened. Absent where they are not known, or the network is not told them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Which examples.
    pub data: DataConfig,
    /// Which network.
    pub network: NetworkConfig,
    /// The noise levels of training.
    pub schedule: ScheduleConfig,
    /// How long and how fast to train.
    pub training: TrainConfig,
    /// How the model is validated on its way; not at all where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// How samples are drawn.
    pub sampling: SamplingConfig,
    /// Which pictures are drawn while it trains.
    #[serde(default)]
    pub pictures: PicturesConfig,
}

impl RunConfig {
    /// Reads a configuration from a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is no configuration.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let path = path.as_ref();
        let text = read_text(path).map_err(RecipeError::io("read", path))?;
        Self::parse(&text).map_err(|reason| RecipeError::NotAConfig { path: path.to_path_buf(), reason })
    }

    /// Reads a configuration from its text.
    ///
    /// # Errors
    /// If a setting is unknown, missing or of another type.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        let bad = |reason| RecipeError::NotAConfig { path: "the text".into(), reason };
        Self::parse(text).map_err(bad)
    }

    /// The configuration, or what is wrong with the text, and where.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| format!("line {}: ", 1 + before.matches('\n').count()));
            line.unwrap_or_default() + error.message()
        })
    }

    /// The text of a config.toml, with every default filled in.
    ///
    /// # Errors
    /// If a number does not fit into TOML's, e.g. a seed beyond an i64.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(RecipeError::write_toml)
    }

    /// Trains on the images in `folder` instead; a subfolder is a class.
    pub fn set_images(&mut self, folder: impl AsRef<Path>) {
        let folder = folder.as_ref().to_path_buf();
        match &mut self.data {
            DataConfig::Images(images) => images.path = folder,
            data => *data = DataConfig::Images(ImagesConfig { path: folder, memory_mib: None }),
        }
        self.classes.clear();
    }

    /// Trains on the latents in `folder` instead, in the scale that [`encode`](crate::encode()) wrote beside them, or in that of
    /// the configuration where nothing is written.
    ///
    /// # Errors
    /// If there is no such folder, or what is written beside them cannot be read.
    pub fn set_latents(&mut self, folder: impl AsRef<Path>) -> Result<(), RecipeError> {
        let path = folder.as_ref().to_path_buf();
        if !path.is_dir() {
            return Err(RecipeError::NotEncoded(path));
        }
        let about = Encoded::read(&path)?;
        let written = about.as_ref().map(|about| (about.scale, about.shift));
        let own = self.data.latents().map(|codec| (codec.scale, codec.shift));
        let (scale, shift) = written.or(own).unwrap_or((1.0, 0.0));
        self.data = DataConfig::Latents(LatentShardsConfig { path, scale, shift });
        let names = about.map(|about| about.classes).filter(|names| names.len() > 1);
        self.classes = names.filter(|_| self.network.classes().is_some()).unwrap_or_default();
        Ok(())
    }

    /// The label of the class that is called `name`, or whose number this is; a name is looked for first. Nothing if the
    /// model has no such class.
    pub fn label(&self, name: &str) -> Option<usize> {
        let classes = self.network.classes()?;
        let by_name = self.classes.iter().position(|class| class == name);
        by_name.or_else(|| name.parse().ok()).filter(|&label| label < classes)
    }

    /// The labels of several classes by their names or numbers, with commas between them.
    ///
    /// A name may hold commas itself: the text as a whole is looked for first, and then, from its beginning on, the
    /// longest part between commas that is a name; a number stands alone between commas.
    ///
    /// # Errors
    /// The first part between commas that the model has no class for.
    pub fn labels(&self, text: &str) -> Result<Vec<usize>, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let longest = self.classes.iter().map(|class| 1 + class.matches(',').count()).max().unwrap_or(1);
        let (mut labels, mut at) = (Vec::new(), 0);
        while at < parts.len() {
            let ends = (at + 1..=parts.len().min(at + longest)).rev();
            let found = ends.map(|end| (end, parts[at..end].join(","))).find_map(|(end, name)| {
                let is_one = end == at + 1;
                let label = self.label(&name).filter(|_| is_one || self.classes.contains(&name));
                Some((end, label?))
            });
            let (end, label) = found.ok_or_else(|| parts[at].to_string())?;
            labels.push(label);
            at = end;
        }
        Ok(labels)
    }

    /// Finds what cannot work before anything is computed or written: the rules of each part, and those that hold
    /// between parts.
    ///
    /// # Errors
    /// The first rule that is broken, with the path of its setting.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_name()?;
        Invalid::unless_positive("batch_size", self.batch_size, MAX_SIZE)?;
        if !self.checkpoint_every.is_valid() {
            return Err(Invalid::new("checkpoint_every", "is 0, expected at least 1"));
        }
        if self.checkpoint_keep == 0 {
            return Err(Invalid::new("checkpoint_keep", "is 0, expected at least 1"));
        }
        self.prediction.validate().map_err(|error| error.within("prediction"))?;
        self.objective.validate().map_err(|error| error.within("objective"))?;
        self.data.validate().map_err(|error| data_invalid(error).within("data"))?;
        self.network.validate().map_err(|error| error.within("network"))?;
        self.schedule.validate().map_err(|error| error.within("schedule"))?;
        self.training.validate().map_err(|error| error.within("training"))?;
        if let Some(validation) = &self.validation {
            validation.validate().map_err(|error| error.within("validation"))?;
        }
        self.sampling.validate().map_err(|error| error.within("sampling"))?;
        self.pictures.validate().map_err(|error| error.within("pictures"))?;
        self.validate_paths()?;
        self.validate_levels()?;
        self.validate_objective()?;
        self.validate_few_steps()?;
        let by_condition =
            !matches!(self.sampling.guidance, AnyGuidance::None | AnyGuidance::Autoguidance(_));
        if !self.network.is_conditional() && by_condition {
            let reason = "the network has neither labels nor texts, so guidance has nothing to guide by";
            return Err(Invalid::new("sampling.guidance", reason));
        }
        self.validate_memory()
    }

    /// The name is also that of the run's folder.
    fn validate_name(&self) -> Result<(), Invalid> {
        let mut parts = Path::new(&self.preset).components();
        let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if is_plain && !self.preset.contains(['/', '\\', '\0']) {
            return Ok(());
        }
        Err(Invalid::new("preset", format!("is {:?}, expected a name that a folder can have", self.preset)))
    }

    /// Prediction and noise levels belong to one path.
    fn validate_paths(&self) -> Result<(), Invalid> {
        let path = self.prediction.path();
        let schedules = [Some((&self.schedule, "schedule")), self.sampling.schedule_with_name()];
        for (schedule, setting) in schedules.into_iter().flatten() {
            if schedule.path() != path {
                let prediction = self.prediction.name();
                let reason = format!(
                    "its noise levels are on another path than prediction = {prediction:?}; flow matching has the \
                     schedules flow and log-normal-flow, every other prediction has the others"
                );
                return Err(Invalid::new(setting, reason));
            }
        }
        Ok(())
    }

    /// The prediction has an estimate at all noise levels, with coefficients that f32 holds.
    fn validate_levels(&self) -> Result<(), Invalid> {
        let schedules = [Some(&self.schedule), self.sampling.schedule.as_ref()];
        for schedule in schedules.into_iter().flatten() {
            let schedule = schedule.init();
            self.prediction.check_levels(schedule.levels())?;
            self.validate_pure_noise(schedule.levels())?;
        }
        let Some(grid) = &self.sampling.grid else { return Ok(()) };
        let schedule = self.sampling.schedule.as_ref().unwrap_or(&self.schedule).init();
        grid.check(&schedule).map_err(|invalid| invalid.within("sampling.grid"))?;
        self.prediction.check_levels(&self.sampling.sigmas(&self.schedule))
    }

    /// From a level without data the prediction has an estimate, of an input that a network can be given.
    fn validate_pure_noise(&self, levels: &[f64]) -> Result<(), Invalid> {
        let Some(&level) = levels.last().filter(|&&level| level >= PURE_NOISE) else { return Ok(()) };
        let (input, out) = (self.prediction.c_in(level) * level, self.prediction.denoised(level).out);
        Invalid::unless(input.abs() < 1e3 && out.abs() < 1e3, "prediction", || {
            let name = self.prediction.name();
            format!(
                "is {name:?}, expected scaled-v, scaled-x0 or edm where the last noise level has no data in it"
            )
        })
    }

    /// The objective's parts fit the examples and their number.
    fn validate_objective(&self) -> Result<(), Invalid> {
        let AnyObjective::Weighted(Weighted { offset_noise, pairing, .. }) = &self.objective else {
            return Ok(());
        };
        if let Some(offset) = offset_noise {
            let channels = self.network.input_shape().first().copied().unwrap_or(1);
            offset.validate_channels(channels).map_err(|error| error.within("objective.offset_noise"))?;
        }
        if pairing.is_some() {
            let most = AnyPairing::MOST_EXAMPLES;
            let at_most = |setting, found| {
                let reason =
                    || format!("is {found}, expected at most {most} where noise is paired with examples");
                Invalid::unless(found <= most, setting, reason)
            };
            at_most("batch_size", self.batch_size)?;
            at_most(
                "validation.per_bin",
                self.validation.as_ref().map_or(0, |validation| validation.per_bin),
            )?;
        }
        Ok(())
    }

    /// Finds sizes that are possible each, but not together.
    fn validate_memory(&self) -> Result<(), Invalid> {
        let size = self.network.size();
        let example = self.network.input_shape().iter().map(|&n| n as u128).product();
        let product_at_most = |setting: &str, what: &str, values: u128, times: usize| {
            let all = values.saturating_mul(times as u128);
            if all <= MAX_VALUES {
                return Ok(());
            }
            Err(Invalid::new(setting, format!("{what} has {all} values, expected at most {MAX_VALUES}")))
        };
        let [params, attention] = self.network.sizes().map(|setting| format!("network.{setting}"));
        product_at_most(&params, "the network", size.params, 1)?;
        product_at_most(&attention, "attention, positions squared,", size.attention, 1)?;
        product_at_most("batch_size", "a layer's output for a batch", size.layer, self.batch_size)?;
        product_at_most("sampling.count", "all samples together", example, self.sampling.count)?;
        let shown = self.pictures.count.unwrap_or(1);
        product_at_most("pictures.count", "all samples of a picture together", example, shown)?;
        if let &Some(ValidationConfig { bins, per_bin, samples, ref metrics, .. }) = &self.validation {
            product_at_most("validation.per_bin", "a layer's output", size.layer, per_bin)?;
            let all = bins.saturating_mul(per_bin);
            product_at_most("validation.bins", "all validation examples together", example, all)?;
            let drawn = if metrics.is_empty() { 0 } else { samples };
            product_at_most("validation.samples", "all samples together", example, drawn)?;
        }
        Ok(())
    }
}

/// The text of a file that is a configuration, or of a pipe; no more of it than any configuration has.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LONGEST {
        true => Err(io::Error::new(ErrorKind::InvalidData, format!("it has more than {LONGEST} bytes"))),
        false => Ok(text),
    }
}

/// An error of a data set; one of its settings with the path of the setting.
pub(crate) fn data_error(error: DataError) -> RecipeError {
    match error.problem {
        Problem::Invalid { .. } => data_invalid(error).within("data").into(),
        _ => error.into(),
    }
}

fn data_invalid(error: DataError) -> Invalid {
    match error.problem {
        Problem::Invalid { setting, reason } => Invalid::new(setting, reason),
        _ => Invalid::new("kind", error.to_string()),
    }
}
