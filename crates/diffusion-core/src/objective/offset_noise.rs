//! Noise that is the same for all values of a channel.

use super::batch::{BatchPlace, OFFSET_NOISE};
use crate::invalid::Invalid;
use crate::precision::check_factor;
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};

/// How strong something is in each channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Strength {
    /// The same in all channels.
    All(f64),
    /// One number per channel.
    Each(Vec<f64>),
}

/// Adds one normal number per example and channel to all values of the noise there, so that a model learns to change the
/// mean of an image as well ("offset noise", Guttenberg 2023). The values of a channel have variance 1 + s² then, and
/// covariance s² with each other.
///
/// Channels are the axis after the batch; of points, each coordinate is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OffsetNoise {
    /// s, for all channels or for each; 0.1 by default.
    pub strength: Strength,
}

impl Default for OffsetNoise {
    fn default() -> Self {
        Self { strength: Strength::All(0.1) }
    }
}

impl OffsetNoise {
    /// Whether these settings can be used; for examples of how many channels is not known here.
    ///
    /// # Errors
    /// If a strength is negative or not finite.
    pub fn validate(&self) -> Result<(), Invalid> {
        let strengths = match &self.strength {
            Strength::All(strength) => std::slice::from_ref(strength),
            Strength::Each(strengths) => strengths,
        };
        strengths.iter().try_for_each(|&strength| {
            check_factor("strength", strength)?;
            Invalid::unless(strength >= 0.0, "strength", || format!("is {strength}, expected at least 0"))
        })
    }

    /// Whether these settings can be used for examples of `channels` channels.
    ///
    /// # Errors
    /// If a strength is given for each of another number of channels.
    pub fn validate_channels(&self, channels: usize) -> Result<(), Invalid> {
        match &self.strength {
            Strength::Each(strengths) if strengths.len() != channels => {
                let reason =
                    format!("has {} numbers, expected 1 or {channels}, one per channel", strengths.len());
                Err(Invalid::new("strength", reason))
            }
            _ => Ok(()),
        }
    }

    /// `noise`, `[batch, channels, …]`, with what is added to it.
    ///
    /// # Panics
    /// If a strength is given for each of another number of channels.
    pub(super) fn add(&self, noise: &TensorData, place: &BatchPlace) -> TensorData {
        let channels = noise.shape.get(1).copied().unwrap_or(1);
        if let Err(invalid) = self.validate_channels(channels) {
            panic!("{invalid}");
        }
        let strength = |channel: usize| match &self.strength {
            Strength::All(strength) => *strength,
            Strength::Each(strengths) => strengths[channel],
        };
        let mut values: Vec<f32> = noise.iter::<f32>().collect();
        let size = values.len() / (noise.shape[0] * channels).max(1);
        for (i, example) in values.chunks_mut((channels * size).max(1)).enumerate() {
            let mut stream = place.stream(OFFSET_NOISE, i);
            for (channel, values) in example.chunks_mut(size).enumerate() {
                let offset = (strength(channel) * stream.normal()) as f32;
                values.iter_mut().for_each(|value| *value += offset);
            }
        }
        TensorData::new(values, noise.shape.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal_data};

    /// 1 + s² on the diagonal, s² within a channel, 0 between channels and examples.
    #[test]
    fn the_covariance_is_that_of_offset_noise() {
        let n = 20_000;
        let place = BatchPlace { seed: 3, step: 2, first: 0, examples: n, total: n };
        let noise = normal_data(3, Purpose(4), 2, 0, [n, 2, 2, 1]);
        let offset = OffsetNoise { strength: Strength::Each(vec![0.5, 1.0]) };
        let found: Vec<f32> = offset.add(&noise, &place).to_vec().unwrap();
        let covariance = |a: usize, b: usize| {
            found.chunks(4).map(|row| f64::from(row[a]) * f64::from(row[b])).sum::<f64>() / n as f64
        };
        for (a, b, expected) in
            [(0, 0, 1.25), (0, 1, 0.25), (2, 2, 2.0), (2, 3, 1.0), (0, 2, 0.0), (1, 3, 0.0)]
        {
            // Four standard errors are at most 0.06.
            assert!((covariance(a, b) - expected).abs() < 0.06, "{} of {a}, {b}", covariance(a, b));
        }
        let between: f64 = found.chunks(8).map(|rows| f64::from(rows[2]) * f64::from(rows[6])).sum::<f64>();
        assert!((between / (n / 2) as f64).abs() < 0.1);
    }

    /// It is keyed by the place: a batch in two parts has that of the whole.
    #[test]
    fn offsets_belong_to_their_places() {
        let offset = OffsetNoise::default();
        let add = |first: u64, n: usize| {
            let place = BatchPlace { seed: 1, step: 5, first, examples: n, total: 4 };
            offset.add(&normal_data(1, Purpose(4), 5, first, [n, 3]), &place).to_vec::<f32>().unwrap()
        };
        assert_eq!([add(0, 2), add(2, 2)].concat(), add(0, 4));
        assert_ne!(add(0, 4), normal_data(1, Purpose(4), 5, 0, [4, 3]).to_vec::<f32>().unwrap());
    }

    #[test]
    fn strengths_are_one_or_one_for_each() {
        let offset = |text: &str| serde_json::from_str::<OffsetNoise>(text).unwrap();
        assert_eq!(offset("{}"), OffsetNoise::default());
        assert_eq!(offset(r#"{"strength":0.1}"#), OffsetNoise::default());
        let three = offset(r#"{"strength":[0.1,0.2,0.3]}"#);
        assert_eq!((three.validate(), three.validate_channels(3)), (Ok(()), Ok(())));
        assert_eq!(three.validate_channels(1).unwrap_err().setting, "strength");
        for bad in [r#"{"strength":-0.1}"#, r#"{"strength":[0.1,1e300]}"#] {
            assert_eq!(offset(bad).validate().unwrap_err().setting, "strength");
        }
    }
}
