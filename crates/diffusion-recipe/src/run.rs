//! A run without its types: what every model can do, on every backend.

use crate::config::{RunConfig, SamplingConfig};
use crate::error::RecipeError;
use crate::folder::RunFolder;
use crate::likelihood::{LikelihoodRequest, Likelihoods};
use crate::record::RunRecord;
use crate::samples::Samples;
use crate::task::Task;
use crate::validation::ValidationLosses;
use crate::weaker::WeakerModel;
use burn::tensor::TensorData;
use diffusion::core::watch::Watch;
use diffusion::core::{AnyGuidance, Tokens};
use diffusion::data::{AnyDataset, DataSummary};
use diffusion::train::{AverageFile, Checkpoint, NonFinite, Weights};
use diffusion::weights::Taken;
use std::path::Path;

/// A model, and all that a configuration says of training it and sampling from it.
///
/// Made by [`RunConfig::build`], or by [`TypedRun::new`](crate::TypedRun::new) of a network of your own. Nothing is read
/// from the disk before it is needed: a run that only samples needs no data.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion::train::Checkpoint;
/// use diffusion_recipe::{Run, RunConfig, SampleRequest};
///
/// let folder = tempfile::tempdir()?;
/// let mut config = RunConfig::preset("swissroll")?;
/// config.set_all(["training.steps=4", "batch_size=32", "network.hidden_dims=[8]", "sampling.count=3", "sampling.steps=2"])?;
/// let mut run: Box<dyn Run> = config.build::<Flex>(&Default::default())?;
/// while let Some(step) = run.step()? {
///     if step.number == 2 {
///         run.save(folder.path(), None)?;
///     }
/// }
/// let samples = run.sample(&SampleRequest::of(&config), &mut |_| {})?;
///
/// // Another run goes on where the checkpoint was made, and comes to the same end.
/// let mut again = config.build::<Flex>(&Default::default())?;
/// again.resume(&Checkpoint::latest(folder.path())?)?;
/// assert_eq!(again.counts().steps, 2);
/// while again.step()?.is_some() {}
/// assert_eq!(again.sample(&SampleRequest::of(&config), &mut |_| {})?.values, samples.values);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Run {
    /// Its configuration.
    fn config(&self) -> &RunConfig;

    /// Tells `watch` from now on how far long work is, and stops it where `watch` says so: opening data, a step between
    /// two of its batches, validation, sampling. What is stopped ends with [`RecipeError::Stopped`], and the model is
    /// that of the last step.
    fn watch(&mut self, watch: Watch);

    /// Whether it was asked to stop, by the watch that it has.
    fn is_stopped(&self) -> bool;

    /// The number of the network's parameters.
    fn num_params(&self) -> usize;

    /// The backend and its device, as the backend calls itself.
    fn backend(&self) -> String;

    /// How far it is.
    fn counts(&self) -> RunCounts;

    /// Whether training has ended because too many steps in a row were skipped.
    fn gave_up(&self) -> bool;

    /// Opens the data, if they are not open yet, and looks at them.
    ///
    /// # Errors
    /// If they cannot be read, or do not suit the network.
    fn open_data(&mut self) -> Result<DataReport, RecipeError>;

    /// What this run is now, settings and data, which are opened if they are not open yet.
    ///
    /// # Errors
    /// As [`open_data`](Self::open_data).
    fn record(&mut self) -> Result<RunRecord, RecipeError>;

    /// Examples of training at once: `at_most` of them, evenly spaced from the first to the last one, or all if they are
    /// fewer.
    ///
    /// # Shapes
    /// - returns `[examples, …]`
    ///
    /// # Errors
    /// As [`open_data`](Self::open_data).
    fn examples(&mut self, at_most: usize) -> Result<TensorData, RecipeError>;

    /// The texts of examples of training, as the network is told them: of `at_most`, evenly spaced, or of all if they are
    /// fewer; nothing if it is told none.
    ///
    /// # Errors
    /// As [`open_data`](Self::open_data).
    fn texts(&mut self, at_most: usize) -> Result<Option<Tokens>, RecipeError>;

    /// All examples that it is trained on.
    ///
    /// # Errors
    /// As [`open_data`](Self::open_data).
    fn training_set(&mut self) -> Result<AnyDataset, RecipeError>;

    /// Examples of its data that it was never trained on, and which they are: those of the published `test` set where it can
    /// be read, or else its `validation` examples; nothing where there are none.
    ///
    /// # Errors
    /// As [`open_data`](Self::open_data).
    fn held_out(&mut self) -> Result<Option<(AnyDataset, &'static str)>, RecipeError>;

    /// Makes the next step; nothing after the last one.
    ///
    /// # Errors
    /// If an example cannot be read, or the run is asked to stop; the model is that of the last step then.
    fn step(&mut self) -> Result<Option<StepReport>, RecipeError>;

    /// The losses of the EMA weights on the fixed validation examples; nothing if the configuration asks for none.
    ///
    /// # Errors
    /// If an example cannot be read, or the run is asked to stop.
    fn validate(&mut self) -> Result<Option<ValidationLosses>, RecipeError>;

    /// Draws samples with the EMA weights: sample i depends on the seed and on i alone.
    ///
    /// # Errors
    /// If the request does not suit the model, or the run is asked to stop.
    fn sample(
        &self,
        request: &SampleRequest,
        observe: &mut dyn FnMut(SampleProgress<'_>),
    ) -> Result<Samples, RecipeError> {
        let mut all = Samples::none(self.config().network.input_shape());
        let take = &mut |batch| {
            all.append(batch);
            Ok(())
        };
        self.sample_each(request, take, observe)?;
        Ok(all)
    }

    /// Draws the same samples, and hands those of each batch to `take`, in their order: memory holds one batch.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), or what `take` returns, which ends it.
    fn sample_each(
        &self,
        request: &SampleRequest,
        take: &mut dyn FnMut(Samples) -> Result<(), RecipeError>,
        observe: &mut dyn FnMut(SampleProgress<'_>),
    ) -> Result<(), RecipeError>;

    /// How likely examples of its data are under the EMA weights; those of validation where there are some.
    ///
    /// # Errors
    /// If the request cannot be used, an example cannot be read, or the run is asked to stop.
    fn likelihood(&mut self, request: &LikelihoodRequest) -> Result<Likelihoods, RecipeError>;

    /// Opens the weaker model that the configuration's autoguidance names: an earlier checkpoint of this run, whose folder
    /// is `folder`, or the model of another run. It takes part in sampling from then on. Nothing is opened where guidance is
    /// another.
    ///
    /// # Errors
    /// If the run or its checkpoint cannot be read, or its model is one for other inputs or conditions.
    fn open_weaker(&mut self, folder: &RunFolder) -> Result<(), RecipeError>;

    /// Takes the model of `weaker`, with its EMA weights, as the weaker one of autoguidance.
    ///
    /// # Errors
    /// If it is one for other inputs or conditions, or on another backend.
    fn guide_by(&mut self, weaker: Box<dyn Run>) -> Result<(), RecipeError>;

    /// Its model with the EMA weights alone, for [`guide_by`](Self::guide_by) of another run.
    fn into_weaker(self: Box<Self>) -> WeakerModel;

    /// Writes a checkpoint into `folder`. `val_loss` is the validation loss that it is known by, if it was measured.
    ///
    /// # Errors
    /// If the weights are not finite, or the file system refuses.
    fn save(&self, folder: &Path, val_loss: Option<f64>) -> Result<Checkpoint, RecipeError>;

    /// Writes a snapshot of averages into `folder`, if one is due after this step
    /// ([`SnapshotConfig`](diffusion::train::SnapshotConfig)).
    ///
    /// # Errors
    /// As [`save`](Self::save).
    fn save_snapshot(&self, folder: &Path) -> Result<(), RecipeError>;

    /// Writes a checkpoint without optimizer state into `folder`, as one of step 0.
    ///
    /// # Errors
    /// If the file system refuses.
    fn save_weights(&self, folder: &Path) -> Result<Checkpoint, RecipeError>;

    /// Begins with the weights of a checkpoint; the EMA weights begin there too.
    ///
    /// # Errors
    /// If the checkpoint is damaged or another model's. The run is of no use then.
    fn load(&mut self, checkpoint: &Checkpoint, weights: Weights) -> Result<(), RecipeError>;

    /// Begins with the weights of an average that was made after the training; the EMA weights begin there too.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_average(&mut self, average: &AverageFile) -> Result<(), RecipeError>;

    /// Goes on where a checkpoint was made, as if the run had never ended. Its examples stay split as they were. Whether
    /// settings and data are still those of [`RunRecord::of`] the checkpoint is the caller's to compare.
    ///
    /// # Errors
    /// As [`load`](Self::load), or if the checkpoint has no optimizer state.
    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), RecipeError>;

    /// Begins with the weights of a state dict that smalldiffusion saved, or of one in a checkpoint, to which `key` leads
    /// where it holds several; returns what was taken of the file.
    ///
    /// # Errors
    /// If the file is damaged or its tensors are not the network's; if several state dicts in it are and there is no key.
    fn import(&mut self, path: &Path, key: Option<&str>) -> Result<Taken, RecipeError>;

    /// Writes the EMA weights as a state dict that smalldiffusion loads.
    ///
    /// # Errors
    /// If the file system refuses.
    fn export(&self, path: &Path) -> Result<(), RecipeError>;
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// Steps so far, skipped ones included.
    pub steps: u64,
    /// Examples seen so far.
    pub examples: u64,
    /// Steps that were skipped.
    pub skipped: u64,
}

/// What a run's data are.
#[derive(Clone, Debug)]
pub struct DataReport {
    /// The number of examples that it is trained on.
    pub training: usize,
    /// The number of examples that it is validated on and never trained on.
    pub validation: usize,
    /// The names of the classes in the order of their labels, where they are known.
    pub classes: Vec<String>,
    /// How they were read, in sentences: what was left out of a folder, and whether they fit into memory.
    pub notes: Vec<String>,
    /// How many training examples are known to be finite; the others are checked when they are read. Validation examples
    /// are always checked.
    pub checked: usize,
    /// A look at the training examples.
    pub summary: DataSummary,
    /// What is odd about them, or about the settings of the run.
    pub warnings: Vec<String>,
}

/// What a step did.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Its number, from 1.
    pub number: u64,
    /// Examples seen so far.
    pub examples: u64,
    /// The mean loss of its examples, before the update.
    pub loss: f64,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of all gradients together, before clipping, where it was measured.
    pub gradient_norm: Option<f64>,
    /// Why the step changed nothing, if it was skipped.
    pub skipped: Option<NonFinite>,
}

