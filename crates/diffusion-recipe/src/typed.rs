//! A run with its types: the one implementation of [`Run`].

use crate::config::{RunConfig, data_error};
use crate::encoded::check_whole;
use crate::error::RecipeError;
use crate::feed::Feed;
use crate::folder::RunFolder;
use crate::inspect;
use crate::likelihood::{self, LikelihoodRequest, Likelihoods};
use crate::network::{NetworkVisitor, RunNetwork};
use crate::record::{DataRecord, RunRecord};
use crate::run::{DataReport, Run, RunCounts, SampleProgress, SampleRequest, StepReport};
use crate::samples::Samples;
use crate::sampling;
use crate::teacher::teacher;
use crate::validation::{ValidationLosses, Validations};
use crate::validation_metrics::{self, SampleMetrics};
use crate::watched::Watched;
use crate::weaker::{SETTING, Tellable, WeakerModel, check_alike};
use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use diffusion::core::watch::Watch;
use diffusion::core::{
    AnyCondition, AnyGuidance, AnyObjective, AnyPrediction, AnySchedule, Diffusion, Invalid, Network,
    Path as _, Schedule, Tokens,
};
use diffusion::data::{
    AnyDataset, DataConfig, DataSummary, Dataset, ModelInput, TrainingData, ValidationSplit, evenly_spaced,
};
use diffusion::train::{
    AverageFile, Checkpoint, CheckpointState, ModelSpec, Teacher, Training, Weights, Which,
    export_state_dict, import_state_dict_at, train,
};
use diffusion::weights::{Taken, write_tensors};
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
    watch: Watch,
    feed: Feed,
    /// The number of the first batch that the loop will ask for.
    first_batch: u64,
    /// The split that it began with, which may be none; absent where it is still to be chosen.
    split: Option<Option<ValidationSplit>>,
    data: Option<TrainingData>,
    /// What identifies the data, once they are open.
    data_record: Option<DataRecord>,
    validations: Option<Validations>,
    /// What is measured of samples then.
    sample_metrics: Option<SampleMetrics<B>>,
    /// What autoguidance leads away from, once it is open.
    weaker: Option<Box<dyn Tellable<B, D>>>,
    /// Whom it learns from, once that was opened.
    teacher: Option<Teacher<B, AnyCondition, D>>,
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
        validation_metrics::check(&config)?;
        let spec = ModelSpec::new(&config.network.without_place(), &config.prediction, &config.schedule);
        let (schedule, feed, device) = (config.schedule.init(), Feed::default(), device.clone());
        let watch = Watch::default();
        let model = Diffusion::new(network, config.prediction);
        let training = Some(begun(&config, &schedule, &feed, model, &watch));
        let (first_batch, split, data, data_record, validations) = (0, None, None, None, None);
        Ok(Self {
            config,
            spec,
            schedule,
            device,
            watch,
            feed,
            first_batch,
            split,
            data,
            data_record,
            validations,
            sample_metrics: None,
            weaker: None,
            teacher: None,
            training,
        })
    }

    fn training(&self) -> &Loop<B, N, D> {
        self.training.as_ref().expect(LOADED)
    }

    /// The data, which are opened where they are not yet.
    fn data(&mut self) -> Result<&TrainingData, RecipeError> {
        if self.data.is_none() {
            let RunConfig { data, network, training, validation, classes, .. } = &self.config;
            let (shape, num_classes) = (network.input_shape(), network.classes());
            let input = ModelInput { shape, num_classes, class_names: classes.clone(), text: network.text() };
            let kept = validation.as_ref().map_or(0, |validation| validation.examples);
            if let DataConfig::Latents(latents) = data {
                check_whole(&latents.path)?;
            }
            let opened = match self.split {
                Some(split) => data.open_split(&input, split, &self.watch),
                None => data.open(&input, kept, training.seed, &self.watch),
            };
            let opened = opened.map_err(data_error)?;
            // Of a run that goes on the record compares their names, with all else that identifies the data.
            // Latents name none, so that those stay that were written beside them.
            let is_told = classes.is_empty() || self.split.is_some();
            if num_classes.is_some() && is_told && data.latents().is_none() {
                self.config.classes = opened.class_names.clone();
            }
            if self.config.flip
                && let Err(why) = opened.training.can_mirror()
            {
                return Err(Invalid::new("flip", why).into());
            }
            self.data_record = Some(DataRecord::of(&opened, &self.config)?);
            self.feed.open(&opened.training, &self.config, self.first_batch, &self.watch);
            self.data = Some(opened);
        }
        Ok(self.data.as_ref().expect("the data have just been opened"))
    }

    /// Opens the run that this one learns from, if it does and it is not open yet.
    fn meet_teacher(&mut self) -> Result<(), RecipeError> {
        if self.config.teacher.is_none() || self.training().has_teacher() {
            return Ok(());
        }
        if self.teacher.is_none() {
            self.teacher = teacher(&self.config, self.training().ema())?;
        }
        self.training = match (self.training.take(), &self.teacher) {
            (Some(training), Some(teacher)) => Some(training.taught_by(teacher.clone())),
            (training, _) => training,
        };
        Ok(())
    }

    /// Begins anew with the model that `load` makes of the present one.
    fn begin_with(
        &mut self,
        load: impl FnOnce(Model<B, N>) -> Result<Model<B, N>, RecipeError>,
    ) -> Result<(), RecipeError> {
        let model = load(self.training.take().expect(LOADED).into_model())?;
        self.begin(begun(&self.config, &self.schedule, &self.feed, model, &self.watch), 0);
        Ok(())
    }

    /// Begins anew with `training`, which asks for the batch number `first_batch` first.
    fn begin(&mut self, training: Loop<B, N, D>, first_batch: u64) {
        self.training = Some(training);
        self.first_batch = first_batch;
        if let Some(data) = &self.data {
            self.feed.open(&data.training, &self.config, first_batch, &self.watch);
        }
    }
}

