//! Latents as images, to be seen.

use crate::error::RecipeError;
use crate::samples::Samples;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::Invalid;
use diffusion::core::watch::Watch;
use diffusion::data::ScaledLatents;
use diffusion::latent::{Autoencoder, AutoencoderConfig};
use diffusion::weights::{TensorFile, WeightsError};
use std::path::Path;

/// The images of latents, `batch_size` at once; [in tiles](Autoencoder::decode_in_tiles) where that is asked for. `codec` is
/// how the network sees them; without it they are as the encoder's mean has them, unscaled.
///
/// # Errors
/// If the latents are not of the autoencoder's channels, or `watch` is stopped.
pub fn decode<B: Backend>(
    latents: &Samples,
    codec: Option<ScaledLatents>,
    autoencoder: &Autoencoder<B>,
    (in_tiles, batch_size): (bool, usize),
    watch: &Watch,
    device: &B::Device,
) -> Result<Samples, RecipeError> {
    let &[channels, height, width] = &latents.shape[..] else {
        let reason = format!("are of shape {:?}, expected channels, height and width", latents.shape);
        return Err(Invalid::new("latents", reason).into());
    };
    check_decoder(&autoencoder.config, channels)?;
    let (factor, count) = (autoencoder.config.factor(), latents.count());
    let mut values = Vec::new();
    for (i, chunk) in latents.values.chunks(batch_size.max(1) * channels * height * width).enumerate() {
        watch.report("decoding", (i * batch_size.max(1)) as u64, Some(count as u64))?;
        let unscaled = match codec {
            Some(codec) => diffusion::data::Codec::decode(&codec, chunk),
            None => chunk.to_vec(),
        };
        let batch = chunk.len() / (channels * height * width);
        let data = TensorData::new(unscaled, [batch, channels, height, width]);
        let unscaled = Tensor::<B, 4>::from_data(data, device);
        let images = match in_tiles {
            true => autoencoder.decode_in_tiles(autoencoder.scale(unscaled)),
            false => autoencoder.decode_unscaled(unscaled),
        };
        values.extend(images.into_data().iter::<f32>());
    }
    let shape = vec![autoencoder.config.out_channels, height * factor, width * factor];
    Ok(Samples { start: Vec::new(), values, shape, is_latent: false, ..latents.clone() })
}

/// Finds out whether an autoencoder decodes latents of so many `channels`.
///
/// # Errors
/// If it does not; the setting that is named is `decoder`.
pub fn check_decoder(config: &AutoencoderConfig, channels: usize) -> Result<(), Invalid> {
    let expected = config.latent_channels;
    Invalid::unless(channels == expected, "decoder", || {
        format!("takes latents of {expected} channels, and these have {channels}")
    })
}

/// The latents in a safetensors file, unscaled: the tensor `samples`, as `diffusion sample` writes it, or `latent_mean`, as
/// [`encode`](crate::encode()) does.
///
/// # Errors
/// If the file cannot be read, has neither, or one of another shape than `[count, channels, height, width]`.
pub fn read_latents(path: impl AsRef<Path>) -> Result<Samples, RecipeError> {
    let path = path.as_ref();
    let names = ["samples", "latent_mean"];
    let not = |reason: String| RecipeError::NoLatents { path: path.to_path_buf(), reason };
    let file = TensorFile::open_safetensors(path).map_err(|error| match error {
        WeightsError::NotAStateDict { reason, .. } => not(reason),
        error => error.into(),
    })?;
    let name = names.into_iter().find(|name| file.shape(name).is_some());
    let name = name.ok_or_else(|| not(format!("it has neither `{}` nor `{}`", names[0], names[1])))?;
    let shape = file.shape(name).unwrap_or_default().to_vec();
    if !file.dtype(name).is_some_and(diffusion::weights::Dtype::is_float) || shape.len() != 4 {
        return Err(not(format!("`{name}` is of shape {shape:?}, expected numbers of four axes")));
    }
    let values = file.read(name)?;
    let (shape, start, class_names) = (shape[1..].to_vec(), Vec::new(), Vec::new());
    Ok(Samples { start, values, shape, is_latent: true, labels: None, period: None, class_names })
}
