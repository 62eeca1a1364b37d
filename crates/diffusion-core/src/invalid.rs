//! A setting that cannot be used, and why.
//!
//! Each configuration has a `validate`, which its `init` unwraps with a panic that shows the same sentence. A program
//! that reads configurations from files calls `validate` first and reports what it returns.

use std::error::Error;
use std::fmt;

/// The largest size that a configuration may ask for; beyond it memory would end before any use.
pub const MAX_SIZE: usize = 1_000_000;
/// The most layers, blocks or residual blocks in a row.
pub const MAX_DEPTH: usize = 1_000;

/// A setting that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The setting's path, e.g. `network.patch_size`.
    pub setting: String,
    /// What was found and what was expected.
    pub reason: String,
}

impl Invalid {
    /// The setting `setting` is invalid because of `reason`.
    pub fn new(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into() }
    }

    /// The same, where the setting lies inside of the table `table`.
    pub fn within(self, table: &str) -> Self {
        Self { setting: format!("{table}.{}", self.setting), ..self }
    }

    /// Refuses `setting` unless `valid`; `reason` says what was found and what was expected.
    pub fn unless(valid: bool, setting: &str, reason: impl FnOnce() -> String) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self::new(setting, reason())) }
    }

    /// Refuses an integer outside of 1..=`most`.
    pub fn unless_positive(setting: &str, found: usize, most: usize) -> Result<(), Self> {
        Self::unless((1..=most).contains(&found), setting, || format!("is {found}, expected 1 to {most}"))
    }

    /// Refuses an integer above `most`.
    pub fn unless_at_most(setting: &str, found: usize, most: usize) -> Result<(), Self> {
        Self::unless(found <= most, setting, || format!("is {found}, expected at most {most}"))
    }

    /// Refuses a number that is no probability.
    pub fn unless_probability(setting: &str, found: f64) -> Result<(), Self> {
        Self::unless((0.0..=1.0).contains(&found), setting, || {
            format!("is {found}, expected a probability in [0, 1]")
        })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

impl Error for Invalid {}

/// A number for a sentence: one that has many digits before the point, or zeros behind it, has an exponent. The
/// precision is that of the format, e.g. `{:.3}`.
///
/// ```
/// use diffusion_core::invalid::Number;
///
/// assert_eq!(Number(1e15).to_string(), "1e15");
/// assert_eq!(Number(-0.25).to_string(), "-0.25");
/// assert_eq!(format!("{:.2} to {:.2}", Number(1.0), Number(3.2e38)), "1.00 to 3.20e38");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(
    /// The number.
    pub f64,
);

/// The least number without an exponent.
const LEAST_PLAIN: f64 = 1e-4;
/// The least number above that with an exponent.
const LEAST_HUGE: f64 = 1e7;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if !size.is_finite() || size == 0.0 {
            return fmt::Display::fmt(&self.0, f);
        }
        match f.precision() {
            Some(_) if size < LEAST_HUGE => fmt::Display::fmt(&self.0, f),
            None if (LEAST_PLAIN..LEAST_HUGE).contains(&size) => fmt::Display::fmt(&self.0, f),
            _ => fmt::LowerExp::fmt(&self.0, f),
        }
    }
}

/// What `init` does with a configuration that is invalid.
///
/// # Panics
/// If `result` is an error; the message is its sentence.
#[track_caller]
pub fn expect_valid<T>(result: Result<T, Invalid>) -> T {
    match result {
        Ok(valid) => valid,
        Err(invalid) => panic!("{invalid}"),
    }
}

/// The product of sizes, or the largest number where it is larger.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product, &size| product.saturating_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_the_whole_path() {
        let invalid = Invalid::unless_positive("patch_size", 0, MAX_SIZE).unwrap_err().within("network");
        assert_eq!(invalid.to_string(), "network.patch_size: is 0, expected 1 to 1000000");
    }

    #[test]
    fn numbers_are_short_and_read_back() {
        for number in
            [0.0, 1.0, -0.1, 1e-4, 1e-15, 9999999.0, 1e7, 1e15, f64::MAX, 5e-324, f64::INFINITY, f64::NAN]
        {
            let text = Number(number).to_string();
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
            assert!(text.len() <= 23, "{text}");
        }
        assert!(format!("{:.3}", Number(f64::MAX)).len() < 12);
    }

    #[test]
    fn products_do_not_overflow() {
        assert_eq!(product(&[usize::MAX, 2]), usize::MAX);
        assert_eq!(product(&[2, 3, 4]), 24);
    }
}
