//! A small classifier of gray images of 28×28 pixels, whose weights for Fashion-MNIST come with this crate.

use super::FeatureExtractor;
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, Linear, PaddingConfig2d};
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Init, Window, conv2d, group_norm_silu, linear, silu};
use diffusion_core::random::{Purpose, Stream};
use diffusion_weights::{NameTable, TensorFile, WeightsError, import_tensors};
use std::path::Path;

/// Height and width of the images.
const SIZE: usize = 28;
/// The number of classes.
const CLASSES: usize = 10;
/// Channels at 28×28, 14×14 and 7×7 pixels.
const CHANNELS: [usize; 3] = [16, 32, 64];
/// The number of features.
const WIDTH: usize = 96;
/// Groups in every norm.
const GROUPS: usize = 8;

/// What training has made of the classifier for Fashion-MNIST, in half precision.
static FASHION_MNIST: &[u8] = include_bytes!("../../weights/fashion-mnist.safetensors");

/// A residual network of 123,402 parameters that tells ten classes of gray images of 28×28 pixels apart, as those of
/// MNIST and its drop-in replacements.
///
/// Its features are the mean over the image of what the last layer before the classes says: 96 values, all of a smooth
/// activation. A Fréchet distance between them needs some thousands of images, where Inception's 2048 features need tens of
/// thousands; and it is a figure that anyone can repeat, for [the weights](Self::fashion_mnist) come with this crate.
/// Nothing in it depends on the other images of a batch.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use diffusion_eval::extract::{FeatureExtractor, classifier::Classifier};
///
/// let device = Default::default();
/// let classifier = Classifier::<Flex>::fashion_mnist(&device);
/// let black = Tensor::ones([2, 1, 28, 28], &device) * -1.0;
/// assert_eq!(classifier.extract(black.clone()).dims(), [2, classifier.width()]);
/// assert_eq!(classifier.classify(black).len(), 2);
/// ```
#[derive(Module, Debug)]
pub struct Classifier<B: Backend> {
    /// From the pixels to the first channels.
    pub stem: Conv2d<B>,
    /// The norm before the first halving.
    pub stem_norm: GroupNorm<B>,
    /// From 28×28 to 14×14 pixels.
    pub down1: Conv2d<B>,
    /// At 14×14 pixels.
    pub block1: ResidualBlock<B>,
    /// From 14×14 to 7×7 pixels.
    pub down2: Conv2d<B>,
    /// At 7×7 pixels.
    pub block2: ResidualBlock<B>,
    /// The norm before the features.
    pub norm: GroupNorm<B>,
    /// From each pixel's channels to the features.
    pub features: Conv2d<B>,
    /// From the features to the classes.
    pub classes: Linear<B>,
}

/// Two convolutions, each behind a norm and SiLU, around which the input passes unchanged.
#[derive(Module, Debug)]
pub struct ResidualBlock<B: Backend> {
    /// The norm before the first convolution.
    pub norm1: GroupNorm<B>,
    /// The first convolution.
    pub conv1: Conv2d<B>,
    /// The norm before the second convolution.
    pub norm2: GroupNorm<B>,
    /// The second convolution.
    pub conv2: Conv2d<B>,
}

impl<B: Backend> ResidualBlock<B> {
    fn new(init: Init, channels: usize, stream: &mut Stream, device: &B::Device) -> Self {
        let mut conv = || init.conv2d(init, [channels; 2], Window::conv3x3(), stream, device);
        Self { norm1: norm(channels, device), conv1: conv(), norm2: norm(channels, device), conv2: conv() }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let h = conv2d(&self.conv1, group_norm_silu(&self.norm1, x.clone()));
        x + conv2d(&self.conv2, group_norm_silu(&self.norm2, h))
    }
}

impl<B: Backend> Classifier<B> {
    /// The classifier for Fashion-MNIST, by the weights that come with this crate; its classes are numbered as there.
    ///
    /// docs/evaluation.md says by which command they were trained and how many images of the test set they tell right.
    pub fn fashion_mnist(device: &B::Device) -> Self {
        let file = TensorFile::from_bytes("fashion-mnist.safetensors", FASHION_MNIST.to_vec());
        file.and_then(|file| Self::load(&file, device)).expect("the weights fit the network beside them")
    }

