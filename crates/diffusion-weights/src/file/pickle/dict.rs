//! A pickled dict whose values are what Python programs keep data in.

use super::object::{Array, Id, Value};
use super::{Fault, Pickle};
use crate::error::shown;
use crate::file::npz::NpyArray;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The most bytes of a name, and of a key. One that is named again and again costs nothing.
const MAX_NAME: usize = 100;

/// The shape and the bytes of an array.
type Bytes<'a> = (&'a [u64], &'a [u8]);

/// A pickled dict of lists, strings and NumPy arrays under names, read without running anything.
///
/// What Python would have to run is an object of no use; it is named where it is asked for. Why something cannot be had is
/// the rest of a sentence about the file, e.g. "its pickle is cut off".
///
/// ```
/// use diffusion_weights::PickledDict;
///
/// // `pickle.dumps({"labels": [3, 5]}, 2)`
/// let dict = PickledDict::read(b"\x80\x02}q\x00X\x06\x00\x00\x00labelsq\x01]q\x02(K\x03K\x05es.")?;
/// assert_eq!(dict.integers("labels")?, Some(vec![3, 5]));
/// assert_eq!(dict.array("data")?, None);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct PickledDict<'a> {
    pickle: Arc<Pickle<'a>>,
    dict: HashMap<Vec<u8>, Id>,
}

