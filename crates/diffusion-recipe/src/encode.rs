//! A folder of images as latents, which training then reads instead.

use crate::encode_texts::{CaptionNote, Captions, ShardTexts};
use crate::encoded::{ABOUT, Encoded, EncodedParts, tensor_files};
use crate::error::RecipeError;
use crate::images::ImageSize;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::Invalid;
use diffusion::core::watch::Watch;
use diffusion::data::{
    Channels, Dataset, ImageCaptions, ImageFolder, ImageFolderConfig, Images, ShardName, identity,
};
use diffusion::latent::{Autoencoder, Folder};
use diffusion::weights::{TensorFile, write_atomically};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::num::NonZero;
use std::ops::Range;
use std::path::{self, Path, PathBuf};

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
    /// Whether [captions](ImageFolder::open_captioned) are encoded too, where there are some and the model has a text
    /// encoder.
    pub captions: bool,
    /// Whether latents of other images or settings, which are there already, are replaced.
    pub overwrite: bool,
}

/// Images of a shard.
const SHARD: NonZero<usize> = const { NonZero::new(256).unwrap() };

/// Encodes a folder of images by the autoencoder of a folder of diffusers: the means that it finds for each image and for
/// its mirror image, unscaled, in shards of 256 images as [`Latents`](diffusion::data::Latents) reads them, with the classes
/// as labels. What was stopped goes on where the same is asked for again: shards that are complete stay.
///
/// Captions are encoded by the folder's text encoder, and stored as [`CaptionedLatents`](diffusion::data::CaptionedLatents)
/// reads them: in each shard every different one once. `tell` is told what of them is left out.
///
/// # Errors
/// If the folder has no autoencoder or a part of it cannot be opened; if the images or their captions cannot be read, the
/// size is no multiple of the autoencoder's factor, the folder has latents of other images, captions or settings and they
/// are not to be replaced, it lies in that of the images or has safetensors files of other makers, a latent or a text
/// is not finite, or the file system refuses; or if `watch` is stopped.
pub fn encode<B: Backend>(
    request: &EncodeRequest,
    folder: &Folder,
    device: &B::Device,
    watch: &Watch,
    tell: &mut dyn FnMut(CaptionNote),
) -> Result<Encoded, RecipeError> {
    check_place(&request.out, &request.images)?;
    watch.report("reading the autoencoder", 0, None)?;
    let autoencoder = &Autoencoder::<B>::of(folder, device)?;
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
    let (images, captions) = match request.captions {
        true => ImageFolder::open_captioned(&request.images, config, None, watch)?,
        false => (ImageFolder::open_within(&request.images, config, None, watch)?, ImageCaptions::default()),
    };
    let captions = Captions::<B>::open(captions, folder, device, watch, tell)?;
    let about = begin(request, about(request, &images, autoencoder, captions.as_ref()))?;
    let encoder = Encoder { request, autoencoder, images: &images, captions, device, watch };
    let size = about.shard.get();
    let shards = images.len().div_ceil(size);
    for shard in 0..shards {
        let path = request.out.join(ShardName { number: shard, of: shards }.to_string());
        let range = shard * size..((shard + 1) * size).min(images.len());
        if !is_complete(&path, &about, range.len()) {
            encoder.shard(&path, range, about.latent_shape)?;
        }
    }
    Ok(about)
}

fn too_large(size: ImageSize) -> String {
    format!("is {}x{}, expected at most 16384 pixels each", size.height, size.width)
}

fn about<B: Backend>(
    request: &EncodeRequest,
    images: &Images,
    autoencoder: &Autoencoder<B>,
    captions: Option<&Captions<B>>,
) -> Encoded {
    let (config, ImageSize { height, width }) = (&autoencoder.config, request.size);
    let settings = format!("{config:?}");
    let paths: Vec<u8> = (0..images.len()).flat_map(|index| images.identity(index).to_le_bytes()).collect();
    let texts: Vec<u8> = captions.into_iter().flat_map(Captions::bytes).collect();
    let hash = |bytes: &[u8]| format!("{:016x}", identity::hash(bytes));
    let parts = EncodedParts {
        images: hash(&paths),
        model: hash(settings.as_bytes()),
        captions: captions.map(|_| hash(&texts)).unwrap_or_default(),
    };
    let scale = config.scaling_factor;
    Encoded {
        count: images.len(),
        image_size: [height, width],
        latent_shape: [config.latent_channels, height / config.factor(), width / config.factor()],
        scale,
        // Without a zero of the other sign.
        shift: 0.0 - config.shift_factor * scale,
        in_tiles: request.in_tiles,
        classes: images.class_names().unwrap_or_default().to_vec(),
        fingerprint: hash(&[&paths, settings.as_bytes(), &texts].concat()),
        shard: SHARD,
        parts: Some(parts),
        text: captions.map(|captions| captions.shape),
    }
}

