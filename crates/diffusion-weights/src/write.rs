//! From a module to a safetensors file, tensor by tensor.

use crate::dict::value;
use crate::file::safetensors::write_header;
use crate::names::{NameTable, Place};
use crate::shapes::shapes;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

/// Writes the parameters and `buffers` into a file that is open and empty.
pub(crate) fn write<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    file: &mut (impl Write + Seek),
) -> io::Result<()> {
    let starts = write_header(&shapes(module, names, buffers), file)?;
    let mut writer = Writer { place: Place::new(names), file, starts, written: Ok(()) };
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
    let (starts, names) = (write_header(&shapes, file)?, NameTable::own_paths());
    let mut writer = Writer { place: Place::new(&names), file, starts, written: Ok(()) };
    for (name, tensor) in tensors {
        writer.put(name, &tensor.clone().convert::<f32>());
    }
    writer.written
}

/// Puts each tensor where the header has it: a module's order is not that of the names.
struct Writer<'a, F> {
    place: Place<'a>,
    file: &'a mut F,
    starts: BTreeMap<String, u64>,
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
    use safetensors::tensor::{Dtype, TensorView, serialize};
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
            write(&net, &names, &buffers, &mut found).unwrap();
            let dict = crate::state_dict(&net, &names, &buffers);
            assert_eq!(dict.len(), 6);
            let views = dict.iter().map(|(name, tensor)| {
                (name, TensorView::new(Dtype::F32, tensor.shape.to_vec(), tensor.as_bytes()).unwrap())
            });
            assert_eq!(found.into_inner(), serialize(views, None).unwrap());
        }
    }
}
