//! A run with its types: the one implementation of [`Run`].

use crate::config::{RunConfig, data_error};
use crate::error::RecipeError;
use crate::feed::Feed;
use crate::inspect;
use crate::network::{NetworkVisitor, RunNetwork};
use crate::run::{DataReport, Run, RunCounts, SampleProgress, SampleRequest, StepReport};
use crate::samples::Samples;
use crate::sampling;
use crate::validation::{ValidationLosses, Validations};
use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use diffusion::core::{AnyObjective, AnyPrediction, AnySchedule, Diffusion, Invalid, Path as _, Schedule};
use diffusion::data::{DataSummary, Dataset, ModelInput, TrainingData};
use diffusion::train::{
    Checkpoint, CheckpointState, ModelSpec, Training, Weights, export_state_dict, import_state_dict, train,
};
use std::path::Path;

impl RunConfig {
    /// Makes the run that this describes, on the backend `B`.
    ///
    /// ```
    /// # use burn::backend::Flex;
    /// # use diffusion_recipe::RunConfig;
    /// let run = RunConfig::preset("fashion-unet-small")?.build::<Flex>(&Default::default())?;
    /// assert_eq!(run.num_params(), 1_124_833);
    /// # Ok::<(), diffusion_recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// If [`validate`](Self::validate) finds something, or the network is of another crate.
    pub fn build<B: Backend>(&self, device: &B::Device) -> Result<Box<dyn Run>, RecipeError> {
        self.validate()?;
        self.network.visit(self.training.seed, device, Build::<B> { config: self, device })?
    }
}

/// Puts a network into a run.
struct Build<'a, B: Backend> {
    config: &'a RunConfig,
    device: &'a B::Device,
}

impl<B: Backend> NetworkVisitor<B> for Build<'_, B> {
    type Output = Result<Box<dyn Run>, RecipeError>;

    fn visit<N: RunNetwork<B, D>, const D: usize>(self, network: N) -> Self::Output {
        Ok(Box::new(TypedRun::<B, N, D>::new(self.config.clone(), network, self.device)?))
    }
}

/// The loop of a run: batches that come when the data are open.
type Loop<B, N, const D: usize> = Training<Autodiff<B>, N, AnyPrediction, AnySchedule, Feed, D, AnyObjective>;

/// A run with its types: the network `N` for inputs of rank `D`, on the backend `B`.
pub struct TypedRun<B: Backend, N: RunNetwork<B, D>, const D: usize> {
    config: RunConfig,
    spec: ModelSpec,
    schedule: AnySchedule,
    device: B::Device,
    feed: Feed,
    /// The number of the first batch that the loop will ask for.
    first_batch: u64,
    data: Option<TrainingData>,
    validations: Option<Validations>,
    /// Absent only after a checkpoint could not be loaded.
    training: Option<Loop<B, N, D>>,
}

/// Of a run that goes on although an error said that it cannot.
const LOADED: &str = "the run goes on after its weights could not be loaded";

impl<B: Backend, N: RunNetwork<B, D>, const D: usize> TypedRun<B, N, D> {
    /// The run of `network` that `config` describes. A network of your own is
    /// [`NetworkConfig::Custom`](crate::NetworkConfig::Custom) there.
    ///
    /// # Errors
    /// If [`RunConfig::validate`] finds something.
    pub fn new(config: RunConfig, network: N, device: &B::Device) -> Result<Self, RecipeError> {
        config.validate()?;
        let spec = ModelSpec::new(&config.network, &config.prediction, &config.schedule);
        let (schedule, feed, device) = (config.schedule.init(), Feed::default(), device.clone());
        let model = Diffusion::new(network, config.prediction);
        let training = Some(begun(&config, &schedule, &feed, model));
        let (first_batch, data, validations) = (0, None, None);
        Ok(Self { config, spec, schedule, device, feed, first_batch, data, validations, training })
    }

    fn training(&self) -> &Loop<B, N, D> {
        self.training.as_ref().expect(LOADED)
    }

    /// The data, which are opened where they are not yet.
    fn data(&mut self) -> Result<&TrainingData, RecipeError> {
        if self.data.is_none() {
            let RunConfig { data, network, training, validation, .. } = &self.config;
            let input = ModelInput { shape: network.input_shape(), num_classes: network.classes() };
            let kept = validation.as_ref().map_or(0, |validation| validation.examples);
            let opened = data.open(&input, kept, training.seed).map_err(data_error)?;
            if self.config.flip
                && let Err(why) = opened.training.can_mirror()
            {
                return Err(Invalid::new("flip", why).into());
            }
            self.feed.open(&opened.training, &self.config, self.first_batch);
            self.data = Some(opened);
        }
        Ok(self.data.as_ref().expect("the data have just been opened"))
    }

