//! What a backend makes of a model: each layer by itself, and ten training steps.
//!
//! The baseline backend records every layer's output and the gradient that reaches it. Any backend can then be asked
//! for each layer alone: its inputs are the recorded outputs of the layers before it, and its gradients are those of
//! its inputs and parameters when the recorded gradient comes in. So a wrong layer makes no other look wrong.

use burn::module::{AutodiffModule, Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::random::{Purpose, Stream, normal_data};
use diffusion::core::trace::Tracer;
use diffusion::core::{Diffusion, Network, Parameterization, Path, Schedule};
use diffusion::train::purpose::TRAINING_NOISE;
use diffusion::train::{AdamWConfig, TrainConfig, TrainStep, train};
use std::convert::Infallible;
use std::fmt::Display;

/// Training steps.
pub const STEPS: u64 = 10;
/// AdamW's ε: one of the gradients' own size, for with 1e-8 a gradient that is zero but for rounding moves its
/// parameter as far as any other, in a direction that is rounding's.
const ADAMW_EPSILON: f64 = 1e-3;
/// The standard deviation of parameters that would start at zero.
const FILLING: f64 = 0.1;
/// How large an injected fault is, relative to the largest value of the layer's output.
const FAULT: f32 = 0.01;

/// What every backend is given, all on the host.
pub struct Inputs<C> {
    /// The network's input, `[batch, …]`.
    pub x: TensorData,
    /// The noise levels, `[batch]`.
    pub sigma: TensorData,
    /// The condition.
    pub condition: C,
    /// The gradient of the network's output, `[batch, …]`.
    pub gradient: TensorData,
    /// A batch of examples for each training step.
    pub examples: Vec<TensorData>,
    /// How to train.
    pub training: TrainConfig,
}

impl<C> Inputs<C> {
    /// Inputs as training has them, of `seed`: normal examples and noise, and σ spread evenly over the levels.
    pub fn new<P: Parameterization, const D: usize>(
        shape: [usize; D],
        condition: C,
        mode: &P,
        schedule: &dyn Schedule<Path = P::Path>,
        training: &TrainConfig,
    ) -> Self {
        let (seed, batch, levels) = (training.seed, shape[0], schedule.levels());
        let sigmas: Vec<f64> =
            (0..batch).map(|i| levels[i * (levels.len() - 1) / (batch - 1).max(1)]).collect();
        let examples: Vec<TensorData> =
            (0..STEPS).map(|step| normal_data(seed, Purpose::INITIAL_NOISE, step, 0, shape)).collect();
        let eps = normal_data(seed, TRAINING_NOISE, 0, 0, shape);
        let row: usize = shape[1..].iter().product();
        let path = mode.path();
        let pairs = examples[0].iter::<f64>().zip(eps.iter::<f64>()).enumerate();
        let noised = pairs.map(|(i, (x0, eps))| {
            let sigma = sigmas[i / row];
            (mode.c_in(sigma) * (path.alpha(sigma) * x0 + sigma * eps)) as f32
        });
        let adamw = AdamWConfig { epsilon: ADAMW_EPSILON, ..training.adamw.clone() };
        Self {
            x: TensorData::new(noised.collect::<Vec<f32>>(), shape),
            sigma: TensorData::new(sigmas.iter().map(|&sigma| sigma as f32).collect::<Vec<f32>>(), [batch]),
            condition,
            gradient: normal_data(seed, Purpose::STEP_NOISE, 0, 0, shape),
            examples,
            training: TrainConfig { steps: STEPS, adamw, ..training.clone() },
        }
    }
}

/// A layer's output on the baseline backend, and the gradient that reached it there.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub name: String,
    pub output: TensorData,
    pub gradient: TensorData,
}

/// What a backend makes of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    pub name: String,
    /// Its output while gradients are wanted, as in training.
    pub output: TensorData,
    /// The gradients of its inputs, by the layers that they come from, and of its parameters, by their paths.
    pub gradients: Vec<(String, TensorData)>,
}

/// What a backend makes of a model.
#[derive(Clone, Debug)]
pub struct Findings {
    pub layers: Vec<Layer>,
    /// Every layer's output while no gradients are wanted, as in sampling.
    pub sampled: Vec<TensorData>,
    /// The loss before each training step.
    pub losses: Vec<f64>,
    /// The parameters after training, by their paths.
    pub parameters: Vec<(String, TensorData)>,
}

