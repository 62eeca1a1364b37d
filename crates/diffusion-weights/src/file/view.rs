//! Where in a file the elements of a tensor are.

use super::entry::Entry;
use crate::Dtype;
use crate::blocks::collect;
use crate::error::{Fault, malformed};
use crate::source::Source;
use std::io;
use std::ops::{Neg, Range};
use std::sync::Arc;

/// The most axes that a tensor may have.
pub(crate) const MAX_RANK: usize = 8;

/// How many bytes are read at once.
const CHUNK: usize = 1 << 14;

/// What values are read as.
pub(crate) trait Number: Copy + Default + Neg<Output = Self> + Send {}

impl<T: Copy + Default + Neg<Output = T> + Send> Number for T {}

/// A tensor that is known to lie inside its file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// How many elements lie between neighbors along each axis.
    stride: Vec<usize>,
    /// The byte at which its first element begins.
    start: u64,
    /// How many elements lie from its first to its last, both included.
    span: usize,
    /// The file in the archive that `start` counts in; none if it counts in the whole.
    entry: Option<Arc<Entry>>,
    /// Whether the values are the stored ones with the opposite sign.
    is_negative: bool,
    /// Which of its file's collections holds it.
    pub home: u32,
}

impl View {
    /// A tensor without gaps, from the byte `start` on; the caller has made sure that it ends inside the file.
    pub(crate) fn contiguous(dtype: Dtype, shape: Vec<usize>, start: u64) -> Self {
        let mut stride = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            stride[axis - 1] = stride[axis] * shape[axis].max(1);
        }
        let span = shape.iter().product();
        Self { dtype, shape, stride, start, span, entry: None, is_negative: false, home: 0 }
    }

    /// A tensor whose values cannot be read, by what it is.
    pub(crate) fn unread(kind: &str) -> Self {
        Self::contiguous(Dtype::Other(kind.to_string()), vec![0], 0)
    }

    /// The tensor in a file of an archive, in which its start counts.
    pub(crate) fn within(self, entry: Arc<Entry>) -> Self {
        Self { entry: Some(entry), ..self }
    }

    /// The tensor with its axes in the opposite order.
    pub(crate) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.stride.reverse();
        self
    }

    /// The tensor with the opposite sign.
    pub(crate) fn negated(self) -> Self {
        Self { is_negative: !self.is_negative, ..self }
    }

    /// How many bytes of the file its elements take, each counted once at most.
    pub(crate) fn bytes(&self) -> u64 {
        let count = self.shape.iter().fold(1usize, |count, &size| count.saturating_mul(size));
        count.min(self.span).saturating_mul(self.dtype.size()) as u64
    }

    /// The tensor as one of the collection of this number.
    pub(crate) fn of(self, home: u32) -> Self {
        Self { home, ..self }
    }

    /// A tensor of any strides in a storage of `count` elements of `size` bytes, of which the first begins at the byte
    /// `start`; the caller has made sure that the storage ends inside the file.
    pub(crate) fn strided(
        dtype: Dtype,
        [start, size, count]: [u64; 3],
        offset: u64,
        [shape, stride]: [&[u64]; 2],
    ) -> Result<Self, Fault> {
        if shape.len() != stride.len() {
            return malformed(format!("a tensor of shape {shape:?} has strides {stride:?}"));
        }
        let mut axes = shape.iter().zip(stride);
        let span = if shape.contains(&0) {
            Some(0)
        } else {
            axes.try_fold(1u64, |span, (size, stride)| span.checked_add((size - 1).checked_mul(*stride)?))
        };
        let end = span.and_then(|span| offset.checked_add(span));
        let (Some(span), Some(_)) = (span, end.filter(|&end| end <= count)) else {
            return malformed(format!(
                "a tensor of shape {shape:?}, strides {stride:?} and offset {offset} leaves its storage of {count} \
                 elements"
            ));
        };
        let sizes =
            |sizes: &[u64]| sizes.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
        match (sizes(shape), sizes(stride), usize::try_from(span)) {
            (Ok(shape), Ok(stride), Ok(span)) => {
                let start = start + offset * size;
                Ok(Self { dtype, shape, stride, start, span, entry: None, is_negative: false, home: 0 })
            }
            _ => malformed(format!("a tensor of shape {shape:?} is too large for this computer")),
        }
    }

    /// The tensor's slices in `rows` along its first axis.
    ///
    /// # Panics
    /// If it has no such rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let of = self.shape.first().copied().unwrap_or_default();
        assert!(
            rows.start <= rows.end && rows.end <= of,
            "rows {rows:?} were asked for, expected some of {of}"
        );
        let mut part = self.clone();
        part.shape[0] = rows.len();
        part.start += (rows.start * self.stride[0] * self.dtype.size()) as u64;
        part.span = match part.shape.contains(&0) {
            true => 0,
            false => {
                1 + part
                    .shape
                    .iter()
                    .zip(&part.stride)
                    .map(|(size, stride)| (size - 1) * stride)
                    .sum::<usize>()
            }
        };
        part
    }

    /// The elements, the last axis varying fastest.
    pub(crate) fn read<T: Number>(
        &self,
        source: &Source,
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<Vec<T>> {
        let stored = self.read_stored(source, decode)?;
        Ok(if self.is_contiguous() { stored } else { self.gather(&stored) })
    }

    /// As [`read`](Self::read), into a place of the right length.
    pub(crate) fn read_into<T: Number>(
        &self,
        source: &Source,
        into: &mut [T],
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<()> {
        let count: usize = self.shape.iter().product();
        assert!(into.len() == count, "room for {} values was given, expected {count}", into.len());
        if self.is_contiguous() {
            return self.read_span(source, 0, into, decode);
        }
        into.copy_from_slice(&self.gather(&self.read_stored(source, decode)?));
        Ok(())
    }

    /// All elements from the first to the last, as they are in the file.
    fn read_stored<T: Number>(
        &self,
        source: &Source,
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<Vec<T>> {
        if self.entry.as_ref().map_or(Ok(true), |entry| entry.has_any_place(source))? {
            return collect(self.span, |from, into| self.read_span(source, from, into, decode));
        }
        let mut stored = vec![T::default(); self.span];
        self.read_span(source, 0, &mut stored, decode)?;
        Ok(stored)
    }

    /// The elements from `from` on, as they are in the file.
    fn read_span<T: Number>(
        &self,
        source: &Source,
        from: usize,
        into: &mut [T],
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<()> {
        let start = self.start + (from * self.dtype.size()) as u64;
        match &self.entry {
            None => self.read_plain(source, start, into, decode)?,
            Some(entry) => self.read_entry((source, entry), start, into, decode)?,
        }
        if self.is_negative {
            into.iter_mut().for_each(|value| *value = -*value);
        }
        Ok(())
    }

    fn read_plain<T>(
        &self,
        source: &Source,
        mut start: u64,
        into: &mut [T],
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<()> {
        let size = self.dtype.size();
        let mut chunk = [0; CHUNK];
        for values in into.chunks_mut(CHUNK / size.max(1)) {
            let bytes = &mut chunk[..values.len() * size];
            source.read_exact_at(bytes, start)?;
            decode(&self.dtype, bytes, values);
            start += bytes.len() as u64;
        }
        Ok(())
    }

    /// From a file in an archive, whose bytes come in parts that may end inside an element.
    fn read_entry<T>(
        &self,
        (source, entry): (&Source, &Entry),
        start: u64,
        into: &mut [T],
        decode: fn(&Dtype, &[u8], &mut [T]),
    ) -> io::Result<()> {
        let size = self.dtype.size().max(1);
        let (mut rest, mut done) = (Vec::new(), 0);
        entry.for_each(source, start, into.len() * size, &mut |_, bytes| {
            rest.extend_from_slice(bytes);
            let whole = rest.len() / size;
            decode(&self.dtype, &rest[..whole * size], &mut into[done..done + whole]);
            rest.drain(..whole * size);
            done += whole;
        })
    }

    /// Whether the elements stand in the file in the order of rows, without gaps.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.span == 0
            || self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected = expected.saturating_mul(size);
                fits
            })
    }

    /// The elements in the order of rows, `stored` being those from the first to the last.
    ///
    /// Only called for shapes that the caller expects, so that a tensor repeated by a stride of 0 is never large.
    fn gather<T: Copy>(&self, stored: &[T]) -> Vec<T> {
        let count = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        while values.len() < count {
            values.push(stored[at]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.stride[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= index[axis] * self.stride[axis];
                index[axis] = 0;
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{bf16, f16};
    use std::io::Write;

    #[test]
    fn values_of_every_type_are_read_across_chunks() {
        let expected: Vec<f32> = (0..40_000).map(|i| (i % 256) as f32 / 4.0 - 32.0).collect();
        let all = |encode: fn(f32) -> Vec<u8>| {
            expected.iter().flat_map(|&value| encode(value)).collect::<Vec<u8>>()
        };
        for (dtype, bytes) in [
            (Dtype::F64, all(|value| f64::from(value).to_le_bytes().to_vec())),
            (Dtype::F32, all(|value| value.to_le_bytes().to_vec())),
            (Dtype::F16, all(|value| f16::from_f32(value).to_le_bytes().to_vec())),
            (Dtype::Bf16, all(|value| bf16::from_f32(value).to_le_bytes().to_vec())),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(b"xyz").unwrap();
            file.write_all(&bytes).unwrap();
            let source = Source::open(file.path()).unwrap();
            let view = View::contiguous(dtype.clone(), vec![20_000, 2], 3);
            assert_eq!(view.read(&source, Dtype::decode_floats).unwrap(), expected, "{dtype}");
            let mut rows = [0.0; 4];
            view.rows(19_990..19_992).read_into(&source, &mut rows, Dtype::decode_floats).unwrap();
            assert_eq!(rows, expected[39_980..39_984]);
        }
    }

    /// Rows of a transpose, of one repeated value, and of nothing are those of the whole.
    #[test]
    fn rows_are_those_of_the_whole_for_any_strides() {
        let source = Source::Memory((0..24u8).collect());
        for (shape, stride, offset) in [
            (&[4, 3][..], &[1, 4][..], 2),
            (&[3, 4], &[4, 1], 5),
            (&[3, 2, 2], &[0, 1, 7], 3),
            (&[5], &[4], 7),
            (&[2, 0, 3], &[3, 3, 1], 24),
        ] {
            let view = View::strided(Dtype::U8, [0, 1, 24], offset, [shape, stride]).unwrap();
            let all = view.read(&source, Dtype::decode_integers).unwrap();
            let rows = shape[0] as usize;
            assert_eq!(all.len(), view.shape.iter().product::<usize>());
            for start in 0..=rows {
                for end in start..=rows {
                    let part = view.rows(start..end).read(&source, Dtype::decode_integers).unwrap();
                    let row = all.len() / rows;
                    assert_eq!(part, all[start * row..end * row], "{shape:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows 2..4 were asked for, expected some of 3")]
    fn rows_outside_panic() {
        View::contiguous(Dtype::F32, vec![3, 2], 0).rows(2..4);
    }
}