/// The loop that begins with `model`.
fn begun<B: Backend, N: RunNetwork<B, D>, const D: usize>(
    config: &RunConfig,
    schedule: &AnySchedule,
    feed: &Feed,
    model: Model<B, N>,
    watch: &Watch,
) -> Loop<B, N, D> {
    let training = train(feed.clone(), model, schedule.clone(), &config.training);
    training.under(config.objective.clone()).watched(watch.clone())
}

/// The model that is trained.
type Model<B, N> = Diffusion<Autodiff<B>, N, AnyPrediction>;

impl<B: Backend, N: RunNetwork<B, D>, const D: usize> Run for TypedRun<B, N, D> {
    fn config(&self) -> &RunConfig {
        &self.config
    }

    fn watch(&mut self, watch: Watch) {
        self.training = self.training.take().map(|training| training.watched(watch.clone()));
        if let Some(data) = &self.data {
            self.feed.watch(&data.training, &self.config, &watch);
        }
        self.watch = watch;
    }

    fn is_stopped(&self) -> bool {
        self.watch.is_stopped()
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
        let (watch, may_be_non_finite) = (self.watch.clone(), self.config.data.may_be_non_finite());
        let data = self.data()?;
        let checked = match may_be_non_finite {
            true => inspect::read_through(data, &watch)?,
            false => data.training.len(),
        };
        let TrainingData { training, validation, class_names, .. } = data;
        let looked_at = if training.readers() > 1 { inspect::SLOW_EXAMPLES } else { inspect::EXAMPLES };
        let summary = DataSummary::watched(training, looked_at, &watch)?;
        let mut warnings = inspect::warnings(&summary, schedule.levels(), schedule.path().max_sigma());
        let validation = validation.as_ref().map_or(0, Dataset::len);
        let (classes, notes) = (class_names.clone(), training.notes().to_vec());
        let training = training.len();
        warnings.extend(self.config.warnings());
        Ok(DataReport { training, validation, classes, notes, checked, summary, warnings })
    }

