//! What of examples is compared: their values, or what a network makes of them.

use crate::error::RecipeError;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::{Invalid, named};
use diffusion::data::pixels;
use diffusion::eval::Features;
use diffusion::eval::extract::classifier::Classifier;
use diffusion::eval::extract::{
    DINOV2_WEIGHTS, Dinov2, FeatureExtractor, INCEPTION_WEIGHTS, InceptionV3, Published,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What of examples is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureKind {
    /// Their values as they are: of points the coordinates, of images the pixels, in [−1, 1] and rounded to bytes.
    Pixels,
    /// The layer below the classes of the classifier of clothes that comes with this library, of gray images of 28 × 28 pixels.
    FashionMnist,
    /// The last pooling of Inception v3, as the FID has it; its published weights are in a file of the user's.
    Inception,
    /// The class token of DINOv2 ViT-L/14; likewise.
    Dinov2,
}

named!(FeatureKind {
    Pixels = "pixels",
    FashionMnist = "fashion-mnist",
    Inception = "inception",
    Dinov2 = "dinov2",
});

impl FeatureKind {
    /// The best features of examples of a shape that need no file.
    pub fn best(shape: &[usize]) -> Self {
        if *shape == CLOTHES { Self::FashionMnist } else { Self::Pixels }
    }

    /// Whether its weights are in a file of the user's.
    pub const fn has_weights(self) -> bool {
        matches!(self, Self::Inception | Self::Dinov2)
    }
}

/// The most features of which there is a Fréchet distance: their covariance takes 8 bytes for each pair.
pub(crate) const MOST_FEATURES: usize = 4_096;

/// Images for a network at once, and for one of large images.
const AT_ONCE: usize = 256;
const FEW_AT_ONCE: usize = 16;

/// The shape of the images that the classifier of clothes takes.
const CLOTHES: [usize; 3] = [1, 28, 28];

/// Makes features of examples of one shape.
pub(crate) struct Extractor<B: Backend> {
    shape: Vec<usize>,
    /// Whether they are pixels, which are rounded to bytes as they are in pictures.
    of_pixels: bool,
    network: Option<Box<dyn FeatureExtractor<B>>>,
    at_once: usize,
    device: B::Device,
}

impl<B: Backend> Extractor<B> {
    /// Features of this kind of examples of this shape, which are pixels or not; `weights` is the file of a network's.
    ///
    /// # Errors
    /// If the kind does not suit the examples, or the file is missing or another network's.
    pub fn new(
        kind: FeatureKind,
        weights: Option<&PathBuf>,
        (shape, of_pixels): (&[usize], bool),
        device: &B::Device,
    ) -> Result<Self, RecipeError> {
        if weights.is_some() && !kind.has_weights() {
            let reason = format!("was given, and the features {} have no file", kind.name());
            return Err(Invalid::new("feature-weights", reason).into());
        }
        let is_image = of_pixels && matches!(shape, [1 | 3, _, _]);
        if kind != FeatureKind::Pixels && !is_image {
            let found = if of_pixels { format!("of shape {shape:?}") } else { "no pixels".to_string() };
            let reason = format!(
                "{} are of gray images or images in color, and the examples are {found}; `pixels` are of any",
                kind.name()
            );
            return Err(Invalid::new("features", reason).into());
        }
        let (network, at_once) = network(kind, weights.map(PathBuf::as_path), shape, device)?;
        Ok(Self { shape: shape.to_vec(), of_pixels: is_image, network, at_once, device: device.clone() })
    }

    /// The number of features of an example.
    pub fn width(&self) -> usize {
        match &self.network {
            None => self.shape.iter().product(),
            Some(network) => network.width(),
        }
    }

    /// How many examples are best taken at once.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// The features of finite examples, `[count, …]` in row-major order.
    ///
    /// # Errors
    /// If a feature is not finite.
    pub fn features(&self, values: &[f32]) -> Result<Features, RecipeError> {
        let values: Vec<f32> = match self.of_pixels {
            true => values.iter().map(|&x| pixels::from_u8(pixels::to_u8(x))).collect(),
            false => values.to_vec(),
        };
        let (Some(network), &[channels, height, width]) = (&self.network, &self.shape[..]) else {
            return Ok(Features::new(values, self.width())?);
        };
        let mut features = Vec::new();
        for images in values.chunks(self.at_once * channels * height * width) {
            let count = images.len() / (channels * height * width);
            let data = TensorData::new(images.to_vec(), [count, channels, height, width]);
            let found = network.extract(Tensor::from_data(data, &self.device));
            features.extend(found.into_data().convert::<f32>().iter::<f32>());
        }
        Ok(Features::new(features, self.width())?)
    }
}

/// A kind's network, and for how many images at once.
type Network<B> = (Option<Box<dyn FeatureExtractor<B>>>, usize);

fn network<B: Backend>(
    kind: FeatureKind,
    weights: Option<&Path>,
    shape: &[usize],
    device: &B::Device,
) -> Result<Network<B>, RecipeError> {
    let file = |published: Published| {
        weights.ok_or_else(|| {
            let reason = format!("is missing: {} needs {published}", kind.name());
            Invalid::new("feature-weights", reason)
        })
    };
    Ok(match kind {
        FeatureKind::Pixels => (None, AT_ONCE),
        FeatureKind::FashionMnist if *shape != CLOTHES => {
            let reason = format!(
                "{} are of gray images of 28 × 28 pixels, and the examples are of shape {shape:?}",
                kind.name()
            );
            return Err(Invalid::new("features", reason).into());
        }
        FeatureKind::FashionMnist => (Some(Box::new(Classifier::fashion_mnist(device))), AT_ONCE),
        FeatureKind::Inception => {
            (Some(Box::new(InceptionV3::open(file(INCEPTION_WEIGHTS)?, device)?)), FEW_AT_ONCE)
        }
        FeatureKind::Dinov2 => (Some(Box::new(Dinov2::open(file(DINOV2_WEIGHTS)?, device)?)), FEW_AT_ONCE),
    })
}