    /// A classifier with weights of your own: a file that was written of one by
    /// [`write_half`](diffusion_weights::write_half).
    ///
    /// # Errors
    /// If the file cannot be read, or its tensors have other names or shapes or a value that is not finite.
    pub fn open(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, WeightsError> {
        Self::load(&TensorFile::open(path)?, device)
    }

    /// An untrained classifier, whose weights follow from `seed`.
    pub fn untrained(seed: u64, device: &B::Device) -> Self {
        Self::init(Init::Torch, &mut Stream::new(seed, Purpose::PARAMETERS, 0, 0), device)
    }

    fn load(file: &TensorFile, device: &B::Device) -> Result<Self, WeightsError> {
        let blank = Self::init(Init::Unset, &mut Stream::new(0, Purpose::PARAMETERS, 0, 0), device);
        Ok(import_tensors(blank, &NameTable::own_paths(), &[], file, None)?.0)
    }

    fn init(init: Init, stream: &mut Stream, device: &B::Device) -> Self {
        let [first, middle, last] = CHANNELS;
        let halving = Window { kernel: 3, stride: 2, padding: PaddingConfig2d::Explicit(1, 1, 1, 1) };
        Self {
            stem: init.conv2d(init, [1, first], Window::conv3x3(), stream, device),
            stem_norm: norm(first, device),
            down1: init.conv2d(init, [first, middle], halving.clone(), stream, device),
            block1: ResidualBlock::new(init, middle, stream, device),
            down2: init.conv2d(init, [middle, last], halving, stream, device),
            block2: ResidualBlock::new(init, last, stream, device),
            norm: norm(last, device),
            features: init.conv2d(init, [last, WIDTH], Window::pointwise(), stream, device),
            classes: init.linear(Some(init), [WIDTH, CLASSES], stream, device),
        }
    }

    /// How likely each class is, as a logarithm up to a constant per image.
    ///
    /// # Shapes
    /// - `images`: as [`extract`](FeatureExtractor::extract)
    /// - returns `[batch, 10]`
    ///
    /// # Panics
    /// As [`extract`](FeatureExtractor::extract).
    pub fn logits(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        linear(&self.classes, self.extract(images))
    }

    /// The probability of each class; of the most probable one it is how sure the classifier is.
    ///
    /// # Shapes
    /// - `images`: as [`extract`](FeatureExtractor::extract)
    /// - returns `[batch, 10]`, each row with the sum 1
    ///
    /// # Panics
    /// As [`extract`](FeatureExtractor::extract).
    pub fn probabilities(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        softmax(self.logits(images), 1)
    }

    /// The most probable class of each image, from 0 to 9.
    ///
    /// # Shapes
    /// - `images`: as [`extract`](FeatureExtractor::extract)
    ///
    /// # Panics
    /// As [`extract`](FeatureExtractor::extract).
    pub fn classify(&self, images: Tensor<B, 4>) -> Vec<usize> {
        let logits: Vec<f32> = self.logits(images).into_data().iter::<f32>().collect();
        let best = |logits: &[f32]| (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        logits.chunks_exact(CLASSES).map(|logits| best(logits).unwrap_or(0)).collect()
    }
}

impl<B: Backend> FeatureExtractor<B> for Classifier<B> {
    fn width(&self) -> usize {
        WIDTH
    }

    /// # Shapes
    /// - `images`: `[batch, channels, 28, 28]`, values in [−1, 1], 1 or 3 channels, of which three are averaged
    /// - returns `[batch, 96]`
    ///
    /// # Panics
    /// If the images are of another size, or have another number of channels.
    fn extract(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let [_, channels, height, width] = images.dims();
        assert!(
            [height, width] == [SIZE; 2] && [1, 3].contains(&channels),
            "images of {channels} channels and {height}×{width} pixels were given, expected 1 or 3 channels and \
             {SIZE}×{SIZE} pixels"
        );
        let gray = if channels == 1 { images } else { images.mean_dim(1) };
        let h = conv2d(&self.down1, group_norm_silu(&self.stem_norm, conv2d(&self.stem, gray)));
        let h = conv2d(&self.down2, self.block1.forward(h));
        let h = group_norm_silu(&self.norm, self.block2.forward(h));
        let h = silu(conv2d(&self.features, h)).flatten::<3>(2, 3); // [batch, 96, 49]
        h.mean_dim(2).flatten::<2>(1, 2)
    }
}

/// A norm without effect on scale and shift.
fn norm<B: Backend>(channels: usize, device: &B::Device) -> GroupNorm<B> {
    GroupNorm {
        gamma: Some(Param::from_tensor(Tensor::ones([channels], device))),
        beta: Some(Param::from_tensor(Tensor::zeros([channels], device))),
        num_groups: GROUPS,
        num_channels: channels,
        epsilon: 1e-5,
        affine: true,
    }
}
