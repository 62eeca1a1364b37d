//! The way between bytes and the range [−1, 1] that models are trained on.

/// A pixel of a picture, 0 to 255, as a number in [−1, 1].
pub fn from_u8(byte: u8) -> f32 {
    f32::from(byte) / 255.0 * 2.0 - 1.0
}

/// A model's output, nominally in [−1, 1], as a brightness clamped to [0, 1].
///
/// Not a number stays not a number.
pub fn img_normalize(x: f32) -> f32 {
    ((x + 1.0) / 2.0).clamp(0.0, 1.0)
}

/// A model's output, nominally in [−1, 1], as the nearest of the bytes 0 to 255, the even one where two are as near: as
/// diffusers has it, where torchvision's `save_image` takes the higher.
///
/// Not a number becomes 0, black.
pub fn to_u8(x: f32) -> u8 {
    (img_normalize(x) * 255.0).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for byte in 0..=u8::MAX {
            assert_eq!(to_u8(from_u8(byte)), byte);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!((from_u8(0), from_u8(255)), (-1.0, 1.0));
        assert_eq!([-1.0, 0.0, 1.0].map(img_normalize), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn values_beyond_the_range_are_clamped() {
        assert_eq!([-3.0, 3.0, f32::NEG_INFINITY, f32::INFINITY].map(img_normalize), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!([-3.0, 3.0, f32::NAN].map(to_u8), [0, 255, 0]);
    }

    #[test]
    fn bytes_are_rounded_to_the_nearest() {
        let half_a_step = 1.0 / 255.0;
        assert_eq!(to_u8(from_u8(100) + 0.9 * half_a_step), 100);
        assert_eq!(to_u8(from_u8(100) + 1.1 * half_a_step), 101);
    }

    #[test]
    fn of_two_bytes_that_are_as_near_the_even_one_is_taken() {
        let mut halves = 0;
        for byte in 0..255u8 {
            let x = (f32::from(byte) + 0.5) / 255.0 * 2.0 - 1.0;
            // Where f32 has the middle exactly.
            if img_normalize(x) * 255.0 == f32::from(byte) + 0.5 {
                assert_eq!(to_u8(x), byte + byte % 2);
                halves += u32::from(byte % 2 == 0);
            }
        }
        assert!(halves > 20, "{halves} are even below");
    }
}
