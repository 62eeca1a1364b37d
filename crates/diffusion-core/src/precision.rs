//! What f32 holds: tensors compute in it, whatever the host computes in.
//!
//! Noise levels and what follows from them are f64 on the host, where 1e30 and its square are numbers like any other. A
//! network gets them as f32, squares them and adds up the squares; so they are held against it before anything is
//! computed.

use crate::invalid::{Invalid, Number};

/// The smallest noise level.
pub const MIN_SIGMA: f64 = 1e-15;
/// The largest noise level. f32 holds the squares of both, 10^±30, and sums of a hundred million of them.
pub const MAX_SIGMA: f64 = 1e15;

/// Whether f32 holds this positive noise level and its square.
pub fn is_level(sigma: f64) -> bool {
    (MIN_SIGMA..=MAX_SIGMA).contains(&sigma)
}

/// Whether f32 holds this number: 0, or one that neither overflows nor vanishes.
pub fn holds(x: f64) -> bool {
    x == 0.0 || (x as f32).is_normal()
}

/// Refuses a setting that f32 cannot hold as a positive number and its square, e.g. a noise level.
///
/// # Errors
/// If `found` is not between [`MIN_SIGMA`] and [`MAX_SIGMA`].
pub fn check_level(setting: &str, found: f64) -> Result<(), Invalid> {
    Invalid::unless(is_level(found), setting, || {
        let [found, least, most] = [found, MIN_SIGMA, MAX_SIGMA].map(Number);
        format!("is {found}, expected {least} to {most}, whose squares f32 holds")
    })
}

/// Refuses a factor that tensors cannot be multiplied by.
///
/// # Errors
/// If `found` is not a finite number in f32.
pub fn check_factor(setting: &str, found: f64) -> Result<(), Invalid> {
    Invalid::unless((found as f32).is_finite(), setting, || {
        format!("is {found:?}, expected a number that is finite in f32")
    })
}

/// Refuses an amount, e.g. of noise, that is negative or that tensors cannot be multiplied by.
///
/// # Errors
/// If `found` is below 0 or not finite in f32.
pub fn check_amount(setting: &str, found: f64) -> Result<(), Invalid> {
    check_factor(setting, found)?;
    Invalid::unless(found >= 0.0, setting, || format!("is {found}, expected at least 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_have_room_in_f32() {
        for sigma in [MIN_SIGMA, MAX_SIGMA] {
            let square = (sigma as f32) * (sigma as f32);
            assert!(is_level(sigma) && (square * 1e8).is_normal() && (square / 1e7).is_normal(), "{sigma}");
        }
        for sigma in [0.0, -1.0, 1e-30, 1e30, f64::INFINITY, f64::NAN] {
            assert!(!is_level(sigma) && check_level("sigma", sigma).is_err(), "{sigma}");
        }
    }

    #[test]
    fn numbers_beyond_f32_are_not_held() {
        assert!(holds(0.0) && holds(-1e30) && holds(1e-30) && check_factor("scale", -1e30).is_ok());
        for x in [1e300, -1e300, 1e-300, f64::NAN, f64::NEG_INFINITY] {
            assert!(!holds(x), "{x}");
        }
        assert_eq!(check_factor("scale", 1e300).unwrap_err().setting, "scale");
    }
}