/// The layers of `network` as this backend, the baseline, has them.
pub fn record<B, N, const D: usize>(
    network: &N,
    inputs: &Inputs<N::Condition>,
    device: &B::Device,
) -> Vec<Recorded>
where
    B: AutodiffBackend,
    N: Network<B, D>,
{
    let mut recorder = Recorder { seen: Vec::new() };
    let output = traced(network, inputs, &mut recorder, device);
    let gradients = (output * Tensor::from_data(inputs.gradient.clone(), device)).sum().backward();
    let recorded = |(name, output, gradient): (String, TensorData, Gradient<B>)| {
        let gradient = gradient(&gradients).unwrap_or_else(|| zeros(&output));
        Recorded { name, output, gradient }
    };
    recorder.seen.into_iter().map(recorded).collect()
}

/// What this backend makes of `model`, judged layer by layer against `recorded`; those named in
/// `faults` with a fault.
pub fn examine<B, N, P, const D: usize>(
    model: Diffusion<B, N, P>,
    inputs: &Inputs<N::Condition>,
    recorded: &[Recorded],
    schedule: &dyn Schedule<Path = P::Path>,
    faults: &[String],
    device: &B::Device,
) -> Findings
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: Network<B::InnerBackend, D, Condition = N::Condition> + ModuleDisplay,
    P: Parameterization,
{
    let sampled = sampled(&model.network.valid(), inputs, recorded, faults, device);
    let layers = layers(&model.network, inputs, recorded, faults, device);
    let batches = inputs.examples.iter().map(|examples| (examples.clone(), inputs.condition.clone()));
    let mut run = train(batches, model, schedule, &inputs.training);
    let loss = |Ok(step): Result<TrainStep<B>, Infallible>| step.loss();
    let losses = run.by_ref().map(loss).collect();
    let parameters = read_parameters(&run.into_model().network, None);
    Findings { layers, sampled, losses, parameters }
}

/// Each layer by itself, forward and backward.
pub fn layers<B, N, const D: usize>(
    network: &N,
    inputs: &Inputs<N::Condition>,
    recorded: &[Recorded],
    faults: &[String],
    device: &B::Device,
) -> Vec<Layer>
where
    B: AutodiffBackend,
    N: Network<B, D> + Module<B>,
{
    let mut single = Single { network, recorded, faults, inputs: Vec::new(), layers: Vec::new() };
    traced(network, inputs, &mut single, device);
    single.layers
}

/// Each layer's output, without gradients.
fn sampled<B, N, const D: usize>(
    network: &N,
    inputs: &Inputs<N::Condition>,
    recorded: &[Recorded],
    faults: &[String],
    device: &B::Device,
) -> Vec<TensorData>
where
    B: Backend,
    N: Network<B, D>,
{
    let mut replay = Replay { recorded, faults, outputs: Vec::new() };
    traced(network, inputs, &mut replay, device);
    replay.outputs
}

/// A pass through the network whose output is its last layer.
fn traced<B, N, T, const D: usize>(
    network: &N,
    inputs: &Inputs<N::Condition>,
    tracer: &mut T,
    device: &B::Device,
) -> Tensor<B, D>
where
    B: Backend,
    N: Network<B, D>,
    T: Tracer<B>,
{
    let x: Tensor<B, D> = Tensor::from_data(inputs.x.clone(), device);
    let x = network.with_estimate(x.clone(), Some(x));
    let sigma = Tensor::from_data(inputs.sigma.clone(), device);
    let output = network.trace(x, sigma, inputs.condition.clone(), tracer);
    tracer.layer(&"output", output)
}

/// Reads one tensor's gradient.
type Gradient<B> = Box<dyn Fn(&<B as AutodiffBackend>::Gradients) -> Option<TensorData>>;

fn gradient<B: AutodiffBackend, const D: usize>(leaf: Tensor<B, D>) -> Gradient<B> {
    Box::new(move |gradients| leaf.grad(gradients).map(Tensor::into_data))
}

fn zeros(like: &TensorData) -> TensorData {
    TensorData::new(vec![0.0f32; like.num_elements()], like.shape.clone())
}

/// Saves every output, and adds a zero to it whose gradient is the output's.
struct Recorder<B: AutodiffBackend> {
    seen: Vec<(String, TensorData, Gradient<B>)>,
}

