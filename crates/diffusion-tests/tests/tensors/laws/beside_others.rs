//! What other threads of the process do changes nothing of a training.

use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction, Network, Tracer};
use diffusion::data::{Batches, Swissroll};
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::f64::consts::PI;
use std::thread;

backend_tests!(training_beside_other_training_is_the_same);

/// So much that putting tensors together takes a while, in which other threads can do harm.
const MUCH: usize = 1 << 16;

/// A layer whose output is, for a while, only a part of a concatenation.
#[derive(Module, Debug)]
struct Concatenating<B: Backend> {
    layer: Linear<B>,
}

impl<B: Backend> Network<B, 2> for Concatenating<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        _sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let [batch, dim] = x.dims();
        let rest = Tensor::zeros([batch, MUCH], &x.device());
        let all = Tensor::cat(vec![self.layer.forward(x), rest], 1);
        tracer.layer(&"layer", all.slice([0..batch, 0..dim]))
    }
}

/// The loss and the length of the gradients of two steps of many parts each.
fn numbers<B: TestBackend>(device: &B::Device) -> Vec<[u64; 2]> {
    let config = TrainConfig { seed: 3, accumulate: 8, ..TrainConfig::new(2) };
    let layer = LinearConfig::new(2, 2).with_initializer(burn::nn::Initializer::Ones).init(device);
    let model = Diffusion::<Autodiff<B>, _, _>::new(Concatenating { layer }, EpsPrediction);
    let batches = Batches::new(Swissroll::new(PI / 2.0, 5.0 * PI, 40), 4, 0);
    train(batches, model, LogLinear::new(50, 0.01, 5.0), &config)
        .map(|step| step.unwrap())
        .map(|step| [step.loss().to_bits(), step.gradient_norm.unwrap().to_bits()])
        .collect()
}

/// Where the parts of a step share the leaves of Burn's graph, other threads take gradients from them.
fn training_beside_other_training_is_the_same<B: TestBackend>(device: &B::Device) {
    let expected = numbers::<B>(device);
    let runs = || (0..2).map(|_| numbers::<B>(device)).collect::<Vec<_>>();
    let found: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(runs)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let different = found.iter().filter(|found| **found != expected).count();
    assert_eq!(different, 0, "of {} runs", found.len());
}

/// The fault of Burn 0.21 (its issue 5573) that the training loop evades, by itself. Once this passes, the loop needs no
/// new leaves.
#[test]
#[cfg(feature = "flex")]
#[ignore = "fails on Burn 0.21"]
fn burn_keeps_the_gradient_of_a_leaf_that_is_used_again() {
    use burn::backend::Flex;
    let lost = || {
        let device = Default::default();
        let leaf = Tensor::<Autodiff<Flex>, 2>::ones([4, 2], &device).require_grad();
        let lost = (0..50).filter(|_| {
            let rest = Tensor::zeros([4, MUCH], &device);
            let all = Tensor::cat(vec![leaf.clone() * 2.0, rest], 1);
            leaf.grad(&all.sum().backward()).is_none()
        });
        lost.count()
    };
    let lost: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(lost)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(lost, 0, "of 200 gradients");
}
