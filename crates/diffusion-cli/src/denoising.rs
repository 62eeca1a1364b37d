//! The animation of samples on their way from noise.

use crate::draw;
use crate::error::CliError;
use crate::pictures;
use burn::tensor::TensorData;
use diffusion::core::watch::Watch;
use diffusion_recipe::{RecipeError, SampleProgress, Samples};
use std::path::Path;

/// The most frames besides the noise: of more steps some are left out.
const FRAMES: usize = 60;
/// How long each of them stands, in milliseconds.
const STANDS: u16 = 100;
/// The most images.
const IMAGES: usize = 64;
/// The most pixels of all images together, unless there is one alone.
const PIXELS: usize = 1 << 18;
/// The most points.
const POINTS: usize = 2_000;

/// How many samples of this shape an animation shows at most.
pub fn most(shape: &[usize]) -> usize {
    match *shape {
        [_, height, width] => (PIXELS / (height * width).max(1)).clamp(1, IMAGES),
        _ => POINTS,
    }
}

/// The states of samples on their way.
#[derive(Default)]
pub struct Denoising(Vec<Vec<f32>>);

impl Denoising {
    /// Keeps a state, if there will be a frame of it.
    pub fn take(&mut self, progress: &SampleProgress<'_>) {
        let frames = progress.steps.min(FRAMES);
        let frame = |step: usize| step * frames / progress.steps.max(1);
        let number = frame(progress.step);
        if number == frame(progress.step - 1) {
            return;
        }
        self.0.resize_with(frames, Vec::new);
        // Batches follow each other.
        self.0[number - 1].extend((progress.state)().iter::<f32>());
    }

    /// Writes the animation `path` of `samples`, which came from these states: points over `behind`, or images, of latents
    /// those that `decode` makes of them. Early states are of the noise's size; they are brought down to that of the samples.
    pub fn write(
        self,
        path: &Path,
        samples: &Samples,
        behind: Option<TensorData>,
        decode: impl Fn(&Samples) -> Result<Option<Samples>, RecipeError>,
        watch: &Watch,
    ) -> Result<(), CliError> {
        let size = rms(&samples.values);
        let mut states = self.0;
        // The last state may be mended after its step, e.g. where a mask says so.
        states.pop();
        let (mut frames, count) = (Vec::new(), states.len() as u64 + 2);
        for state in [samples.start.clone()].into_iter().chain(states).chain([samples.values.clone()]) {
            let scale = (size / rms(&state)).min(1.0);
            let values = match scale.is_finite() {
                true => state.into_iter().map(|x| x * scale).collect(),
                false => state,
            };
            let state = Samples { values, ..samples.clone() };
            watch
                .report("drawing the animation", frames.len() as u64, Some(count))
                .map_err(RecipeError::from)?;
            let images = decode(&state)?;
            let frame = draw::frame(path, images.as_ref().unwrap_or(&state), behind.clone())?;
            frames.push(draw::shrunk(frame));
        }
        Ok(pictures::animation(path, &frames, STANDS)?)
    }
}

/// The root of the mean square of the finite values.
fn rms(values: &[f32]) -> f32 {
    let finite = || values.iter().map(|&x| f64::from(x)).filter(|x| x.is_finite());
    (finite().map(|x| x * x).sum::<f64>() / finite().count() as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two batches, in as many frames as there may be, the last state among them.
    #[test]
    fn states_of_a_step_stand_together() {
        for (steps, frames) in [(1, 1), (7, 7), (60, 60), (61, 60), (150, 60)] {
            let mut denoising = Denoising::default();
            for done in [0, 1] {
                for step in 1..=steps {
                    let state = || TensorData::new(vec![(1_000 * done + step) as f32], [1, 1]);
                    denoising.take(&SampleProgress { done, batch: 1, step, steps, state: &state });
                }
            }
            assert_eq!(denoising.0.len(), frames, "{steps} steps");
            assert!(denoising.0.iter().all(|state| state[1] == state[0] + 1_000.0), "{steps} steps");
            assert_eq!(denoising.0[frames - 1][0], steps as f32);
        }
    }

    #[test]
    fn an_animation_shows_a_few_samples() {
        assert_eq!(
            [most(&[1, 28, 28]), most(&[3, 256, 256]), most(&[3, 2048, 2048]), most(&[2])],
            [64, 4, 1, 2_000]
        );
    }
}
