//! Types of numbers in files.

use burn::tensor::DType;

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
