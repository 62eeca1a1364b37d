//! Types of elements in files, and from their bytes to f32 or to integers.

use burn::tensor::{DType, bf16, f16};
use half::slice::HalfFloatSliceExt;
use std::fmt::{self, Display, Formatter};

/// What the elements of a tensor in a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// One that cannot be read, by the name that the file gives it.
    Other(String),
}

impl Dtype {
    /// Whether it is a floating-point type that can be read as f32.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Whether it is an integer type, which a bool is not.
    pub fn is_integer(&self) -> bool {
        !matches!(self, Self::Bool | Self::Other(_)) && !self.is_float()
    }

    /// Bytes per element; 0 for [`Other`](Self::Other).
    pub fn size(&self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Other(_) => 0,
        }
    }

    /// How far a value may be off for having been stored so, relative to the largest of its tensor.
    pub(crate) fn rounding(&self) -> f32 {
        match self {
            Self::F16 => 1e-3,
            Self::Bf16 => 8e-3,
            _ => 1e-5,
        }
    }

    /// The little-endian values in `bytes`, of which there are as many as `into` is long; zeros for other than
    /// floating-point types.
    pub(crate) fn decode_floats(&self, bytes: &[u8], into: &mut [f32]) {
        match self {
            Self::F64 => each(bytes, into, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::F32 => each(bytes, into, f32::from_le_bytes),
            Self::F16 => halves(bytes, into),
            Self::Bf16 => each(bytes, into, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => {}
        }
    }

    /// The little-endian integers in `bytes`, of which there are as many as `into` is long; zeros for other types.
    pub(crate) fn decode_integers(&self, bytes: &[u8], into: &mut [i128]) {
        match self {
            Self::I64 => each(bytes, into, |bytes| i64::from_le_bytes(bytes).into()),
            Self::I32 => each(bytes, into, |bytes| i32::from_le_bytes(bytes).into()),
            Self::I16 => each(bytes, into, |bytes| i16::from_le_bytes(bytes).into()),
            Self::I8 => each(bytes, into, |bytes| i8::from_le_bytes(bytes).into()),
            Self::U64 => each(bytes, into, |bytes| u64::from_le_bytes(bytes).into()),
            Self::U32 => each(bytes, into, |bytes| u32::from_le_bytes(bytes).into()),
            Self::U16 => each(bytes, into, |bytes| u16::from_le_bytes(bytes).into()),
            Self::U8 => each(bytes, into, |bytes| u8::from_le_bytes(bytes).into()),
            _ => {}
        }
    }
}

fn each<const N: usize, T>(bytes: &[u8], into: &mut [T], value: impl Fn([u8; N]) -> T) {
    for (into, bytes) in into.iter_mut().zip(bytes.as_chunks().0) {
        *into = value(*bytes);
    }
}

/// As [`each`], with the processor's own conversion, which takes several at once.
fn halves(bytes: &[u8], into: &mut [f32]) {
    let mut some = [f16::ZERO; 256];
    for (into, bytes) in into.chunks_mut(some.len()).zip(bytes.chunks(2 * some.len())) {
        let some = &mut some[..into.len()];
        each(bytes, some, f16::from_le_bytes);
        some.convert_to_f32_slice(into);
    }
}

impl Display for Dtype {
    /// As safetensors spells it: `F32`, `BF16`, `BOOL`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Other(name) => name,
        })
    }
}

impl From<DType> for Dtype {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F64 => Self::F64,
            DType::F32 | DType::Flex32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            DType::I64 => Self::I64,
            DType::I32 => Self::I32,
            DType::I16 => Self::I16,
            DType::I8 => Self::I8,
            DType::U64 => Self::U64,
            DType::U32 => Self::U32,
            DType::U16 => Self::U16,
            DType::U8 => Self::U8,
            DType::Bool(_) => Self::Bool,
            other @ DType::QFloat(_) => Self::Other(format!("{other:?}")),
        }
    }
}

impl From<safetensors::Dtype> for Dtype {
    fn from(dtype: safetensors::Dtype) -> Self {
        use safetensors::Dtype as Theirs;
        match dtype {
            Theirs::F64 => Self::F64,
            Theirs::F32 => Self::F32,
            Theirs::F16 => Self::F16,
            Theirs::BF16 => Self::Bf16,
            Theirs::I64 => Self::I64,
            Theirs::I32 => Self::I32,
            Theirs::I16 => Self::I16,
            Theirs::I8 => Self::I8,
            Theirs::U64 => Self::U64,
            Theirs::U32 => Self::U32,
            Theirs::U16 => Self::U16,
            Theirs::U8 => Self::U8,
            Theirs::BOOL => Self::Bool,
            other => Self::Other(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_their_sign() {
        for (dtype, bytes, expected) in [
            (Dtype::I8, &[0x7f, 0x80][..], [127, -128]),
            (Dtype::U8, &[0x7f, 0x80], [127, 128]),
            (Dtype::I16, &[0, 0x80, 0xff, 0], [-32768, 255]),
            (Dtype::U16, &[0, 0x80, 0xff, 0xff], [32768, 65535]),
            (Dtype::I64, &[0xff; 16], [-1, -1]),
            (Dtype::U64, &[0xff; 16], [u64::MAX.into(); 2]),
        ] {
            let mut found = [0; 2];
            dtype.decode_integers(bytes, &mut found);
            assert_eq!(found, expected, "{dtype}");
        }
    }

    /// In any number of them, and from any place.
    #[test]
    fn every_half_is_the_number_that_it_is_one_by_one() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        for range in [0..halves.len(), 1..halves.len() - 2, 700..707, 900..900] {
            let mut found = vec![f32::NAN; range.len()];
            Dtype::F16.decode_floats(&bytes[2 * range.start..2 * range.end], &mut found);
            for (found, half) in found.iter().zip(&halves[range]) {
                let expected = half.to_f32();
                assert!(found == &expected || found.is_nan() && expected.is_nan(), "{half:?}: {found}");
            }
        }
    }

    #[test]
    fn types_are_floats_integers_or_neither() {
        for (dtype, float, integer) in
            [(Dtype::Bf16, true, false), (Dtype::U16, false, true), (Dtype::Bool, false, false)]
        {
            assert_eq!((dtype.is_float(), dtype.is_integer()), (float, integer), "{dtype}");
        }
        let other = Dtype::from(safetensors::Dtype::F8_E4M3);
        assert_eq!(
            (other.to_string(), other.is_float(), other.is_integer()),
            ("F8_E4M3".into(), false, false)
        );
    }
}
