//! Types of numbers in files, and from their bytes to f32.

use burn::tensor::{DType, bf16, f16};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// How many bytes are read at once.
const CHUNK: usize = 1 << 16;

/// What a tensor in a file is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// Anything else, by the name that the file gives it.
    Other(String),
}

impl Element {
    /// The name that an error message gives it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Other(name) => name,
        }
    }

    /// How far a number may be off for having been kept so, relative to the largest of its tensor.
    pub(super) fn rounding(&self) -> f32 {
        match self {
            Self::F64 | Self::F32 | Self::Other(_) => 1e-5,
            Self::F16 => 1e-3,
            Self::Bf16 => 8e-3,
        }
    }

    /// Appends the little-endian numbers in `bytes`; nothing for other than floating-point types.
    fn decode(&self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Self::F64 => {
                values.extend(bytes.as_chunks().0.iter().map(|&number| f64::from_le_bytes(number) as f32));
            }
            Self::F32 => values.extend(bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number))),
            Self::F16 => {
                values.extend(bytes.as_chunks().0.iter().map(|&number| f16::from_le_bytes(number).to_f32()));
            }
            Self::Bf16 => {
                values.extend(bytes.as_chunks().0.iter().map(|&number| bf16::from_le_bytes(number).to_f32()));
            }
            Self::Other(_) => {}
        }
    }

    /// Bytes per number; 0 for other than floating-point types.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_) => 0,
        }
    }

    /// Reads `count` numbers from the byte `start` on. The caller has made sure that the file has them.
    pub(super) fn read(&self, file: &mut File, start: u64, count: usize) -> io::Result<Vec<f32>> {
        file.seek(SeekFrom::Start(start))?;
        let mut values = Vec::with_capacity(count);
        let mut chunk = [0; CHUNK];
        let mut left = count * self.size();
        while left > 0 {
            let bytes = &mut chunk[..left.min(CHUNK)];
            file.read_exact(bytes)?;
            self.decode(bytes, &mut values);
            left -= bytes.len();
        }
        Ok(values)
    }
}

impl From<DType> for Element {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F64 => Self::F64,
            DType::F32 | DType::Flex32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            other => Self::Other(format!("{other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn numbers_of_every_type_are_read_across_chunks() {
        let expected: Vec<f32> = (0..40_000).map(|i| (i % 256) as f32 / 4.0 - 32.0).collect();
        let all = |encode: fn(f32) -> Vec<u8>| {
            expected.iter().flat_map(|&value| encode(value)).collect::<Vec<u8>>()
        };
        for (element, bytes) in [
            (Element::F64, all(|value| f64::from(value).to_le_bytes().to_vec())),
            (Element::F32, all(|value| value.to_le_bytes().to_vec())),
            (Element::F16, all(|value| f16::from_f32(value).to_le_bytes().to_vec())),
            (Element::Bf16, all(|value| bf16::from_f32(value).to_le_bytes().to_vec())),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"xyz").unwrap();
            file.write_all(&bytes).unwrap();
            assert_eq!(element.read(&mut file, 3, expected.len()).unwrap(), expected, "{element:?}");
            let tail = element.read(&mut file, 3 + 7 * element.size() as u64, 2).unwrap();
            assert_eq!(tail, expected[7..9]);
        }
    }
}