    fn record(&mut self) -> Result<RunRecord, RecipeError> {
        self.data()?;
        RunRecord::new(&self.config, self.data_record.clone())
    }

    fn examples(&mut self, at_most: usize) -> Result<TensorData, RecipeError> {
        let watch = self.watch.clone();
        let examples = &self.data()?.training;
        let indices: Vec<usize> = evenly_spaced(examples.len(), at_most).collect();
        let examples = Watched::new(examples, &watch, "reading the examples").of(indices.len());
        Ok(examples.gather(&indices)?.0)
    }

    fn texts(&mut self, at_most: usize) -> Result<Option<Tokens>, RecipeError> {
        if self.config.network.text().is_none() {
            return Ok(None);
        }
        let examples = &self.data()?.training;
        let indices: Vec<usize> = evenly_spaced(examples.len(), at_most).collect();
        Ok(match examples.gather(&indices)?.1 {
            AnyCondition::Tokens(tokens) => Some(tokens),
            AnyCondition::None | AnyCondition::Labels(_) | AnyCondition::Averaged(_) => None,
        })
    }

    fn training_set(&mut self) -> Result<AnyDataset, RecipeError> {
        Ok(self.data()?.training.clone())
    }

    fn held_out(&mut self) -> Result<Option<(AnyDataset, &'static str)>, RecipeError> {
        self.data()?;
        let RunConfig { data, network, .. } = &self.config;
        let shape = network.input_shape();
        let input = ModelInput { shape, num_classes: None, class_names: Vec::new(), text: None };
        let test = data.open_test(&input, &self.watch).ok().flatten();
        self.watch.check()?;
        let validation = self.data()?.validation.clone().map(|examples| (examples, "validation"));
        Ok(test.map(|examples| (examples, "test")).or(validation))
    }

    fn step(&mut self) -> Result<Option<StepReport>, RecipeError> {
        self.data()?;
        self.meet_teacher()?;
        let training = self.training.as_mut().expect(LOADED);
        let step = training.next().transpose()?;
        if step.is_none() && training.step() < self.config.training.steps && !training.gave_up() {
            // Batches never end; it was asked to stop.
            self.watch.check()?;
        }
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
        let Some(settings) = self.config.validation.clone() else { return Ok(None) };
        if self.validations.is_none() {
            let (config, schedule) = (self.config.clone(), self.schedule.clone());
            let (device, watch) = (self.device.clone(), self.watch.clone());
            let data = self.data()?;
            let sets = &data.training;
            let sample_metrics = SampleMetrics::new(&settings, &config, sets, &device, &watch)?;
            let validations = Validations::new::<B, D>(&settings, &config, data, &schedule, &device, &watch)?;
            (self.validations, self.sample_metrics) = (Some(validations), sample_metrics);
        }
        let texts = match &self.sample_metrics {
            Some(_) => self.texts(settings.samples)?,
            None => None,
        };
        let Some(validations) = &self.validations else { return Ok(None) };
        let mut losses = validations.evaluate(self.training().ema(), &self.device, &self.watch)?;
        if let Some(metrics) = &self.sample_metrics {
            let request = validation_metrics::request(&self.config, &settings, texts);
            losses.metrics = metrics.of(&self.sample(&request, &mut |_| {})?, &self.watch)?;
        }
        Ok(Some(losses))
    }