impl<B: AutodiffBackend> Tracer<B> for Recorder<B> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        let zero = Tensor::zeros(output.dims(), &output.device()).require_grad();
        let data = output.clone().inner().into_data();
        self.seen.push((name.to_string(), data, gradient(zero.clone())));
        output + zero
    }
}

/// Lets each layer begin at recorded outputs, and sends the recorded gradient back through it alone.
struct Single<'a, B: AutodiffBackend, N> {
    network: &'a N,
    recorded: &'a [Recorded],
    faults: &'a [String],
    /// The recorded outputs so far, by the layers' names.
    inputs: Vec<(String, Gradient<B>)>,
    layers: Vec<Layer>,
}

impl<B: AutodiffBackend, N: Module<B>> Tracer<B> for Single<'_, B, N> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        let (name, device) = (name.to_string(), output.device());
        let recorded = &self.recorded[self.layers.len()];
        let output = faulty(output, &name, recorded, self.faults);
        let incoming = Tensor::from_data(recorded.gradient.clone(), &device);
        let all = (output.clone() * incoming).sum().backward();
        let of_input = |(from, gradient): &(String, Gradient<B>)| Some((from.clone(), gradient(&all)?));
        let mut gradients: Vec<_> = self.inputs.iter().filter_map(of_input).collect();
        gradients.extend(read_parameters(self.network, Some(&all)));
        self.layers.push(Layer { name: name.clone(), output: output.inner().into_data(), gradients });
        let leaf = Tensor::from_data(recorded.output.clone(), &device).require_grad();
        self.inputs.push((name, gradient(leaf.clone())));
        leaf
    }
}

/// Lets each layer begin at recorded outputs.
struct Replay<'a> {
    recorded: &'a [Recorded],
    faults: &'a [String],
    outputs: Vec<TensorData>,
}

impl<B: Backend> Tracer<B> for Replay<'_> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        let recorded = &self.recorded[self.outputs.len()];
        let device = output.device();
        self.outputs.push(faulty(output, &name.to_string(), recorded, self.faults).into_data());
        Tensor::from_data(recorded.output.clone(), &device)
    }
}

/// The output, with a fault if its layer is the one.
fn faulty<B: Backend, const D: usize>(
    output: Tensor<B, D>,
    name: &str,
    recorded: &Recorded,
    faults: &[String],
) -> Tensor<B, D> {
    if !faults.iter().any(|layer| layer == name) {
        return output;
    }
    let largest = recorded.output.iter::<f32>().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    output + FAULT * largest
}

/// The module's parameters by their paths; or, of those that `gradients` has one for, the gradients.
pub fn read_parameters<B: AutodiffBackend>(
    module: &impl Module<B>,
    gradients: Option<&B::Gradients>,
) -> Vec<(String, TensorData)> {
    let mut reader = Reader { path: Vec::new(), gradients, read: Vec::new() };
    module.visit(&mut reader);
    reader.read
}

struct Reader<'a, B: AutodiffBackend> {
    /// The fields that lead here, those of an enum's variants left out.
    path: Vec<String>,
    gradients: Option<&'a B::Gradients>,
    read: Vec<(String, TensorData)>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Reader<'_, B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        let is_variant = container_type.starts_with("Enum:");
        self.path.push(if is_variant { String::new() } else { name.to_string() });
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = match self.gradients {
            Some(gradients) => param.val().grad(gradients),
            None => Some(param.val().inner()),
        };
        if let Some(tensor) = tensor {
            let fields: Vec<&str> = self.path.iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
            self.read.push((fields.join("."), tensor.into_data()));
        }
    }
}

/// The module with drawn numbers in the place of parameters that start at zero, such as biases and a transformer's
/// last layer, behind which every gradient would be zero.
pub fn filled<B: Backend, M: Module<B>>(module: M, seed: u64) -> M {
    module.map(&mut Filler(Stream::new(seed, Purpose::PARAMETERS, 1, 0)))
}

struct Filler(Stream);

impl<B: Backend> ModuleMapper<B> for Filler {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let data = param.val().into_data();
        if data.iter::<f32>().any(|value| value != 0.0) {
            return param;
        }
        let (id, old, mapper) = param.consume();
        let values: Vec<f32> = (0..data.num_elements()).map(|_| (FILLING * self.0.normal()) as f32).collect();
        let new = Tensor::from_data(TensorData::new(values, old.dims()), &old.device());
        Param::from_mapped_value(id, new.set_require_grad(old.is_require_grad()), mapper)
    }
}