/// Refuses a folder of latents in that of the images: the latents would be taken for a class of them.
fn check_place(out: &Path, images: &Path) -> Result<(), RecipeError> {
    let of_images = resolved(images)?;
    let (lexical, resolved) = (path::absolute(out).map_err(RecipeError::io("find", out))?, resolved(out)?);
    if [lexical, resolved].iter().any(|out| out.starts_with(&of_images)) {
        let (out, images) = (out.to_path_buf(), images.to_path_buf());
        return Err(RecipeError::LatentsAmongImages { out, images });
    }
    Ok(())
}

/// The place of what may not be there yet, links followed as far as it is.
fn resolved(path: &Path) -> Result<PathBuf, RecipeError> {
    let absolute = path::absolute(path).map_err(RecipeError::io("find", path))?;
    let place = absolute.ancestors().find_map(|above| {
        let there = fs::canonicalize(above).ok()?;
        let rest = absolute.strip_prefix(above).ok()?;
        // Without a slash at the end.
        Some(if rest.as_os_str().is_empty() { there } else { there.join(rest) })
    });
    Ok(place.unwrap_or(absolute))
}

/// Makes the folder, or finds out that it is of the same images and settings. What was begun stays in shards of its size.
fn begin(request: &EncodeRequest, about: Encoded) -> Result<Encoded, RecipeError> {
    let out = &request.out;
    fs::create_dir_all(out).map_err(RecipeError::io("make", out))?;
    let found = Encoded::read(out)?;
    let shards = tensor_files(out)?;
    if let Some(other) = shards.iter().find(|path| ShardName::of_file(path).is_none()) {
        return Err(RecipeError::OtherTensors(other.clone()));
    }
    let is_of = |of: usize| shards.iter().filter_map(ShardName::of_file).all(|name| name.of == of);
    let differences = match found {
        Some(found) => {
            let expected = Encoded { shard: found.shard, parts: found.parts.clone(), ..about.clone() };
            let is_same = found == expected;
            if is_same && is_of(about.count.div_ceil(found.shard.get())) {
                return Ok(found);
            }
            Some(if is_same { vec!["shards"] } else { about.differences(&found) })
        }
        None if shards.is_empty() => None,
        None => Some(Vec::new()),
    };
    if let Some(differences) = differences
        && !request.overwrite
    {
        return Err(RecipeError::OtherLatents { path: out.clone(), differences });
    }
    for shard in &shards {
        fs::remove_file(shard).map_err(RecipeError::io("remove", shard))?;
    }
    let path = out.join(ABOUT);
    let text = toml::to_string(&about).map_err(|error| RecipeError::WriteToml(error.to_string()))?;
    write_atomically(&path, |file| file.write_all(text.as_bytes()))
        .map_err(RecipeError::io("write", &path))?;
    Ok(about)
}

fn is_complete(path: &Path, about: &Encoded, count: usize) -> bool {
    let shape = [&[count], &about.latent_shape[..]].concat();
    let has_shape = |file: &TensorFile, name| file.shape(name) == Some(&shape[..]);
    let has_texts = |file: &TensorFile| match (about.text, file.shape(TEXT), file.shape(TOKENS)) {
        (None, None, None) => true,
        (Some(text), Some(rows), Some([_, tokens, width])) => {
            rows == [count] && [*tokens, *width] == [text.tokens, text.width]
        }
        _ => false,
    };
    TensorFile::open_safetensors(path)
        .is_ok_and(|file| has_shape(&file, MEAN) && has_shape(&file, MIRRORED) && has_texts(&file))
}

