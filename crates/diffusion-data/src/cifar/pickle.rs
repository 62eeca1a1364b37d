//! Pickles of lists, strings and NumPy arrays, read without running anything.
//!
//! The files of CIFAR's Python version are dicts that Python 2 pickled; people write them anew with later versions. The
//! reader of weights passes over what stands in them, strings, lists and arrays, so this one is of their own.

mod machine;
mod value;

use std::collections::HashMap;

use machine::Machine;
use value::{Array, Fault, Id, Value};

/// The shape and the bytes of an array.
type Bytes<'a> = (&'a [usize], &'a [u8]);

/// A dict of strings.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    dict: HashMap<Vec<u8>, Id>,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle, which must be a dict.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (values, root) = Machine::run(bytes)?;
        let Value::Dict(items) = &values[root as usize] else {
            return Err("its pickle holds no dict".to_owned());
        };
        let mut dict = HashMap::new();
        for &(key, value) in items {
            if let Value::Bytes(key) = &values[key as usize] {
                // A key is short; one that is named again and again costs nothing.
                if key.len() <= 100 {
                    dict.insert(key.to_vec(), value);
                }
            }
        }
        Ok(Self { values, dict })
    }

    fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.dict.get(key.as_bytes()).map(|&id| &self.values[id as usize])
    }

    /// The strings in a list, if there is one of this key.
    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::List(items) = value else { return Err(format!("its `{key}` is no list")) };
        let text = |&item: &Id| match &self.values[item as usize] {
            Value::Bytes(text) if text.len() <= 100 => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(format!("its `{key}` holds something else than names")),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// The integers in a list or in an array of one axis, if there is one of this key.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wrong = || format!("its `{key}` is no list of integers");
        match value {
            Value::List(items) => {
                let integer = |&item: &Id| match self.values[item as usize] {
                    Value::Int(value) => Ok(value),
                    _ => Err(wrong()),
                };
                items.iter().map(integer).collect::<Result<_, _>>().map(Some)
            }
            Value::Array(array) if array.shape.len() == 1 => {
                let (dtype, bytes) = self.content(array, key)?;
                let of =
                    |word: &[u8]| word.iter().rev().fold(0_i64, |value, &byte| value << 8 | i64::from(byte));
                match dtype {
                    b"u1" => Ok(Some(bytes.iter().map(|&byte| byte.into()).collect())),
                    b"i4" => Ok(Some(bytes.chunks_exact(4).map(|word| of(word) << 32 >> 32).collect())),
                    b"i8" => Ok(Some(bytes.chunks_exact(8).map(of).collect())),
                    _ => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    /// The shape and the bytes of an array of bytes, if there is one of this key.
    pub(super) fn array(&self, key: &str) -> Result<Option<Bytes<'_>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array(array) = value else { return Err(format!("its `{key}` is no array of NumPy's")) };
        match self.content(array, key)? {
            (b"u1", bytes) => Ok(Some((&array.shape, bytes))),
            (dtype, _) => {
                let dtype = String::from_utf8_lossy(dtype);
                Err(format!("its `{key}` is an array of {dtype}, expected u1, bytes"))
            }
        }
    }

    /// The type and the bytes of an array, which are as many as its shape says.
    fn content(&self, array: &Array, key: &str) -> Result<(&[u8], &[u8]), Fault> {
        let values = &self.values;
        let (Some(&Value::Dtype(dtype, is_big)), Some(Value::Bytes(bytes))) =
            (values.get(array.dtype as usize), values.get(array.bytes as usize))
        else {
            return Err(format!("its `{key}` is an array without a type or bytes"));
        };
        let width = match dtype {
            [_, width @ b'1'..=b'8'] => usize::from(width - b'0'),
            _ => return Err(format!("its `{key}` is an array of an unknown type")),
        };
        if is_big && width > 1 {
            return Err(format!("its `{key}` has its greatest bytes first, expected last"));
        }
        let count = array.shape.iter().try_fold(width, |count, &n| count.checked_mul(n));
        if count != Some(bytes.len()) {
            return Err(format!(
                "its `{key}` of shape {:?} and {width} bytes each has {} bytes",
                array.shape,
                bytes.len()
            ));
        }
        Ok((dtype, bytes))
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

    fn content(pickle: &[u8]) -> Result<(Vec<usize>, Vec<u8>), Fault> {
        let pickle = Pickle::read(pickle)?;
        let (shape, bytes) = pickle.array("data")?.expect("it has the key");
        Ok((shape.to_vec(), bytes.to_vec()))
    }

    #[test]
    fn arrays_of_every_protocol_are_read() {
        let expected = Ok((vec![2, 2], vec![1, 2, 200, 255]));
        let of_python_2 = array("u1", "|", 0x89, b"U\x04\x01\x02\xc8\xff");
        assert_eq!(content(&dict("data", &of_python_2)), expected);
        // As Python 3 writes bytes for Python 2: text, of which the bytes are the Latin-1 code.
        let encoded = "\u{1}\u{2}\u{c8}\u{ff}".as_bytes();
        let call = [b"c_codecs\nencode\nX\x06\0\0\0", encoded, b"X\x06\0\0\0latin1\x86R"].concat();
        assert_eq!(content(&dict("data", &array("u1", "|", 0x89, &call))), expected);
        let of_python_3 = array("u1", "|", 0x89, b"C\x04\x01\x02\xc8\xff");
        assert_eq!(content(&dict("data", &of_python_3)), expected);
        let buffer = [
            b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(\x96\x04\0\0\0\0\0\0\0\x01\x02\xc8\xff",
            &b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"[..],
            b"K\x02K\x02\x86\x8c\x01CtR",
        ]
        .concat();
        assert_eq!(content(&dict("data", &buffer)), expected);
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
            assert!(content(&dict("data", &wrong)).is_err(), "{}", wrong.escape_ascii());
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
            let pickle = Pickle::read(&bytes).unwrap();
            assert_eq!(pickle.integers("labels"), Ok(Some(vec![1, 256, -1])), "{}", list.escape_ascii());
            assert_eq!(pickle.integers("coarse_labels"), Ok(None));
            assert!(pickle.strings("labels").is_err());
        }
        for list in [&b"](U\x03catX\x03\0\0\0do\'e"[..], b"(lS'cat'\naS\"do'\"\na", b"(S'cat'\nS'do\\x27'\nl"]
        {
            let bytes = dict("names", list);
            let names = Pickle::read(&bytes).unwrap().strings("names").unwrap().unwrap();
            assert_eq!(names, ["cat", "do'"], "{}", list.escape_ascii());
        }
        let words = dict("labels", &array("i8", "<", 0x89, &[b"U\x20", &[255; 32][..]].concat()));
        assert!(Pickle::read(&words).unwrap().integers("labels").is_err(), "it has two axes");
    }

    #[test]
    fn nothing_is_run() {
        for call in
            [&b"cos\nsystem\nU\x04true\x85R"[..], b"\x8c\x05posix\x8c\x06system\x93", b"cbuiltins\neval\n"]
        {
            let error = Pickle::read(&dict("data", call)).err().unwrap();
            assert!(error.contains("system") || error.contains("eval"), "{error}");
        }
    }

    /// Text that is named a thousand times would be copied as often.
    #[test]
    fn a_small_pickle_stays_small() {
        let long = [b"X\x10\x27\0\0", &vec![b'a'; 10_000][..], b"q\x010"].concat();
        let call = b"c_codecs\nencode\nh\x01h\x01\x86R0".repeat(1000);
        assert!(Pickle::read(&[b"\x80\x02", &long[..], &call, b"}."].concat()).is_err());
    }
}
