//! The same seed gives the same numbers, bit for bit, on every backend and in every batch: each test compares what
//! reached the device with numbers that were drawn on the host, one by one, from the streams' names.

use crate::support::parameters::{assert_same_bits, parameters};
use crate::support::weights::dit_config;
use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::layer::{CondEmbedderLabelConfig, CondEmbedderTextConfig, SigmaEmbedding};
use diffusion::core::network::dit::{DitConfig, ModulationInit};
use diffusion::core::network::mlp::{ConditionalMlp, ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::schedule::Levels;
use diffusion::core::{
    Diffusion, EpsPrediction, Labels, Network, Noise, Schedule, Tracer, VarianceExploding,
};
use diffusion::data::{Batches, Points};
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::sync::{Arc, Mutex};

backend_tests!(
    perceptrons_start_from_their_seed,
    transformers_start_from_their_seed,
    sampling_noise_does_not_depend_on_the_batch,
    training_draws_follow_from_their_names,
);

/// The initial values of a network, drawn again.
struct Host(Stream);

impl Host {
    fn new(seed: u64) -> Self {
        Self(Stream::new(seed, Purpose::PARAMETERS, 0, 0))
    }

    fn uniform(&mut self, bound: f64, n: usize) -> Vec<f32> {
        (0..n).map(|_| ((2.0 * self.0.uniform() - 1.0) * bound) as f32).collect()
    }

    fn normal(&mut self, std: f64, n: usize) -> Vec<f32> {
        (0..n).map(|_| (std * self.0.normal()) as f32).collect()
    }

    /// Weight and bias as PyTorch draws them.
    fn torch(&mut self, inputs: usize, outputs: usize) -> Vec<Vec<f32>> {
        let bound = 1.0 / (inputs as f64).sqrt();
        vec![self.uniform(bound, inputs * outputs), self.uniform(bound, outputs)]
    }

    /// A weight by Xavier's rule and a bias of zeros.
    fn xavier(&mut self, inputs: usize, outputs: usize) -> Vec<Vec<f32>> {
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        vec![self.uniform(bound, inputs * outputs), vec![0.0; outputs]]
    }

    /// A weight of deviation 0.02 and a bias of zeros.
    fn small(&mut self, inputs: usize, outputs: usize) -> Vec<Vec<f32>> {
        vec![self.normal(0.02, inputs * outputs), vec![0.0; outputs]]
    }
}

fn assert_parameters<B: Backend, M: Module<B>>(network: &M, expected: Vec<Vec<f32>>) {
    let found = parameters(network);
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_same_bits(&format!("parameter {i}"), found, expected);
    }
}

fn perceptrons_start_from_their_seed<B: TestBackend>(device: &B::Device) {
    let host = &mut Host::new(5);
    let expected = [host.torch(4, 16), host.torch(16, 8), host.torch(8, 2)].concat();
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 8], ..Default::default() };
    assert_parameters(&config.init::<B>(5, device), expected);

    let host = &mut Host::new(5);
    let expected = [host.torch(6, 16), host.torch(16, 2)].concat();
    let config = TimeInputMlpConfig { hidden_dims: vec![16], self_condition: true, ..Default::default() };
    assert_parameters(&config.init::<B>(5, device), expected);

    let host = &mut Host::new(6);
    let net = [host.torch(8, 16), host.torch(16, 2)].concat();
    let expected = [net, vec![host.normal(1.0, 6 * 4)], host.torch(4, 4)].concat();
    let labels = CondEmbedderLabelConfig::new(5);
    let config =
        ConditionalMlpConfig { dim: 2, hidden_dims: vec![16], cond_dim: 4, labels, ..Default::default() };
    assert_parameters(&config.init::<B>(6, device), expected);
}

