//! The functions and classes that are known, by their names.

use super::object::Global;
use crate::Dtype;

impl<'a> Global<'a> {
    /// What stands under this name.
    pub(super) fn named(module: &'a str, name: &'a str) -> Self {
        let known = match module {
            // Under Python 2 it had another name.
            "builtins" | "__builtin__" => builtin(name),
            "collections" => match name {
                "OrderedDict" | "defaultdict" | "Counter" => Some(Self::Dict),
                "deque" => Some(Self::List),
                _ => None,
            },
            "_codecs" if name == "encode" => Some(Self::Encode),
            "copyreg" | "copy_reg" => {
                ["_reconstructor", "__newobj__", "__newobj_ex__"].contains(&name).then_some(Self::Reconstruct)
            }
            _ if module == "torch" || module.starts_with("torch.") => torch(module, name),
            _ if module == "numpy" || module.starts_with("numpy.") => Some(numpy(module, name)),
            _ => None,
        };
        known.unwrap_or(Self::Other(module, name))
    }
}

/// Version 2 of NumPy renamed `numpy.core`.
fn numpy(module: &str, name: &str) -> Global<'static> {
    match (module, name) {
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::NumpyArray,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::NumpyFromBuffer,
        ("numpy", "dtype") => Global::NumpyDtype,
        _ => Global::Plain("a NumPy object"),
    }
}

fn builtin(name: &str) -> Option<Global<'static>> {
    Some(match name {
        "dict" => Global::Dict,
        "list" => Global::List,
        "tuple" => Global::Tuple,
        "set" | "frozenset" => Global::Set,
        "bytearray" | "bytes" | "buffer" => Global::Plain("bytes"),
        "int" | "long" | "float" | "complex" | "bool" => Global::Plain("a number"),
        "str" | "unicode" | "object" | "slice" | "range" | "xrange" => Global::Plain("a plain value"),
        _ => return None,
    })
}

fn torch<'a>(module: &str, name: &str) -> Option<Global<'a>> {
    match (module, name) {
        ("torch", "Size") => Some(Global::Same),
        ("torch", "Tensor") => Some(Global::TensorClass),
        ("torch.nn.parameter", "Parameter" | "Buffer") => Some(Global::TensorClass),
        ("torch", "device") => Some(Global::Plain("a device")),
        ("torch", "Generator") => Some(Global::Plain("a random generator")),
        ("torch.serialization", "_get_layout") => Some(Global::Plain("a layout")),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Global::RebuildFromType),
        ("torch._utils", name) => rebuild(name),
        ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => Some(Global::Storage(None, 1)),
        ("torch" | "torch.cuda" | "torch.storage", name) => {
            let (elements, is_storage) = match name.strip_suffix("Storage") {
                Some(elements) => (elements, true),
                None => (name, false),
            };
            let (dtype, size) = if is_storage { storage(elements) } else { dtype(elements) }?;
            Some(if is_storage { Global::Storage(Some(dtype), size) } else { Global::Dtype(dtype, size) })
        }
        _ => None,
    }
}

/// The functions that make a tensor again.
fn rebuild(name: &str) -> Option<Global<'static>> {
    Some(match name {
        "_rebuild_tensor" => Global::RebuildTensor(1),
        "_rebuild_tensor_v2" => Global::RebuildTensor(2),
        "_rebuild_tensor_v3" => Global::RebuildTensor(3),
        "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_buffer" => Global::Same,
        "_rebuild_device_tensor_from_cpu_tensor" => Global::RebuildOnDevice,
        "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => {
            Global::Unread("a tensor in a NumPy array")
        }
        "_rebuild_qtensor" => Global::Unread("a quantized tensor"),
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => Global::Unread("a sparse tensor"),
        "_rebuild_nested_tensor" => Global::Unread("a nested tensor"),
        "_rebuild_meta_tensor_no_storage" => Global::Unread("a tensor without values"),
        "_rebuild_wrapper_subclass" => Global::Unread("a tensor of a class of its own"),
        _ => return None,
    })
}

/// A type of elements by PyTorch's name, and its size in bytes.
fn dtype(name: &str) -> Option<(Dtype, u64)> {
    let known = match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        _ => {
            let size = match name {
                "complex128" => 16,
                "complex64" => 8,
                "complex32" | "qint32" => 4,
                "bits16" => 2,
                _ => 1,
            };
            let families = ["complex", "float8", "float4", "qint", "quint", "bits", "int", "uint"];
            let is_type = families.iter().any(|family| name.starts_with(family));
            return is_type.then(|| (Dtype::Other(name.to_string()), size));
        }
    };
    let size = known.size() as u64;
    Some((known, size))
}

/// The type of elements of the class `name` + `Storage`, and its size in bytes.
fn storage(name: &str) -> Option<(Dtype, u64)> {
    match name {
        "Double" | "Float" | "Half" | "Long" | "Int" | "Short" | "Bool" => dtype(&name.to_lowercase()),
        "BFloat16" => dtype("bfloat16"),
        "Char" => dtype("int8"),
        "Byte" => dtype("uint8"),
        "ComplexDouble" => dtype("complex128"),
        "ComplexFloat" => dtype("complex64"),
        "QInt32" | "QInt8" | "QUInt8" | "QUInt4x2" | "QUInt2x4" => dtype(&name.to_lowercase()),
        _ => None,
    }
}
