//! From a module to a safetensors file, tensor by tensor.

use crate::dict::value;
use crate::file::safetensors::write_header;
use crate::names::{NameTable, Place};
use crate::shapes::shapes;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend, f16};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

/// Writes the parameters and `buffers` into a file that is open and empty, as `dtype`, F32 or F16.
pub(crate) fn write<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    dtype: Dtype,
    file: &mut (impl Write + Seek),
) -> io::Result<()> {
    let starts = write_header(&shapes(module, names, buffers), dtype, None, file)?;
    let mut writer = Writer { place: Place::new(names), file, starts, dtype, written: Ok(()) };
    module.visit(&mut writer);
    for (name, buffer) in buffers {
        writer.put(name, &buffer.clone().convert::<f32>());
    }
    writer.written
}

/// Writes tensors under their names into a file that is open and empty.
///
/// # Panics
/// If two of them have the same name.
pub(crate) fn write_tensors(
    tensors: &[(String, TensorData)],
    file: &mut (impl Write + Seek),
) -> io::Result<()> {
    let mut shapes = BTreeMap::new();
    for (name, tensor) in tensors {
        assert!(shapes.insert(name.clone(), tensor.shape.to_vec()).is_none(), "two tensors {name}");
    }
    let (starts, names) = (write_header(&shapes, Dtype::F32, None, file)?, NameTable::own_paths());
    let mut writer = Writer { place: Place::new(&names), file, starts, dtype: Dtype::F32, written: Ok(()) };
    for (name, tensor) in tensors {
        writer.put(name, &tensor.clone().convert::<f32>());
    }
    writer.written
}

/// Writes tensors of these names and shapes into a file that is open and empty, each when `values` has made it.
pub(crate) fn write_each(
    shapes: &BTreeMap<String, Vec<usize>>,
    note: (&str, &str),
    values: &mut dyn FnMut(&str) -> io::Result<Vec<f32>>,
    file: &mut (impl Write + Seek),
) -> io::Result<()> {
    let (starts, names) = (write_header(shapes, Dtype::F32, Some(note), file)?, NameTable::own_paths());
    let mut writer = Writer { place: Place::new(&names), file, starts, dtype: Dtype::F32, written: Ok(()) };
    for (name, shape) in shapes {
        writer.try_put(name, &TensorData::new(values(name)?, shape.clone()))?;
    }
    Ok(())
}

/// Puts each tensor where the header has it: a module's order is not that of the names.
struct Writer<'a, F> {
    place: Place<'a>,
    file: &'a mut F,
    starts: BTreeMap<String, u64>,
    /// F32 or F16.
    dtype: Dtype,
    /// The first error; nothing is written after it.
    written: io::Result<()>,
}

impl<F: Write + Seek> Writer<'_, F> {
    fn put(&mut self, name: &str, tensor: &TensorData) {
        if self.written.is_ok() {
            self.written = self.try_put(name, tensor);
        }
    }

    fn try_put(&mut self, name: &str, tensor: &TensorData) -> io::Result<()> {
        let start = self.starts.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        self.file.seek(SeekFrom::Start(start))?;
        if self.dtype == Dtype::F16 {
            return tensor.iter::<f32>().try_for_each(|value| match f16::from_f32(value) {
                half if half.is_finite() => self.file.write_all(&half.to_le_bytes()),
                _ => Err(io::Error::other(format!("its `{name}` holds {value}, which 16 bits do not hold"))),
            });
        }
        if cfg!(target_endian = "little") {
            return self.file.write_all(tensor.as_bytes());
        }
        tensor.iter::<f32>().try_for_each(|value| self.file.write_all(&value.to_le_bytes()))
    }
}

impl<B: Backend, F: Write + Seek> ModuleVisitor<B> for Writer<'_, F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let value = value(param, &self.place);
        let name = self.place.name().to_string();
        self.put(&name, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::nn::{Linear, LinearConfig};
    use safetensors::tensor::{TensorView, serialize};
    use std::io::Cursor;

    /// One whose fields are not in the order of their names.
    #[derive(Module, Debug)]
    struct Net<B: Backend> {
        second: Linear<B>,
        first: Linear<B>,
    }

    #[test]
    fn a_file_is_that_of_the_formats_own_writer() {
        let device = Default::default();
        let net: Net<Flex> = Net {
            second: LinearConfig::new(3, 2).init(&device),
            first: LinearConfig::new(2, 3).init(&device),
        };
        let buffers =
            [("grid", TensorData::from([[1.0f64, 2.0]])), ("empty", TensorData::zeros::<f32, _>([0, 3]))];
        for names in [NameTable::own_paths(), NameTable::pytorch()] {
            let mut found = Cursor::new(Vec::new());
            write(&net, &names, &buffers, Dtype::F32, &mut found).unwrap();
            let dict = crate::state_dict(&net, &names, &buffers);
            assert_eq!(dict.len(), 6);
            let views = dict.iter().map(|(name, tensor)| {
                (name, TensorView::new(Dtype::F32, tensor.shape.to_vec(), tensor.as_bytes()).unwrap())
            });
            assert_eq!(found.into_inner(), serialize(views, None).unwrap());
        }
    }

    #[test]
    fn halves_are_the_nearest_to_the_values() {
        let net = LinearConfig::new(3, 2).init::<Flex>(&Default::default());
        let mut found = Cursor::new(Vec::new());
        write(&net, &NameTable::own_paths(), &[], Dtype::F16, &mut found).unwrap();
        let file = crate::TensorFile::from_bytes("net", found.into_inner()).unwrap();
        let weights = net.weight.val().into_data().to_vec::<f32>().unwrap();
        assert_eq!(file.dtype("weight"), Some(&crate::Dtype::F16));
        let expected: Vec<f32> = weights.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        assert_eq!(file.read("weight").unwrap(), expected);
        assert!(expected != weights);
        let large = Linear { weight: net.weight.map(|weight| weight + 1e6), ..net };
        write(&large, &NameTable::own_paths(), &[], Dtype::F16, &mut Cursor::new(Vec::new())).unwrap_err();
    }

    #[test]
    fn tensors_that_are_made_one_by_one_have_a_note() {
        let shapes = BTreeMap::from([("a".to_string(), vec![2]), ("b".to_string(), vec![1, 1])]);
        let mut found = Cursor::new(Vec::new());
        let mut values = |name: &str| Ok(if name == "a" { vec![1.0, 2.0] } else { vec![3.0] });
        write_each(&shapes, ("who", "we"), &mut values, &mut found).unwrap();
        let (folder, bytes) = (tempfile::tempdir().unwrap(), found.into_inner());
        let path = folder.path().join("net");
        std::fs::write(&path, &bytes).unwrap();
        let note = |name| crate::read_note(&path, name).unwrap();
        assert_eq!((note("who").as_deref(), note("what")), (Some("we"), None));
        let file = crate::TensorFile::open_safetensors(&path).unwrap();
        assert_eq!((file.read("a").unwrap(), file.read("b").unwrap()), (vec![1.0, 2.0], vec![3.0]));
        for damaged in [&b""[..], &bytes[..8], &bytes[..20], &[0xff; 40], b"\x02\0\0\0\0\0\0\0{}"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(crate::read_note(&path, "who").unwrap(), None);
        }
    }
}