    /// Begins anew with the model that `load` makes of the present one.
    fn begin_with(
        &mut self,
        load: impl FnOnce(Model<B, N>) -> Result<Model<B, N>, RecipeError>,
    ) -> Result<(), RecipeError> {
        let model = load(self.training.take().expect(LOADED).into_model())?;
        self.begin(begun(&self.config, &self.schedule, &self.feed, model), 0);
        Ok(())
    }

    /// Begins anew with `training`, which asks for the batch number `first_batch` first.
    fn begin(&mut self, training: Loop<B, N, D>, first_batch: u64) {
        self.training = Some(training);
        self.first_batch = first_batch;
        if let Some(data) = &self.data {
            self.feed.open(&data.training, &self.config, first_batch);
        }
    }
}

/// The loop that begins with `model`.
fn begun<B: Backend, N: RunNetwork<B, D>, const D: usize>(
    config: &RunConfig,
    schedule: &AnySchedule,
    feed: &Feed,
    model: Model<B, N>,
) -> Loop<B, N, D> {
    train(feed.clone(), model, schedule.clone(), &config.training).under(config.objective)
}

/// The model that is trained.
type Model<B, N> = Diffusion<Autodiff<B>, N, AnyPrediction>;

impl<B: Backend, N: RunNetwork<B, D>, const D: usize> Run for TypedRun<B, N, D> {
    fn config(&self) -> &RunConfig {
        &self.config
    }

    fn num_params(&self) -> usize {
        self.training().ema().num_params()
    }

    fn backend(&self) -> String {
        B::name(&self.device)
    }

    fn counts(&self) -> RunCounts {
        let training = self.training();
        RunCounts { steps: training.step(), examples: training.examples(), skipped: training.skipped() }
    }

    fn gave_up(&self) -> bool {
        self.training().gave_up()
    }

    fn open_data(&mut self) -> Result<DataReport, RecipeError> {
        let schedule = self.schedule.clone();
        let TrainingData { training, validation } = self.data()?;
        let summary = DataSummary::of(training, inspect::EXAMPLES);
        let warnings = inspect::warnings(&summary, schedule.levels(), schedule.path().max_sigma());
        let validation = validation.as_ref().map_or(0, Dataset::len);
        Ok(DataReport { training: training.len(), validation, summary, warnings })
    }

    fn examples(&mut self) -> Result<TensorData, RecipeError> {
        Ok(self.data()?.training.all())
    }

    fn step(&mut self) -> Result<Option<StepReport>, RecipeError> {
        self.data()?;
        let step = self.training.as_mut().expect(LOADED).next();
        Ok(step.map(|step| StepReport {
            number: step.index,
            examples: step.examples,
            loss: step.loss(),
            lr: step.lr,
            gradient_norm: step.gradient_norm,
            skipped: step.skipped,
        }))
    }

    fn validate(&mut self) -> Result<Option<ValidationLosses>, RecipeError> {
        let Some(config) = self.config.validation else { return Ok(None) };
        if self.validations.is_none() {
            let (seed, schedule) = (self.config.training.seed, self.schedule.clone());
            let (prediction, device) = (self.config.prediction, self.device.clone());
            let objective = self.config.objective;
            let data = self.data()?;
            let validations =
                Validations::new::<B, D>(config, objective, seed, data, &schedule, prediction, &device);
            self.validations = Some(validations);
        }
        let validations = self.validations.as_ref();
        Ok(validations.map(|validations| validations.evaluate(self.training().ema(), &self.device)))
    }

    fn sample(
        &self,
        request: &SampleRequest,
        observe: &mut dyn FnMut(SampleProgress<'_>),
    ) -> Result<Samples, RecipeError> {
        sampling::draw(self.training().ema(), &self.config, request, &self.device, observe)
    }

    fn save(&self, folder: &Path, val_loss: Option<f64>) -> Result<Checkpoint, RecipeError> {
        Ok(self.training().save(folder, &self.spec, val_loss)?)
    }

    fn save_weights(&self, folder: &Path) -> Result<Checkpoint, RecipeError> {
        let state = CheckpointState::new(self.spec.clone(), 0, 0, self.config.training.seed);
        let training = self.training();
        Ok(Checkpoint::save(folder, state, &training.model(), training.ema())?)
    }

    fn load(&mut self, checkpoint: &Checkpoint, weights: Weights) -> Result<(), RecipeError> {
        let spec = self.spec.clone();
        self.begin_with(|model| Ok(checkpoint.load(model, &spec, weights)?))
    }

    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), RecipeError> {
        let training = self.training.take().expect(LOADED).resume(checkpoint, &self.spec)?;
        self.begin(training, checkpoint.state().batches);
        Ok(())
    }

    fn import(&mut self, path: &Path) -> Result<(), RecipeError> {
        self.begin_with(|model| {
            let network = import_state_dict(model.network, path)?;
            Ok(Diffusion::new(network, model.parameterization))
        })
    }

    fn export(&self, path: &Path) -> Result<(), RecipeError> {
        Ok(export_state_dict(&self.training().ema().network, path)?)
    }
}