impl<'a> PickledDict<'a> {
    /// Reads a whole pickle of any protocol.
    ///
    /// # Errors
    /// If it is damaged, or no dict.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let pickle = Pickle::read(bytes).map_err(reason)?;
        let root = pickle.root();
        Self::at(Arc::new(pickle), root).ok_or_else(|| "its pickle holds no dict".to_string())
    }

    /// The dict that the value `id` is, if it is one.
    fn at(pickle: Arc<Pickle<'a>>, id: Id) -> Option<Self> {
        let Value::Dict(items) = pickle.value(id) else { return None };
        let named = |&(key, value): &(Id, Id)| {
            let key = content(pickle.value(key)).filter(|key| key.len() <= MAX_NAME)?;
            Some((key.to_vec(), value))
        };
        let dict = items.iter().filter_map(named).collect();
        Some(Self { pickle, dict })
    }

    /// The keys that are names, in their order as text; what of them is no UTF-8 is replaced.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.dict.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        keys.sort();
        keys
    }

    /// The dict of this key, if there is one.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn dict(&self, key: &str) -> Result<Option<Self>, String> {
        let Some(&id) = self.dict.get(key.as_bytes()) else { return Ok(None) };
        let found = Self::at(self.pickle.clone(), id);
        found.map(Some).ok_or_else(|| self.other(key, self.pickle.value(id), "a dict"))
    }

    /// The array of f32 or f64 of this key, if there is one.
    ///
    /// # Errors
    /// If something else stands there, or an array that is not row by row or of another length than its shape says.
    pub fn floats(&self, key: &str) -> Result<Option<NpyArray>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array(array) = value else {
            return Err(self.other(key, value, "an array of NumPy's, row by row"));
        };
        let values = match self.elements(array, key)? {
            ("f4", bytes) => {
                let (words, _) = bytes.as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word).into()).collect()
            }
            ("f8", bytes) => bytes.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect(),
            (dtype, _) => {
                return Err(format!("its `{key}` is an array of {}, expected f4 or f8", shown(dtype)));
            }
        };
        let shape = array.shape.iter().map(|&size| size as usize).collect();
        Ok(Some(NpyArray { shape, values }))
    }

    fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.dict.get(key.as_bytes()).map(|&id| self.pickle.value(id))
    }

    /// The strings in a list, if there is one of this key; what of them is no UTF-8 is replaced.
    ///
    /// # Errors
    /// If something else stands there, or a string is longer than 100 bytes.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Some(items) = items(value) else { return Err(self.other(key, value, "a list of names")) };
        let text = |&item: &Id| match content(self.pickle.value(item)) {
            Some(text) if text.len() <= MAX_NAME => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(format!("its `{key}` holds something else than names")),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// The integers in a list or in an array of one axis, if there is one of this key.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wrong = || self.other(key, value, "a list of integers");
        match value {
            Value::Array(array) if array.shape.len() == 1 => {
                let (dtype, bytes) = self.elements(array, key)?;
                let of =
                    |word: &[u8]| word.iter().rev().fold(0_i64, |value, &byte| value << 8 | i64::from(byte));
                match dtype {
                    "u1" => Ok(Some(bytes.iter().map(|&byte| byte.into()).collect())),
                    "i4" => Ok(Some(bytes.chunks_exact(4).map(|word| of(word) << 32 >> 32).collect())),
                    "i8" => Ok(Some(bytes.chunks_exact(8).map(of).collect())),
                    _ => Err(wrong()),
                }
            }
            value => {
                let integer = |&item: &Id| match self.pickle.value(item) {
                    Value::Int(value) => Ok(*value),
                    Value::Bool(value) => Ok((*value).into()),
                    _ => Err(wrong()),
                };
                items(value).ok_or_else(wrong)?.iter().map(integer).collect::<Result<_, _>>().map(Some)
            }
        }
    }

    /// The shape and the bytes of an array of bytes, if there is one of this key.
    ///
    /// # Errors
    /// If something else stands there, or an array that is not row by row or of another length than its shape says.
    pub fn array(&self, key: &str) -> Result<Option<Bytes<'_>>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array(array) = value else {
            return Err(self.other(key, value, "an array of NumPy's, row by row"));
        };
        match self.elements(array, key)? {
            ("u1", bytes) => Ok(Some((&array.shape, bytes))),
            (dtype, _) => Err(format!("its `{key}` is an array of {}, expected u1, bytes", shown(dtype))),
        }
    }

    /// The type and the bytes of an array, which are as many as its shape says.
    fn elements(&self, array: &Array, key: &str) -> Result<(&str, &[u8]), String> {
        let value = |id: Id| self.pickle.values.get(id as usize);
        let (Some(&Value::NumpyDtype(dtype, is_big)), Some(bytes)) =
            (value(array.dtype), value(array.bytes).and_then(content))
        else {
            return Err(format!("its `{key}` is an array without a type or bytes"));
        };
        let width = match dtype.as_bytes() {
            [_, width @ b'1'..=b'8'] => u64::from(width - b'0'),
            _ => return Err(format!("its `{key}` is an array of an unknown type")),
        };
        if is_big && width > 1 {
            return Err(format!("its `{key}` has its greatest bytes first, expected last"));
        }
        let count = array.shape.iter().try_fold(width, |count, &n| count.checked_mul(n));
        if count != Some(bytes.len() as u64) {
            return Err(format!(
                "its `{key}` of shape {:?} and {width} bytes each has {} bytes",
                array.shape,
                bytes.len()
            ));
        }
        Ok((dtype, bytes))
    }

    /// What stands under `key` in the place of what was expected.
    fn other(&self, key: &str, value: &Value<'_>, expected: &str) -> String {
        let global = match value {
            Value::Object(class) => self.pickle.value(*class),
            value => value,
        };
        let name = match global {
            Value::Global(global) => global.other().map(|name| format!(" of `{name}`, which is not run")),
            _ => None,
        };
        format!("its `{key}` is {}{}, expected {expected}", value.kind(), name.unwrap_or_default())
    }
}