    fn sample_each(
        &self,
        request: &SampleRequest,
        take: &mut dyn FnMut(Samples) -> Result<(), RecipeError>,
        observe: &mut dyn FnMut(SampleProgress<'_>),
    ) -> Result<(), RecipeError> {
        let (model, weaker) = (self.training().ema(), self.weaker.as_deref());
        let told = (take, observe);
        sampling::draw(model, &self.config, weaker, request, &self.device, &self.watch, told)
    }

    fn open_weaker(&mut self, folder: &RunFolder) -> Result<(), RecipeError> {
        let AnyGuidance::Autoguidance(rule) = &self.config.sampling.guidance else { return Ok(()) };
        let which = rule.checkpoint.map_or(Which::Latest, Which::Step);
        let Some(path) = &rule.run else {
            let checkpoint = folder.weights(which, Weights::Ema)?.checkpoint;
            let model = checkpoint.load(self.training().model(), &self.spec, Weights::Ema)?;
            self.weaker = Some(Box::new(model));
            return Ok(());
        };
        let (folder, config) = RunFolder::open(path)?;
        check_alike(&self.config, &config)?;
        let checkpoint = folder.weights(which, Weights::Ema)?.checkpoint;
        let mut weaker = config.build::<B>(&self.device)?;
        weaker.load(&checkpoint, Weights::Ema)?;
        self.guide_by(weaker)
    }

    fn guide_by(&mut self, weaker: Box<dyn Run>) -> Result<(), RecipeError> {
        check_alike(&self.config, weaker.config())?;
        let other = || Invalid::new(SETTING, format!("is not on {}", B::name(&self.device)));
        self.weaker = Some(weaker.into_weaker().into_tellable().ok_or_else(other)?);
        Ok(())
    }

    fn into_weaker(self: Box<Self>) -> WeakerModel {
        WeakerModel::new::<B, D>(Box::new(self.training().ema().clone()))
    }

    fn likelihood(&mut self, request: &LikelihoodRequest) -> Result<Likelihoods, RecipeError> {
        request.validate()?;
        self.data()?;
        let (data, is_validation) = match self.data()? {
            TrainingData { validation: Some(validation), .. } => (validation.clone(), true),
            data => (data.training.clone(), false),
        };
        let Diffusion { network, parameterization, .. } = self.training().ema().clone();
        let network = N::from_inner(network).no_grad().without_dropout();
        let model = Diffusion::<Autodiff<B>, _, _>::new(network, parameterization);
        let (config, device) = (&self.config, &self.device);
        likelihood::measure::<_, _, D>(&model, config, (&data, is_validation), request, device, &self.watch)
    }

    fn save(&self, folder: &Path, val_loss: Option<f64>) -> Result<Checkpoint, RecipeError> {
        let record = RunRecord::new(&self.config, self.data_record.clone())?.into_table()?;
        Ok(self.training().save_with(folder, &self.spec, val_loss, record)?)
    }

    fn save_snapshot(&self, folder: &Path) -> Result<(), RecipeError> {
        self.training().save_snapshot(folder, &self.spec)?;
        Ok(())
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

    fn load_average(&mut self, average: &AverageFile) -> Result<(), RecipeError> {
        let spec = self.spec.clone();
        self.begin_with(|model| Ok(average.load(model, &spec)?))
    }

    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), RecipeError> {
        let training = self.training.take().expect(LOADED).resume(checkpoint, &self.spec)?;
        let split = RunRecord::of(checkpoint).and_then(|record| record.split(self.config.training.seed));
        if split != self.split {
            // Open data may be split otherwise.
            (self.split, self.data, self.data_record, self.validations) = (split, None, None, None);
        }
        self.begin(training, checkpoint.state().batches);
        Ok(())
    }

    fn import(&mut self, path: &Path, key: Option<&str>) -> Result<Taken, RecipeError> {
        let mut taken = Taken::default();
        self.begin_with(|model| {
            let (network, found) = import_state_dict_at(model.network, path, key)?;
            taken = found;
            Ok(Diffusion::new(network, model.parameterization))
        })?;
        Ok(taken)
    }

    fn export(&self, path: &Path) -> Result<(), RecipeError> {
        let network = &self.training().ema().network;
        match network.exported() {
            None => export_state_dict(network, path)?,
            Some(tensors) => write_tensors(&tensors, path)?,
        }
        Ok(())
    }
}
