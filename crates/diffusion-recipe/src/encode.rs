//! A folder of images as latents, which training then reads instead.

use crate::encoded::{ABOUT, Encoded};
use crate::error::RecipeError;
use crate::images::ImageSize;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::Invalid;
use diffusion::core::watch::Watch;
use diffusion::data::{Channels, Dataset, ImageFolder, ImageFolderConfig, Images, identity};
use diffusion::latent::Autoencoder;
use diffusion::weights::{TensorFile, write_atomically};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Which images are to be encoded, and how.
#[derive(Clone, Debug)]
pub struct EncodeRequest {
    /// The folder of images; a subfolder is a class.
    pub images: PathBuf,
    /// What the images are brought to, a multiple of the autoencoder's factor.
    pub size: ImageSize,
    /// The folder of latents.
    pub out: PathBuf,
    /// How many images are encoded at once.
    pub batch_size: usize,
    /// Whether large images are encoded [in tiles](Autoencoder::encode_moments_in_tiles).
    pub in_tiles: bool,
    /// Whether latents of other images or settings, which are there already, are replaced.
    pub overwrite: bool,
}

/// Images of a shard.
const SHARD: usize = 1024;

/// Encodes a folder of images: the means that the autoencoder finds for each image and for its mirror image, unscaled, in
/// shards of 1024 images as [`Latents`](diffusion::data::Latents) reads them, with the classes as labels. What was stopped
/// goes on where the same is asked for again: shards that are complete stay.
///
/// # Errors
/// If the images cannot be read, their size is no multiple of the autoencoder's factor, the folder has latents of other
/// images or settings and they are not to be replaced, a latent is not finite, or the file system refuses; or if `watch` is
/// stopped.
pub fn encode<B: Backend>(
    request: &EncodeRequest,
    autoencoder: &Autoencoder<B>,
    device: &B::Device,
    watch: &Watch,
) -> Result<Encoded, RecipeError> {
    let ImageSize { height, width } = request.size;
    let factor = autoencoder.config.factor();
    if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
        let reason = format!("is {height}x{width}, expected multiples of {factor} pixels");
        return Err(Invalid::new("size", reason).into());
    }
    let channels = match autoencoder.config.in_channels {
        1 => Channels::Gray,
        _ => Channels::Rgb,
    };
    let config = ImageFolderConfig { height, width, channels };
    config.validate().map_err(|_| Invalid::new("size", too_large(request.size)))?;
    let images = ImageFolder::open_within(&request.images, config, None, watch)?;
    let about = about(request, &images, autoencoder);
    begin(request, &about)?;
    let shards = images.len().div_ceil(SHARD);
    for shard in 0..shards {
        let path = request.out.join(format!("latents-{shard:05}-of-{shards:05}.safetensors"));
        let range = shard * SHARD..((shard + 1) * SHARD).min(images.len());
        if is_complete(&path, &about, range.len()) {
            continue;
        }
        let encoder = Encoder { request, autoencoder, images: &images, device, watch };
        encoder.shard(&path, range, about.latent_shape)?;
    }
    Ok(about)
}

fn too_large(size: ImageSize) -> String {
    format!("is {}x{}, expected at most 16384 pixels each", size.height, size.width)
}

fn about<B: Backend>(request: &EncodeRequest, images: &Images, autoencoder: &Autoencoder<B>) -> Encoded {
    let (config, ImageSize { height, width }) = (&autoencoder.config, request.size);
    let settings = format!("{config:?}");
    let paths = (0..images.len()).flat_map(|index| images.identity(index).to_le_bytes());
    let bytes: Vec<u8> = paths.chain(settings.bytes()).collect();
    let scale = config.scaling_factor;
    Encoded {
        count: images.len(),
        image_size: [height, width],
        latent_shape: [config.latent_channels, height / config.factor(), width / config.factor()],
        scale,
        // Without a zero of the other sign.
        shift: 0.0 - config.shift_factor * scale,
        in_tiles: request.in_tiles,
        text: None,
        classes: images.class_names().unwrap_or_default().to_vec(),
        fingerprint: format!("{:016x}", identity::hash(&bytes)),
    }
}