/// The bytes of a string, of bytes or of text.
fn content<'v>(value: &'v Value<'_>) -> Option<&'v [u8]> {
    match value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// The items of a tuple or a list.
fn items<'v>(value: &'v Value<'_>) -> Option<&'v [Id]> {
    match value {
        Value::List(items) | Value::Tuple(items) => Some(items),
        _ => None,
    }
}

/// What is wrong with a pickle, without the file's name.
fn reason(fault: Fault) -> String {
    match fault {
        Fault::NotAStateDict(reason) | Fault::Malformed(reason) | Fault::Unsupported(reason) => reason,
        other => other.at(Path::new("it")).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&b"U"[..], &[text.len() as u8], text.as_bytes()].concat()
    }

    /// A dict with one key, in whose place stands `value`.
    fn dict(key: &str, value: &[u8]) -> Vec<u8> {
        [b"\x80\x02}(", &text(key)[..], value, b"u."].concat()
    }

    /// An array of two rows of two bytes as NumPy pickles it, with parts that can be others.
    fn array(dtype: &str, order: &str, fortran: u8, bytes: &[u8]) -> Vec<u8> {
        [
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01K\x02K\x02\x86cnumpy\ndtype\n",
            &text(dtype)[..],
            b"K\0K\x01\x87R(K\x03",
            &text(order),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
            &[fortran],
            bytes,
            b"tb",
        ]
        .concat()
    }

    fn read(pickle: &[u8]) -> Result<(Vec<u64>, Vec<u8>), String> {
        let pickle = PickledDict::read(pickle)?;
        let (shape, bytes) = pickle.array("data")?.expect("it has the key");
        Ok((shape.to_vec(), bytes.to_vec()))
    }

    #[test]
    fn arrays_of_every_protocol_are_read() {
        let expected = Ok((vec![2, 2], vec![1, 2, 200, 255]));
        let of_python_2 = array("u1", "|", 0x89, b"U\x04\x01\x02\xc8\xff");
        assert_eq!(read(&dict("data", &of_python_2)), expected);
        // As Python 3 writes bytes for Python 2: text, of which the bytes are the Latin-1 code.
        let encoded = "\u{1}\u{2}\u{c8}\u{ff}".as_bytes();
        let call = [b"c_codecs\nencode\nX\x06\0\0\0", encoded, b"X\x06\0\0\0latin1\x86R"].concat();
        assert_eq!(read(&dict("data", &array("u1", "|", 0x89, &call))), expected);
        let of_python_3 = array("u1", "|", 0x89, b"C\x04\x01\x02\xc8\xff");
        assert_eq!(read(&dict("data", &of_python_3)), expected);
        let buffer = [
            b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(\x96\x04\0\0\0\0\0\0\0\x01\x02\xc8\xff",
            &b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"[..],
            b"K\x02K\x02\x86\x8c\x01CtR",
        ]
        .concat();
        assert_eq!(read(&dict("data", &buffer)), expected);
    }

    #[test]
    fn arrays_that_would_be_read_wrongly_are_refused() {
        let bytes = b"U\x04\x01\x02\xc8\xff";
        for wrong in [
            array("u1", "|", 0x88, bytes),
            array("u2", "<", 0x89, bytes),
            array("f4", "<", 0x89, bytes),
            array("u1", "|", 0x89, b"U\x03\x01\x02\xc8"),
            array("u1", "|", 0x89, b"N"),
            b"K\x05".to_vec(),
        ] {
            assert!(read(&dict("data", &wrong)).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn lists_are_read_as_python_2_and_3_write_them() {
        for list in [
            &b"](K\x01M\0\x01J\xff\xff\xff\xffe"[..],
            b"(lp3\nI1\naL256L\naI-1\na",
            b"(K\x01M\0\x01\x8a\x01\xffl",
        ] {
            let bytes = dict("labels", list);
            let pickle = PickledDict::read(&bytes).unwrap();
            assert_eq!(pickle.integers("labels"), Ok(Some(vec![1, 256, -1])), "{}", list.escape_ascii());
            assert_eq!(pickle.integers("coarse_labels"), Ok(None));
            assert!(pickle.strings("labels").is_err());
        }
        for list in [&b"](U\x03catX\x03\0\0\0do\'e"[..], b"(lS'cat'\naS\"do'\"\na", b"(S'cat'\nS'do\\x27'\nl"]
        {
            let bytes = dict("names", list);
            let names = PickledDict::read(&bytes).unwrap().strings("names").unwrap().unwrap();
            assert_eq!(names, ["cat", "do'"], "{}", list.escape_ascii());
        }
        let words = dict("labels", &array("i8", "<", 0x89, &[b"U\x20", &[255; 32][..]].concat()));
        assert!(PickledDict::read(&words).unwrap().integers("labels").is_err(), "it has two axes");
    }

    #[test]
    fn nothing_is_run() {
        for call in
            [&b"cos\nsystem\nU\x04true\x85R"[..], b"\x8c\x05posix\x8c\x06system\x93", b"cbuiltins\neval\n"]
        {
            let error = read(&dict("data", call)).unwrap_err();
            assert!(error.contains("system") || error.contains("eval"), "{error}");
        }
    }

    /// Text that is named a thousand times would be copied as often.
    #[test]
    fn a_small_pickle_stays_small() {
        let long = [b"X\x10\x27\0\0", &vec![b'a'; 10_000][..], b"q\x010"].concat();
        let call = b"c_codecs\nencode\nh\x01h\x01\x86R0".repeat(1000);
        assert!(PickledDict::read(&[b"\x80\x02", &long[..], &call, b"}."].concat()).is_err());
    }
}
