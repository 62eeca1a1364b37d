//! The Inception network (Szegedy et al. 2016, arXiv:1512.00567) of the Fréchet inception distance (Heusel et al. 2017,
//! arXiv:1706.08500).
//!
//! It is TensorFlow's of 2015-12-05, as pytorch-fid and torch-fidelity have it, and not torchvision's: an average does not
//! count what is beyond the border, and the last block takes a maximum in its place. Images are resized to 299×299 pixels
//! between the two nearest pixels, without smoothing.

mod plan;

use super::FeatureExtractor;
use super::published::{ExtractError, Published};
use super::resize::{bilinear, resize, three_channels};
use burn::module::Param;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::layer::conv2d;
use diffusion_weights::{StateDict, TensorFile, read_tensors};
use plan::{Branch, Conv, Layer, Pool, layers};
use std::collections::BTreeMap;
use std::path::Path;

/// The weights of [`InceptionV3`].
pub const INCEPTION_WEIGHTS: Published = Published {
    file: "pt_inception-2015-12-05-6726825d.pth",
    mib: 91,
    sha256: Some("6726825d"),
    place: "with the release fid_weights of github.com/mseitzer/pytorch-fid",
};

/// Height and width of the images that the network sees.
const SIDE: usize = 299;

/// How many features an image has.
const FEATURES: usize = 2048;

/// The ε of the batch norms.
const EPSILON: f64 = 1e-3;

/// What the network has for its classes, which has no part in the features, and for how many classes.
const CLASSES: &str = "fc";
const CLASS_COUNT: usize = 1008;

/// The network of the Fréchet inception distance, whose 2048 features are those of the last average pooling.
///
/// Published distances are of images of 8 bits: round to them before, where yours are not.
#[derive(Debug)]
pub struct InceptionV3<B: Backend> {
    layers: Vec<Layer<Conv2d<B>>>,
}

impl<B: Backend> InceptionV3<B> {
    /// Opens [`INCEPTION_WEIGHTS`], as `torch.save` wrote them, or a safetensors file with tensors of the same names. What is
    /// of the classes is passed over. All names and shapes are compared before a value is read; the batch norms then become
    /// part of the convolutions.
    ///
    /// # Errors
    /// If there is no file; if it cannot be read; if tensors are missing, superfluous, of another shape or not finite: all of
    /// them in one error; if a variance is negative; or if they are those of torchvision, which fit, and make other features.
    pub fn open(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, ExtractError> {
        let path = path.as_ref();
        INCEPTION_WEIGHTS.expect_at(path)?;
        let file = TensorFile::open(path)?;
        // torchvision's has a second output, and eight classes less.
        let classes = file.shape(&format!("{CLASSES}.weight")).and_then(|shape| shape.first().copied());
        let is_beside = |name: &str| name.split('.').any(|part| part == "AuxLogits");
        if file.names().any(is_beside) || classes.is_some_and(|classes| classes != CLASS_COUNT) {
            return Err(ExtractError::Torchvision { path: path.to_path_buf(), published: INCEPTION_WEIGHTS });
        }
        let is_other = |name: &str| name.split('.').any(|part| part == CLASSES);
        let file = file.renamed(|name| (!is_other(name)).then(|| name.to_string()));
        let plan = layers();
        let mut shapes = BTreeMap::new();
        for conv in plan.iter().flat_map(Layer::convs) {
            let norm = NORM.map(|tensor| (format!("{}.bn.{tensor}", conv.name), vec![conv.outputs]));
            shapes.extend(norm);
            shapes.insert(format!("{}.conv.weight", conv.name), conv.shape().to_vec());
        }
        let (mut weights, _) = read_tensors(&shapes, &file, None)?;
        let mut folded = |conv: Conv| folded(&conv, &mut weights, path, device);
        let layers = plan.into_iter().map(|layer| layer.try_map(&mut folded)).collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }
}

impl<B: Backend> FeatureExtractor<B> for InceptionV3<B> {
    fn width(&self) -> usize {
        FEATURES
    }

