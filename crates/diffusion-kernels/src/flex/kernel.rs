//! What a kernel is, and how it becomes an operation of a backend.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_flex::FlexTensor;
use std::any::Any;
use std::fmt::Debug;

/// Numbers in memory, one after the other, and their shape. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Array {
    tensor: FlexTensor,
}

impl Array {
    /// The numbers in `values` as a tensor of this shape.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Self { tensor: FlexTensor::from_data(TensorData::new(values, shape.to_vec())) }
    }

    /// The numbers of a tensor in f32.
    pub fn of(tensor: FlexTensor) -> Self {
        Self { tensor: if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() } }
    }

    /// The tensor.
    pub fn into_tensor(self) -> FlexTensor {
        self.tensor
    }

    /// The numbers alone; copied, if others hold them too.
    pub fn into_values(self) -> Vec<f32> {
        self.tensor.into_data().into_vec().expect("an array is of type f32")
    }

    /// The numbers, the last axis running fastest.
    pub fn values(&self) -> &[f32] {
        self.tensor.as_slice().expect("an array is contiguous and of type f32")
    }

    /// The length of each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.tensor.layout().shape().to_vec()
    }

    /// The length of the last axis, and how often it comes.
    pub fn rows(&self) -> (usize, usize) {
        let shape = self.shape();
        let last = shape.last().copied().unwrap_or(1);
        (shape.iter().rev().skip(1).product(), last)
    }
}

/// An operation on `N` tensors, with its gradient.
pub trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the gradient needs besides the inputs.
    type Kept: Clone + Debug + Send + 'static;

    /// The operation's result.
    fn forward(&self, inputs: &[Array; N]) -> (Array, Self::Kept);

    /// The gradient for each of the inputs that `wanted` asks for.
    fn backward(
        &self,
        inputs: &[Array; N],
        kept: &Self::Kept,
        gradient: &Array,
        wanted: [bool; N],
    ) -> [Option<Array>; N];
}

/// A tensor's primitive, if it is one of numbers.
pub fn float<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FloatTensor<B>> {
    match tensor.clone().into_primitive() {
        TensorPrimitive::Float(primitive) => Some(primitive),
        TensorPrimitive::QFloat(_) => None,
    }
}

/// The tensor of a primitive.
pub fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The operation on tensors of any backend; nothing, where there is no kernel for it.
pub fn apply<B: Backend, K: Kernel<N>, const N: usize>(
    kernel: K,
    inputs: [FloatTensor<B>; N],
) -> Option<FloatTensor<B>> {
    if inputs.iter().any(|input| input.dtype() != DType::F32) {
        return None;
    }
    let inputs = match same::<_, [FlexTensor; N]>(inputs) {
        Ok(inputs) => return same(kernel.forward(&inputs.map(Array::of)).0.tensor).ok(),
        Err(inputs) => inputs,
    };
    let inputs = same::<_, [FloatTensor<Autodiff<Flex>>; N]>(inputs).ok()?;
    same(tracked(kernel, inputs)).ok()
}

/// `value`, if its type is `U`.
pub fn same<T: 'static, U: 'static>(value: T) -> Result<U, T> {
    let mut value = Some(value);
    match (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take) {
        Some(value) => Ok(value),
        None => Err(value.expect("a value of another type was not taken")),
    }
}

/// A kernel's gradient as a step of Burn's.
#[derive(Debug)]
struct Step<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K> {
    type State = (Vec<Array>, K::Kept);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Array::of(gradients.consume::<Flex>(&ops.node));
        let wanted = std::array::from_fn(|i| ops.parents[i].is_some());
        let (inputs, kept) = ops.state;
        let inputs: [Array; N] = inputs.try_into().expect("as many inputs as there were");
        let found = self.0.backward(&inputs, &kept, &gradient, wanted);
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
    let (output, kept) = kernel.forward(&inputs);
    match Step(kernel).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish((inputs.to_vec(), kept), output.tensor),
        OpsKind::UnTracked(step) => step.finish(output.tensor),
    }
}