const MEAN: &str = "latent_mean";
const MIRRORED: &str = "latent_mean_flip";
const TEXT: &str = "text";
const TOKENS: &str = "text_tokens";
const POOLED: &str = "text_pooled";
/// Where a shard has its captions themselves, in the order of [`TOKENS`], as JSON.
const CAPTIONS: &str = "captions";

struct Encoder<'a, B: Backend> {
    request: &'a EncodeRequest,
    autoencoder: &'a Autoencoder<B>,
    images: &'a Images,
    captions: Option<Captions<B>>,
    device: &'a B::Device,
    watch: &'a Watch,
}

impl<B: Backend> Encoder<'_, B> {
    /// Writes the shard of the images `range`.
    fn shard(&self, path: &Path, range: Range<usize>, shape: [usize; 3]) -> Result<(), RecipeError> {
        let (mut means, mut mirrored, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let (count, total) = (range.len(), Some(self.images.len() as u64));
        let indices: Vec<usize> = range.clone().collect();
        for indices in indices.chunks(self.request.batch_size.max(1)) {
            self.watch.report("encoding images", indices[0] as u64, total)?;
            let (pixels, classes) = self.images.gather(indices)?;
            let pixels = Tensor::<B, 4>::from_data(pixels, self.device);
            self.add_means(&mut means, pixels.clone(), path)?;
            self.watch.check()?;
            // The mean of the mirrored image is not the mirrored mean.
            self.add_means(&mut mirrored, pixels.flip([3]), path)?;
            labels.extend(integers(&classes.0));
        }
        let shape = [&[count], &shape[..]].concat();
        let mut tensors = vec![
            (MEAN, Dtype::F32, shape.clone(), means),
            (MIRRORED, Dtype::F32, shape, mirrored),
            ("label", Dtype::I64, vec![count], labels),
        ];
        let mut metadata = None;
        if let Some(captions) = &self.captions {
            let ShardTexts { texts, rows } = captions.of(range);
            let (tokens, pooled) = captions.encode(&texts, self.watch)?;
            let (n, text) = (texts.len(), captions.shape);
            tensors.push((TEXT, Dtype::I64, vec![count], integers(&rows).collect()));
            tensors.push((TOKENS, Dtype::F32, vec![n, text.tokens, text.width], finite(tokens, path)?));
            if let Some(pooled) = pooled {
                tensors.push((POOLED, Dtype::F32, vec![n, pooled.len() / n], finite(pooled, path)?));
            }
            let texts = serde_json::to_string(&texts);
            let texts = texts.map_err(|error| RecipeError::io("write", path)(error.into()))?;
            metadata = Some(HashMap::from([(CAPTIONS.to_string(), texts)]));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(Error::other)?))
        });
        let views = views.collect::<Result<Vec<_>, Error>>();
        let bytes = views.and_then(|views| safetensors::serialize(views, metadata).map_err(Error::other));
        let written = bytes.and_then(|bytes| write_atomically(path, |file| file.write_all(&bytes)));
        written.map_err(RecipeError::io("write", path))
    }

    /// Adds the means of some images.
    fn add_means(&self, means: &mut Vec<u8>, pixels: Tensor<B, 4>, path: &Path) -> Result<(), RecipeError> {
        let moments = match self.request.in_tiles {
            true => self.autoencoder.encode_moments_in_tiles(pixels),
            false => self.autoencoder.encode_moments(pixels),
        };
        means.extend(finite(moments.mean.into_data().iter::<f32>(), path)?);
        Ok(())
    }
}

fn integers(values: &[usize]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|&value| (value as i64).to_le_bytes())
}

/// The bytes of values that are to be written to `path`.
fn finite(values: impl IntoIterator<Item = f32>, path: &Path) -> Result<Vec<u8>, RecipeError> {
    let mut bytes = Vec::new();
    for value in values {
        if !value.is_finite() {
            let reason = Error::new(ErrorKind::InvalidData, "what the model computes is not finite");
            return Err(RecipeError::io("write", path)(reason));
        }
        bytes.extend(value.to_le_bytes());
    }
    Ok(bytes)
}
