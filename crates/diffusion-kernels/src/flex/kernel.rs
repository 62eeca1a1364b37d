//! What a kernel is, and how it becomes an operation of `Flex` and, with its gradient, of `Autodiff<Flex>`.

use std::any::Any;
use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorData, TensorMetadata};
use burn_flex::FlexTensor;

/// A contiguous tensor in f32. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Array {
    tensor: FlexTensor,
}

impl Array {
    /// The elements `values` in this shape.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Self { tensor: FlexTensor::from_data(TensorData::new(values, shape.to_vec())) }
    }

    /// A tensor in f32; copied, if it is not contiguous.
    pub fn of(tensor: FlexTensor) -> Self {
        Self { tensor: if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() } }
    }

    /// The tensor.
    pub fn into_tensor(self) -> FlexTensor {
        self.tensor
    }

    /// The elements; copied, if another tensor shares the memory.
    pub fn into_values(self) -> Vec<f32> {
        self.tensor.into_data().into_vec().expect("an array is of type f32")
    }

    /// The elements in row-major order.
    pub fn values(&self) -> &[f32] {
        self.tensor.as_slice().expect("an array is contiguous and of type f32")
    }

    /// The length of each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.tensor.layout().shape().to_vec()
    }

    /// The number of rows, and their length, that of the last axis.
    pub fn rows(&self) -> (usize, usize) {
        let shape = self.shape();
        let last = shape.last().copied().unwrap_or(1);
        (shape.iter().rev().skip(1).product(), last)
    }
}

/// An operation on `N` tensors, with its gradient.
pub(crate) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What is saved for the gradient besides the inputs.
    type Saved: Clone + Debug + Send + 'static;

    /// The operation's result.
    fn forward(&self, inputs: &[Array; N]) -> (Array, Self::Saved);

    /// The gradient for each of the inputs that `wanted` asks for.
    fn backward(
        &self,
        inputs: &[Array; N],
        saved: &Self::Saved,
        gradient: &Array,
        wanted: [bool; N],
    ) -> [Option<Array>; N];
}

/// The result of `kernel`, if the inputs are of `Flex` or `Autodiff<Flex>` and in f32; else the inputs.
pub fn apply<B: Backend, K: Kernel<N>, const N: usize>(
    kernel: &K,
    inputs: [FloatTensor<B>; N],
) -> Result<FloatTensor<B>, [FloatTensor<B>; N]> {
    if inputs.iter().any(|input| input.dtype() != DType::F32) {
        return Err(inputs);
    }
    let inputs = match same::<_, [FlexTensor; N]>(inputs) {
        Ok(inputs) => return Ok(back(kernel.forward(&inputs.map(Array::of)).0.tensor)),
        Err(inputs) => inputs,
    };
    let inputs = same::<_, [FloatTensor<Autodiff<Flex>>; N]>(inputs)?;
    Ok(back(tracked(kernel.clone(), inputs)))
}

/// A value of the type that the inputs had.
pub fn back<T: 'static, U: 'static>(value: T) -> U {
    same(value).ok().expect("the result is of the backend of the inputs")
}

/// `value`, if its type is `U`.
pub fn same<T: 'static, U: 'static>(value: T) -> Result<U, T> {
    let mut value = Some(value);
    match (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take) {
        Some(value) => Ok(value),
        None => Err(value.expect("a value of another type was not taken")),
    }
}

/// A kernel's gradient as a node of Burn's autodiff graph.
#[derive(Debug)]
struct Step<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K> {
    type State = (Vec<Array>, K::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Array::of(gradients.consume::<Flex>(&ops.node));
        let wanted = std::array::from_fn(|i| ops.parents[i].is_some());
        let (inputs, saved) = ops.state;
        let inputs: [Array; N] = inputs.try_into().expect("one saved input for each of the kernel");
        let found = self.0.backward(&inputs, &saved, &gradient, wanted);
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<Flex>(parent.id, found.tensor);
            }
        }
    }
}

fn tracked<K: Kernel<N>, const N: usize>(
    kernel: K,
    inputs: [FloatTensor<Autodiff<Flex>>; N],
) -> FloatTensor<Autodiff<Flex>> {
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let inputs = inputs.map(|input| Array::of(input.primitive));
    let (output, saved) = kernel.forward(&inputs);
    match Step(kernel).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish((inputs.to_vec(), saved), output.tensor),
        OpsKind::UnTracked(step) => step.finish(output.tensor),
    }
}