/// Makes the folder, or finds out that it is of the same images and settings.
fn begin(request: &EncodeRequest, about: &Encoded) -> Result<(), RecipeError> {
    let out = &request.out;
    fs::create_dir_all(out).map_err(RecipeError::io("make", out))?;
    let found = Encoded::read(out)?;
    let shards = shards_in(out)?;
    match found {
        Some(found) if found == *about => return Ok(()),
        None if shards.is_empty() => {}
        _ if request.overwrite => {
            for shard in &shards {
                fs::remove_file(shard).map_err(RecipeError::io("remove", shard))?;
            }
        }
        _ => return Err(RecipeError::OtherLatents(out.clone())),
    }
    let path = out.join(ABOUT);
    let text = toml::to_string(about).map_err(|error| RecipeError::WriteToml(error.to_string()))?;
    write_atomically(&path, |file| file.write_all(text.as_bytes())).map_err(RecipeError::io("write", &path))
}

/// The files of latents that [`encode`] has written.
fn shards_in(folder: &Path) -> Result<Vec<PathBuf>, RecipeError> {
    let entries = fs::read_dir(folder).map_err(RecipeError::io("list", folder))?;
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("latents-") && name.ends_with(".safetensors")
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_ours).collect())
}

fn is_complete(path: &Path, about: &Encoded, count: usize) -> bool {
    let shape = [&[count], &about.latent_shape[..]].concat();
    let has_shape = |file: &TensorFile, name| file.shape(name) == Some(&shape[..]);
    TensorFile::open_safetensors(path).is_ok_and(|file| has_shape(&file, MEAN) && has_shape(&file, MIRRORED))
}

const MEAN: &str = "latent_mean";
const MIRRORED: &str = "latent_mean_flip";

struct Encoder<'a, B: Backend> {
    request: &'a EncodeRequest,
    autoencoder: &'a Autoencoder<B>,
    images: &'a Images,
    device: &'a B::Device,
    watch: &'a Watch,
}

impl<B: Backend> Encoder<'_, B> {
    /// Writes the shard of the images `range`.
    fn shard(&self, path: &Path, range: Range<usize>, shape: [usize; 3]) -> Result<(), RecipeError> {
        let (mut means, mut mirrored, mut labels) = (Vec::new(), Vec::new(), Vec::<u8>::new());
        let (count, total) = (range.len(), Some(self.images.len() as u64));
        let indices: Vec<usize> = range.clone().collect();
        for indices in indices.chunks(self.request.batch_size.max(1)) {
            self.watch.report("encoding images", indices[0] as u64, total)?;
            let (pixels, classes) = self.images.gather(indices)?;
            let pixels = Tensor::<B, 4>::from_data(pixels, self.device);
            self.add(&mut means, pixels.clone(), path)?;
            self.watch.check()?;
            // The mean of the mirrored image is not the mirrored mean.
            self.add(&mut mirrored, pixels.flip([3]), path)?;
            labels.extend(classes.0.iter().flat_map(|&class| (class as i64).to_le_bytes()));
        }
        let shape = [&[count], &shape[..]].concat();
        let view = |bytes| TensorView::new(Dtype::F32, shape.clone(), bytes);
        let tensors = view(&means).and_then(|mean| {
            let label = TensorView::new(Dtype::I64, vec![count], &labels)?;
            Ok([(MEAN, mean), (MIRRORED, view(&mirrored)?), ("label", label)])
        });
        let bytes = tensors.and_then(|tensors| safetensors::serialize(tensors, None)).map_err(Error::other);
        let written = bytes.and_then(|bytes| write_atomically(path, |file| file.write_all(&bytes)));
        written.map_err(RecipeError::io("write", path))
    }

    /// Adds the means of some images.
    fn add(&self, means: &mut Vec<u8>, pixels: Tensor<B, 4>, path: &Path) -> Result<(), RecipeError> {
        let moments = match self.request.in_tiles {
            true => self.autoencoder.encode_moments_in_tiles(pixels),
            false => self.autoencoder.encode_moments(pixels),
        };
        for value in moments.mean.into_data().iter::<f32>() {
            if !value.is_finite() {
                let reason = Error::new(ErrorKind::InvalidData, "the autoencoder's latents are not finite");
                return Err(RecipeError::io("write", path)(reason));
            }
            means.extend(value.to_le_bytes());
        }
        Ok(())
    }
}
