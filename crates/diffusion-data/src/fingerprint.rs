//! What tells a data set from another without reading all of it.

use std::fmt::{self, Debug, Display, Formatter};

use crate::{
    any_dataset::{AnyDataset, AnyLabel},
    dataset::Dataset,
    error::DataError,
    identity::{Sequence, hash},
};

/// How many examples are read.
const READ: usize = 64;

/// What tells a data set from another: which examples it has, and in which order.
///
/// All identities go in ([`Dataset::identity`]), which are known without reading; and the values and labels of at most
/// 64 examples, the first, the last and those evenly between them. An example elsewhere whose values alone were changed
/// is not noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the identities of all examples, in their order.
    pub identities: u64,
    /// Of the values and labels of some.
    pub values: u64,
}

impl Fingerprint {
    /// That of `data`.
    ///
    /// # Errors
    /// If an example cannot be read.
    pub fn of(data: &AnyDataset) -> Result<Self, DataError> {
        let mut identities = Sequence::default();
        (0..data.len()).for_each(|index| identities.add(data.identity(index)));
        let mut values = Sequence::default();
        let mut example = vec![0.0; data.shape().iter().product()];
        let read = data.len().min(READ);
        for i in 0..read {
            let index = i * (data.len() - 1) / (read - 1).max(1);
            let label = data.read(index, &mut example)?;
            values.add(hash_of(&example));
            values.add(match label {
                AnyLabel::None => 0,
                AnyLabel::Class(class) => 1 + class as u64,
                AnyLabel::Text(text) => hash_of(text.values()),
            });
        }
        Ok(Self { identities: identities.hash(), values: values.hash() })
    }
}

fn hash_of(values: &[f32]) -> u64 {
    hash(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

impl Display for Fingerprint {
    /// As 32 hexadecimal digits.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.identities, self.values)
    }
}

impl Debug for Fingerprint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Images;

    /// `n` gray images of one pixel, in files of these names.
    fn images(pixels: &[u8], names: &[String]) -> AnyDataset {
        let labels = vec![0; pixels.len()];
        let images = Images::new([1, 1, 1], pixels.to_vec(), labels, 1);
        images.with_identities(names.iter().map(|name| hash(name.as_bytes())).collect()).into()
    }

    #[test]
    fn names_order_values_and_number_are_seen() {
        let names: Vec<String> = (0..100).map(|i| format!("{i:03}.png")).collect();
        let pixels: Vec<u8> = (0..100).collect();
        let of = |pixels: &[u8], names: &[String]| Fingerprint::of(&images(pixels, names)).unwrap();
        let whole = of(&pixels, &names);
        assert_eq!(whole, of(&pixels, &names));

        let fewer = of(&pixels[..99], &names[..99]);
        assert!(fewer.identities != whole.identities && fewer.values != whole.values);
        let mut renamed = names.clone();
        renamed[50] = "other.png".to_owned();
        let renamed = of(&pixels, &renamed);
        assert!(renamed.identities != whole.identities && renamed.values == whole.values);
        let mut swapped = names.clone();
        swapped.swap(10, 90);
        assert_ne!(of(&pixels, &swapped).identities, whole.identities);
        for changed in [0, 99] {
            let mut pixels = pixels.clone();
            pixels[changed] = 255;
            let found = of(&pixels, &names);
            assert!(found.identities == whole.identities && found.values != whole.values, "{changed}");
        }
    }

    #[test]
    #[ignore = "measures; run it in release"]
    #[allow(clippy::print_stdout, reason = "for the test harness, which shows it on demand")]
    fn what_it_costs() {
        use crate::ValidationSplit;
        use std::time::Instant;
        for (n, size) in [(60_000, 28), (1_000_000, 1)] {
            let images = Images::new([1, size, size], vec![7; n * size * size], vec![0; n], 1);
            let names = (0..n).map(|i| hash(format!("class/{i:08}.png").as_bytes())).collect();
            let data = AnyDataset::from(images.with_identities(names));
            let begun = Instant::now();
            let fingerprint = Fingerprint::of(&data).unwrap();
            let seen = begun.elapsed();
            let split = ValidationSplit::new(&data, n / 10, 0);
            let parts = data.split(split);
            println!("{n} examples: {fingerprint} in {seen:?}; split in {:?}", begun.elapsed() - seen);
            drop(parts);
        }
    }

    #[test]
    fn labels_are_seen() {
        let of = |labels: Vec<u32>| {
            let data = AnyDataset::from(Images::new([1, 1, 1], vec![7; 3], labels, 2));
            Fingerprint::of(&data).unwrap()
        };
        assert_ne!(of(vec![0, 1, 0]), of(vec![0, 1, 1]));
    }

    #[test]
    fn texts_are_seen() {
        use crate::Points;
        use diffusion_core::Tokens;
        use std::sync::Arc;
        let of = |texts: [f32; 3]| {
            let texts = texts.map(|value| Arc::new(Tokens::new(vec![1.0, value], [1, 2, 1])));
            let points = Points::new(vec![7.0; 6], &[1, 2]).captioned(texts.to_vec());
            Fingerprint::of(&AnyDataset::captioned(points, [2, 1])).unwrap()
        };
        assert_eq!(of([0.0, 1.0, 0.0]), of([0.0, 1.0, 0.0]));
        assert_ne!(of([0.0, 1.0, 0.0]).values, of([0.0, 1.0, 1.0]).values);
    }

    #[test]
    fn one_example_and_none_have_fingerprints() {
        let one = Fingerprint::of(&images(&[3], &["a".to_owned()])).unwrap();
        assert_ne!(one, Fingerprint::of(&images(&[], &[])).unwrap());
    }
}
