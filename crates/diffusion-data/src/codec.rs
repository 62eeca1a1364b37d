//! A codec is the way between examples as they are stored and the values that a network sees.

use crate::pixels;

/// The way between stored examples and the values of a network, in both directions.
///
/// Data sets encode what they read; whoever shows or writes samples decodes them.
///
/// A codec of your own: depths in millimeters, up to 10 m, as values in [−1, 1].
/// ```
/// use diffusion_data::Codec;
///
/// struct Depth;
///
/// impl Codec for Depth {
///     type Stored = u16;
///
///     fn encode(&self, stored: &[u16], into: &mut [f32]) {
///         assert_eq!(stored.len(), into.len(), "depths and values differ in number");
///         for (x, &depth) in into.iter_mut().zip(stored) {
///             *x = f32::from(depth) / 5_000.0 - 1.0;
///         }
///     }
///
///     fn decode(&self, values: &[f32]) -> Vec<u16> {
///         values.iter().map(|x| ((x.clamp(-1.0, 1.0) + 1.0) * 5_000.0).round() as u16).collect()
///     }
/// }
///
/// let mut values = [0.0; 2];
/// Depth.encode(&[0, 2_500], &mut values);
/// assert_eq!((values, Depth.decode(&values)), ([-1.0, -0.5], vec![0, 2_500]));
/// ```
pub trait Codec {
    /// A stored value.
    type Stored;

    /// What a network sees of a stored example.
    ///
    /// # Shapes
    /// - `stored`: one example, or several
    /// - `into`: as long as the codec makes of them; of equal length for the codecs here
    ///
    /// # Panics
    /// If `into` has another length.
    fn encode(&self, stored: &[Self::Stored], into: &mut [f32]);

    /// What is stored of values that a network made.
    ///
    /// # Shapes
    /// - `values`: one example, or several
    fn decode(&self, values: &[f32]) -> Vec<Self::Stored>;
}

/// Pixels: bytes as values in [−1, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pixels;

impl Codec for Pixels {
    type Stored = u8;

    fn encode(&self, stored: &[u8], into: &mut [f32]) {
        check_lengths(stored.len(), into.len());
        for (x, &byte) in into.iter_mut().zip(stored) {
            *x = pixels::from_u8(byte);
        }
    }

    /// Values beyond the range are clamped; not a number becomes 0.
    fn decode(&self, values: &[f32]) -> Vec<u8> {
        values.iter().map(|&x| pixels::to_u8(x)).collect()
    }
}

/// Latents as an encoder has them, which a network sees times `scale` plus `shift`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledLatents {
    /// The factor, other than 0; 0.18215 for Stable Diffusion's first autoencoders.
    pub scale: f64,
    /// What is added after that.
    pub shift: f64,
}

impl Codec for ScaledLatents {
    type Stored = f32;

    fn encode(&self, stored: &[f32], into: &mut [f32]) {
        check_lengths(stored.len(), into.len());
        into.copy_from_slice(stored);
        self.encode_in_place(into);
    }

    fn decode(&self, values: &[f32]) -> Vec<f32> {
        values.iter().map(|&x| ((f64::from(x) - self.shift) / self.scale) as f32).collect()
    }
}

impl ScaledLatents {
    /// Like [`encode`](Codec::encode), where the latents already are.
    pub(crate) fn encode_in_place(&self, values: &mut [f32]) {
        let (scale, shift) = (self.scale as f32, self.shift as f32);
        for x in values {
            *x = *x * scale + shift;
        }
    }
}

fn check_lengths(stored: usize, into: usize) {
    assert!(into == stored, "room for {into} values was given, expected {stored}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_round_trip() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let mut values = vec![0.0; 256];
        Pixels.encode(&bytes, &mut values);
        assert_eq!((values[0], values[255]), (-1.0, 1.0));
        assert_eq!(Pixels.decode(&values), bytes);
        assert_eq!(Pixels.decode(&[-2.0, 2.0, f32::NAN]), [0, 255, 0]);
    }

    #[test]
    fn latents_survive_the_round_trip() {
        let codec = ScaledLatents { scale: 0.5, shift: -3.0 };
        let mut values = [0.0; 3];
        codec.encode(&[2.0, -4.0, 0.0], &mut values);
        assert_eq!(values, [-2.0, -5.0, -3.0]);
        assert_eq!(codec.decode(&values), [2.0, -4.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "room for 2 values was given, expected 3")]
    fn another_length_is_refused() {
        Pixels.encode(&[1, 2, 3], &mut [0.0; 2]);
    }
}