fn transformers_start_from_their_seed<B: TestBackend>(device: &B::Device) {
    // Tokens of 8 numbers, patches of 2·2·3.
    let rest = |host: &mut Host, modulated: bool| {
        let modulation = |host: &mut Host| {
            if modulated { host.xavier(8, 16) } else { vec![vec![0.0; 8 * 16], vec![0.0; 16]] }
        };
        let block = |host: &mut Host| {
            let (norm1, qkv, proj) = (modulation(host), host.xavier(8, 24), host.xavier(8, 8));
            let (norm2, mlp_in, mlp_out) = (modulation(host), host.xavier(8, 32), host.xavier(32, 8));
            [norm1, qkv, proj, norm2, mlp_in, mlp_out, modulation(host)].concat()
        };
        let blocks = [block(host), block(host)].concat();
        [blocks, modulation(host), vec![vec![0.0; 8 * 12], vec![0.0; 12]]].concat()
    };

    for (modulation, modulated) in [(ModulationInit::Xavier, true), (ModulationInit::AdaLnZero, false)] {
        let host = &mut Host::new(7);
        let sigma = [host.small(2, 8), host.small(8, 8)].concat();
        let expected = [host.xavier(12, 8), sigma, rest(host, modulated)].concat();
        assert_parameters(&DitConfig { modulation, ..dit_config() }.init::<B>(7, device), expected);
    }

    let host = &mut Host::new(8);
    let sigma = [host.small(256, 1024), host.small(1024, 8), host.xavier(8, 8)].concat();
    let patches = host.xavier(12, 8);
    let labels = [vec![host.normal(1.0, 5 * 8)], host.xavier(8, 8)].concat();
    let expected = [patches, sigma, labels, rest(host, true)].concat();
    let config = DitConfig { sigma_embedding: SigmaEmbedding::Timestep, ..dit_config() };
    assert_parameters(&config.init_conditional::<B>(&CondEmbedderLabelConfig::new(4), 8, device), expected);

    let host = &mut Host::new(9);
    let sigma = [host.small(2, 8), host.small(8, 8)].concat();
    let (patches, texts) = (host.xavier(12, 8), host.xavier(5, 8));
    let sequences = vec![host.normal(0.02, 3 * 8), host.normal(1.0, 3 * 5)];
    let expected = [patches, sigma, texts, sequences, rest(host, true)].concat();
    let text = CondEmbedderTextConfig::new(3, 5);
    assert_parameters(&dit_config().init_text::<B>(&text, 9, device), expected);
}

/// What the stream of one example gives, whoever else is in the batch.
fn normals(seed: u64, purpose: Purpose, step: u64, index: u64, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, purpose, step, index);
    (0..n).map(|_| stream.normal() as f32).collect()
}

fn sampling_noise_does_not_depend_on_the_batch<B: TestBackend>(device: &B::Device) {
    let values = |x: Tensor<B, 3>| x.into_data().to_vec::<f32>().unwrap();
    for split in [vec![6], vec![1, 5], vec![2, 2, 2]] {
        let (mut initial, mut step) = (Vec::new(), Vec::new());
        let mut first = 0;
        for batch in split {
            let noise = Noise::new(9).starting_at(first as u64);
            initial.extend(values(noise.initial([batch, 2, 3], device)));
            step.extend(values(noise.step(17, [batch, 2, 3], device)));
            first += batch;
        }
        for (i, (initial, step)) in (0u64..6).zip(initial.chunks(6).zip(step.chunks(6))) {
            assert_same_bits("initial noise", initial, &normals(9, Purpose::INITIAL_NOISE, 0, i, 6));
            assert_same_bits("step noise", step, &normals(9, Purpose::STEP_NOISE, 17, i, 6));
        }
    }
}

/// A network that notes what training gives it.
#[derive(Module, Debug)]
struct Noting<B: Backend> {
    network: ConditionalMlp<B>,
    #[module(skip)]
    calls: Arc<Mutex<Vec<Call>>>,
}

/// The input, the levels and the labels of one call.
type Call = (Vec<f32>, Vec<f32>, Labels);

impl<B: Backend> Network<B, 2> for Noting<B> {
    type Condition = Labels;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.network.input_shape(batch)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        labels: Labels,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let host = |data: TensorData| data.to_vec::<f32>().unwrap();
        let call = (host(x.to_data()), host(sigma.to_data()), labels.clone());
        self.calls.lock().unwrap().push(call);
        tracer.layer(&"network", self.network.forward(x, sigma, labels))
    }

    fn drop_condition(&self, labels: Labels, uniform: &mut dyn FnMut(usize) -> f64) -> Labels {
        self.network.drop_condition(labels, uniform)
    }
}