/// Which samples.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// How many, and how.
    pub sampling: SamplingConfig,
    /// The seed of the noise.
    pub seed: u64,
    /// Their labels, repeated as often as needed; all classes in turn where there are none.
    pub labels: Option<Vec<usize>>,
    /// Their texts, encoded, repeated as often as needed. A network that is told texts draws without one where there are
    /// none.
    pub texts: Option<Tokens>,
    /// What they are told besides.
    pub composed: Vec<Composed>,
    /// The labels that guidance leads away from, repeated as often as needed; away from none where there are none.
    pub negative_labels: Option<Vec<usize>>,
    /// The texts that guidance leads away from, encoded, repeated as often as needed; away from no text where there are none.
    pub negative_texts: Option<Tokens>,
    /// How many are drawn at once, for the sake of memory: it changes no sample.
    pub batch_size: Option<usize>,
    /// The number of the first one: those of several requests are those of one, if they follow each other.
    pub first: usize,
    /// What they are made of; of noise alone by default.
    pub task: Task,
}

impl SampleRequest {
    /// The samples that `config` asks for.
    pub fn of(config: &RunConfig) -> Self {
        let (sampling, seed) = (config.sampling.clone(), config.training.seed);
        Self {
            sampling,
            seed,
            labels: None,
            texts: None,
            composed: Vec::new(),
            negative_labels: None,
            negative_texts: None,
            batch_size: None,
            first: 0,
            task: Task::Generate,
        }
    }

