//! Initial values of parameters, drawn on the host, so that one seed gives one network on every backend.
//!
//! Burn draws them on the device, lazily, from a generator that all threads share; a network that must be the same
//! on the CPU and on a GPU cannot use that. A layer here takes the [`Stream`] of the network that it belongs to.

use crate::random::Stream;
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::{Embedding, Linear, PaddingConfig2d};
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// A distribution of initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All zero, and of most backends' memory only one: for a parameter whose values are still to come, from a file say.
    Unset,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform on ±1/√fan_in, PyTorch's default for linear layers and convolutions, biases included.
    Torch,
    /// Uniform on ±√(6/(fan_in + fan_out)) (Glorot & Bengio 2010).
    Xavier,
}

impl Init {
    /// A parameter of the given shape.
    ///
    /// # Shapes
    /// - returns `shape`
    pub fn param<B: Backend, const D: usize>(
        self,
        shape: [usize; D],
        (fan_in, fan_out): (usize, usize),
        stream: &mut Stream,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        match self {
            Self::Zeros => return Param::from_tensor(Tensor::zeros(shape, device)),
            Self::Unset => return Param::from_tensor(Tensor::<B, D>::zeros([1; D], device).expand(shape)),
            _ => {}
        }
        let uniform = |bound: f64, stream: &mut Stream| (2.0 * stream.uniform() - 1.0) * bound;
        let mut draw = || match self {
            Self::Zeros | Self::Unset => 0.0,
            Self::Normal(std) => std * stream.normal(),
            Self::Torch => uniform(1.0 / (fan_in as f64).sqrt(), stream),
            Self::Xavier => uniform((6.0 / (fan_in + fan_out) as f64).sqrt(), stream),
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw() as f32).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// A linear layer from `inputs` to `outputs` features whose bias, where it has one, is drawn from `bias`.
    pub fn linear<B: Backend>(
        self,
        bias: Option<Self>,
        [inputs, outputs]: [usize; 2],
        stream: &mut Stream,
        device: &B::Device,
    ) -> Linear<B> {
        let fans = (inputs, outputs);
        Linear {
            weight: self.param([inputs, outputs], fans, stream, device),
            bias: bias.map(|bias| bias.param([outputs], fans, stream, device)),
        }
    }

    /// A convolution with square kernels from `inputs` to `outputs` channels, its bias drawn from `bias`.
    pub fn conv2d<B: Backend>(
        self,
        bias: Self,
        [inputs, outputs]: [usize; 2],
        window: Window,
        stream: &mut Stream,
        device: &B::Device,
    ) -> Conv2d<B> {
        let Window { kernel, stride, padding } = window;
        let fans = (inputs * kernel * kernel, outputs * kernel * kernel);
        Conv2d {
            weight: self.param([outputs, inputs, kernel, kernel], fans, stream, device),
            bias: Some(bias.param([outputs], fans, stream, device)),
            stride: [stride, stride],
            kernel_size: [kernel, kernel],
            dilation: [1, 1],
            groups: 1,
            padding,
        }
    }

    /// A table of `rows` vectors of `size` values.
    pub fn embedding<B: Backend>(
        self,
        [rows, size]: [usize; 2],
        stream: &mut Stream,
        device: &B::Device,
    ) -> Embedding<B> {
        Embedding { weight: self.param([rows, size], (rows, size), stream, device) }
    }
}

/// How the kernel of a convolution moves over an image.
#[derive(Clone, Debug)]
pub struct Window {
    /// Height and width of the kernel in pixels.
    pub kernel: usize,
    /// Pixels from one place to the next.
    pub stride: usize,
    /// What is added around the image.
    pub padding: PaddingConfig2d,
}

impl Window {
    /// A kernel that sees each pixel by itself.
    pub fn pointwise() -> Self {
        Self { kernel: 1, stride: 1, padding: PaddingConfig2d::Valid }
    }

    /// A kernel of 3×3 pixels on an image with a border of one, so that the size stays.
    pub fn conv3x3() -> Self {
        Self { kernel: 3, stride: 1, padding: PaddingConfig2d::Explicit(1, 1, 1, 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;
    use burn::backend::Flex;

    /// No computer has the memory of all of it.
    #[test]
    fn what_is_not_set_takes_no_memory() {
        let mut stream = Stream::new(0, Purpose::PARAMETERS, 0, 0);
        let shape = [1 << 24, 1 << 22];
        let param = Init::Unset.param::<Flex, 2>(shape, (1, 1), &mut stream, &Default::default());
        assert_eq!(param.dims(), shape);
        let some = param.val().slice([5..7, 9..12]).into_data();
        assert_eq!(some, TensorData::zeros::<f32, _>([2, 3]));
    }
}