/// On examples of zeros, and with levels that are powers of two, the network's input is σ·ε without rounding.
fn training_draws_follow_from_their_names<B: TestBackend>(device: &B::Device) {
    let labels = CondEmbedderLabelConfig { num_classes: 5, dropout: 0.4 };
    let config =
        ConditionalMlpConfig { dim: 2, hidden_dims: vec![8], cond_dim: 4, labels, ..Default::default() };
    let calls = Arc::default();
    let network = Noting { network: config.init::<Autodiff<B>>(0, device), calls: Arc::clone(&calls) };
    let schedule = Levels::<VarianceExploding>::new(vec![0.25, 0.5, 1.0, 2.0, 4.0]);
    // Batches of different sizes: an example's draws depend on its place alone.
    let sizes = [6, 2, 9];
    let batches =
        sizes.map(|n| (TensorData::zeros::<f32, _>([n, 2]), Labels((0..n).map(|i| i % 5).collect())));
    let config = TrainConfig { seed: 21, ..TrainConfig::new(10) };
    assert_eq!(train(batches, Diffusion::new(network, EpsPrediction), &schedule, &config).count(), 3);

    let calls = calls.lock().unwrap();
    let mut dropped = 0;
    for (step, ((x, sigmas, labels), n)) in calls.iter().zip(sizes).enumerate() {
        let stream = |purpose, i| Stream::new(21, purpose, step as u64, i);
        for (i, x) in (0u64..).zip(x.chunks(2)) {
            let sigma = schedule.draw(&mut stream(diffusion::train::purpose::TRAINING_SIGMA, i)) as f32;
            assert_same_bits("level", &[sigmas[i as usize]], &[sigma]);
            let eps = normals(21, diffusion::train::purpose::TRAINING_NOISE, step as u64, i, 2);
            assert_same_bits("input", x, &[sigma * eps[0], sigma * eps[1]]);
            let forgotten = stream(diffusion::train::purpose::CONDITION_DROP, i).uniform() < 0.4;
            dropped += usize::from(forgotten);
            assert_eq!(
                labels.0[i as usize],
                if forgotten { 5 } else { i as usize % 5 },
                "label {i} of step {step}"
            );
        }
        assert_eq!((x.len(), sigmas.len(), labels.0.len()), (2 * n, n, n));
    }
    assert!((1..17).contains(&dropped), "of 17 labels {dropped} were dropped, which shows nothing");
}

/// Twelve examples [i, i + 100], in the order in which batches of `size` give them.
fn visited(size: usize, epochs: u64, flip: bool) -> Vec<[f32; 2]> {
    let values = (0..12).flat_map(|i| [i as f32, (i + 100) as f32]).collect();
    let batches = Batches::new(Points::new(values, &[1, 2]), size, 33).epochs(epochs);
    let batches = if flip { batches.flip_horizontally() } else { batches };
    let values: Vec<f32> = batches.flat_map(|batch| batch.unwrap().0.to_vec::<f32>().unwrap()).collect();
    values.chunks(2).map(|pair| [pair[0], pair[1]]).collect()
}

/// Batches know no backend; the order and the mirror images depend on seed, epoch and example alone.
#[test]
fn batches_follow_from_their_seed() {
    let mut expected = Vec::new();
    for epoch in 0..3 {
        let mut order: Vec<usize> = (0..12).collect();
        Stream::new(33, diffusion::data::purpose::SHUFFLE, epoch, 0).shuffle(&mut order);
        expected.extend(order.into_iter().map(|i| {
            let mirrored = Stream::new(33, diffusion::data::purpose::FLIP, epoch, i as u64).uniform() < 0.5;
            let pair = [i as f32, (i + 100) as f32];
            (pair, if mirrored { [pair[1], pair[0]] } else { pair })
        }));
    }
    for size in [1, 5, 12, 100] {
        assert_eq!(visited(size, 3, false), expected.iter().map(|(pair, _)| *pair).collect::<Vec<_>>());
        assert_eq!(
            visited(size, 3, true),
            expected.iter().map(|(_, mirrored)| *mirrored).collect::<Vec<_>>()
        );
    }
}