    /// The samples of a picture that is drawn while a run of `config` trains: of the same noise at every step, as at its
    /// end. Guidance by a weaker model, which may not exist yet, is left out.
    pub fn of_pictures(config: &RunConfig) -> Self {
        let mut request = Self::of(config);
        let sampling = &mut request.sampling;
        let most = if config.network.input_shape() == [2] { SHOWN_POINTS } else { SHOWN_IMAGES };
        sampling.count = config.pictures.count.unwrap_or(sampling.count.min(most));
        if matches!(sampling.guidance, AnyGuidance::Autoguidance(_)) {
            sampling.guidance = AnyGuidance::None;
        }
        // That needs less memory than a step.
        request.batch_size = Some(config.batch_size);
        request
    }
}

/// The most images in a picture that is drawn while a run trains, where no number is set.
const SHOWN_IMAGES: usize = 64;
/// The most points there.
const SHOWN_POINTS: usize = 2_000;

/// What samples are told besides their own labels or texts: the estimate moves by `weight` times the difference between
/// that under this condition and that under none (or the negative one). Guidance goes further in the same direction, by its
/// scale. See [`Conditions`](diffusion::core::guidance::Conditions).
#[derive(Clone, Debug)]
pub struct Composed {
    /// The weight, of which that of the request's own labels or texts is 1; a negative one leads away.
    pub weight: f64,
    /// The labels, repeated as often as needed, of a network that has labels.
    pub labels: Option<Vec<usize>>,
    /// The texts, encoded, repeated as often as needed, of a network that is told texts.
    pub texts: Option<Tokens>,
}

impl Composed {
    /// Labels.
    pub fn of_labels(weight: f64, labels: Vec<usize>) -> Self {
        Self { weight, labels: Some(labels), texts: None }
    }

    /// Texts.
    pub fn of_texts(weight: f64, texts: Tokens) -> Self {
        Self { weight, labels: None, texts: Some(texts) }
    }
}

/// A batch of samples on its way.
pub struct SampleProgress<'a> {
    /// The number of samples that were finished before this batch.
    pub done: usize,
    /// The samples in this batch.
    pub batch: usize,
    /// The steps that it has made.
    pub step: usize,
    /// The steps that it will have made.
    pub steps: usize,
    /// The state after the step, `[batch, …]`; reading it waits for the device.
    pub state: &'a dyn Fn() -> TensorData,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_the_end_but_not_too_many() {
        let count = |preset: &str, setting: &str| {
            let mut config = RunConfig::preset(preset).unwrap();
            config.set(setting).unwrap();
            SampleRequest::of_pictures(&config).sampling.count
        };
        assert_eq!(count("fashion-dit-small", "sampling.count=1000"), 64);
        assert_eq!(count("fashion-dit-small", "sampling.count=9"), 9);
        assert_eq!(count("fashion-dit-small", "pictures.count=100"), 100);
        assert_eq!(count("swissroll", "sampling.count=3000"), 2_000);
    }
}