    fn extract(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let mut x = resize(three_channels(images), SIDE, &bilinear);
        for layer in &self.layers {
            x = forward(layer, x);
        }
        x.mean_dim(3).mean_dim(2).flatten(1, 3)
    }
}

/// A batch norm's tensors: scale, shift, mean and variance.
const NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The convolution that does what the one of the file and its batch norm do: w·γ/√(σ² + ε), and β − μ·γ/√(σ² + ε).
fn folded<B: Backend>(
    conv: &Conv,
    weights: &mut StateDict,
    path: &Path,
    device: &B::Device,
) -> Result<Conv2d<B>, ExtractError> {
    let mut take = |name: &str| {
        let data = weights.remove(&format!("{}.{name}", conv.name));
        data.map(|data| data.iter::<f32>().collect::<Vec<f32>>()).unwrap_or_default()
    };
    let [scale, shift, mean, variance] = NORM.map(|tensor| take(&format!("bn.{tensor}")));
    if let Some((index, &value)) = variance.iter().enumerate().find(|(_, value)| **value < 0.0) {
        let name = format!("{}.bn.running_var", conv.name);
        return Err(ExtractError::Variance { path: path.to_path_buf(), name, index, value });
    }
    let factor =
        |(scale, variance): (&f32, &f32)| f64::from(*scale) / (f64::from(*variance) + EPSILON).sqrt();
    let factors: Vec<f64> = scale.iter().zip(&variance).map(factor).collect();
    let shifts = shift.iter().zip(&mean).zip(&factors);
    let bias = shifts.map(|((shift, mean), factor)| (f64::from(*shift) - f64::from(*mean) * factor) as f32);
    let bias = TensorData::new(bias.collect::<Vec<f32>>(), [conv.outputs]);
    let mut kernels = take("conv.weight");
    let per_output = conv.shape()[1..].iter().product();
    for (kernel, factor) in kernels.chunks_exact_mut(per_output).zip(&factors) {
        kernel.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * factor) as f32);
    }
    let [vertical, horizontal] = conv.padding;
    Ok(Conv2d {
        weight: Param::from_data(TensorData::new(kernels, conv.shape()), device),
        bias: Some(Param::from_data(bias, device)),
        stride: [conv.stride; 2],
        kernel_size: conv.kernel,
        dilation: [1, 1],
        groups: 1,
        padding: PaddingConfig2d::Explicit(vertical, horizontal, vertical, horizontal),
    })
}

/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - returns `[batch, outputs, height, width]` of the result
fn forward<B: Backend>(layer: &Layer<Conv2d<B>>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    match layer {
        Layer::Conv(conv) => relu(conv2d(conv, x)),
        Layer::Pool(pool) => pooled(*pool, x),
        Layer::Mixed(branches) => {
            Tensor::cat(branches.iter().map(|branch| along(branch, x.clone())).collect(), 1)
        }
    }
}

/// What one branch of a block makes of the block's input.
fn along<B: Backend>(branch: &Branch<Conv2d<B>>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let x = branch.pool.map_or_else(|| x.clone(), |pool| pooled(pool, x.clone()));
    let x = branch.convs.iter().fold(x, |x, conv| relu(conv2d(conv, x)));
    if branch.ends.is_empty() {
        return x;
    }
    Tensor::cat(branch.ends.iter().map(|conv| relu(conv2d(conv, x.clone()))).collect(), 1)
}

fn pooled<B: Backend>(pool: Pool, x: Tensor<B, 4>) -> Tensor<B, 4> {
    match pool {
        Pool::Halve => max_pool2d(x, [3, 3], [2, 2], [0, 0], [1, 1], false),
        Pool::Max => max_pool2d(x, [3, 3], [1, 1], [1, 1], [1, 1], false),
        Pool::Average => avg_pool2d(x, [3, 3], [1, 1], [1, 1], false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    /// One channel to two, by a kernel of one pixel.
    fn weights(variances: [f32; 2]) -> (Conv, StateDict) {
        let conv =
            Conv { name: "c".to_string(), inputs: 1, outputs: 2, kernel: [1, 1], stride: 1, padding: [0, 0] };
        let tensors = [
            ("c.conv.weight", TensorData::new(vec![3.0f32, -2.0], [2, 1, 1, 1])),
            ("c.bn.weight", TensorData::from([0.5f32, 2.0])),
            ("c.bn.bias", TensorData::from([1.0f32, -1.0])),
            ("c.bn.running_mean", TensorData::from([4.0f32, 0.5])),
            ("c.bn.running_var", TensorData::from(variances)),
        ];
        (conv, tensors.into_iter().collect())
    }

    #[test]
    fn a_batch_norm_becomes_part_of_its_convolution() {
        // With ε, 4 and 1/4.
        let (conv, mut dict) = weights([3.999, 0.249]);
        let device = Default::default();
        let layer = folded::<Flex>(&conv, &mut dict, Path::new("file"), &device).unwrap();
        let x = Tensor::<Flex, 4>::from_floats([[[[10.0]]]], &device);
        // 0.5·(30 − 4)/2 + 1 and 2·(−20 − 0.5)·2 − 1.
        let found: Vec<f32> = layer.forward(x).into_data().iter().collect();
        assert!((found[0] - 7.5).abs() < 1e-4 && (found[1] + 83.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn a_negative_variance_is_an_error() {
        let (conv, mut dict) = weights([1.0, -0.5]);
        let found = folded::<Flex>(&conv, &mut dict, Path::new("file"), &Default::default());
        let Err(ExtractError::Variance { name, index, value, .. }) = found else {
            panic!("expected an error, not {found:?}")
        };
        assert_eq!((name.as_str(), index, value), ("c.bn.running_var", 1, -0.5));
    }
}
