//! Images of one size: what the readers of image files make.

use std::{fmt, sync::Arc};

use crate::{
    codec::{Codec, Pixels},
    dataset::{Dataset, check_index},
    error::DataError,
    identity,
    image_cache::ImageFiles,
    left_out::LeftOut,
    listing::threads,
};

/// Labeled images of one size, read as values in [−1, 1]; kept in memory as bytes, or in their files where they do not
/// fit.
#[derive(Clone)]
pub struct Images {
    shape: [usize; 3],
    store: Store,
    labels: Vec<u32>,
    num_classes: usize,
    class_names: Option<Vec<String>>,
    left_out: LeftOut,
    notes: Vec<String>,
    /// What each image is known by, if not by its place.
    identities: Option<Vec<u64>>,
}

/// Where the pixels are.
#[derive(Clone)]
enum Store {
    Memory(Vec<u8>),
    Files(Arc<ImageFiles>),
}

impl Images {
    /// The images that lie one after the other in `bytes`, and the class of each.
    ///
    /// # Shapes
    /// - `shape`: channels, height and width, at least 1 of each
    /// - `bytes`: as many times the product of `shape` as there are labels
    ///
    /// # Panics
    /// If there are not as many images as labels, or a label is not below `num_classes`.
    pub(crate) fn new(shape: [usize; 3], bytes: Vec<u8>, labels: Vec<u32>, num_classes: usize) -> Self {
        let (found, expected) = (bytes.len(), labels.len() * shape.iter().product::<usize>());
        assert!(
            found == expected,
            "{found} bytes were given for {} images of shape {shape:?}, expected {expected}",
            labels.len(),
        );
        Self::stored(shape, Store::Memory(bytes), labels, num_classes)
    }

    /// The images that lie one after the other in `bytes`, all of one class.
    ///
    /// # Shapes
    /// - `shape`: channels, height and width, at least 1 of each
    /// - `bytes`: a multiple of the product of `shape`
    ///
    /// # Panics
    /// If the last image lacks a byte.
    pub fn from_bytes(shape: [usize; 3], bytes: Vec<u8>) -> Self {
        let count = bytes.len() / shape.iter().product::<usize>().max(1);
        Self::new(shape, bytes, vec![0; count], 1)
    }

    /// The images in `files`, of which there are as many as labels.
    ///
    /// # Panics
    /// If a label is not below `num_classes`.
    pub(crate) fn of_files(
        shape: [usize; 3],
        files: ImageFiles,
        labels: Vec<u32>,
        num_classes: usize,
    ) -> Self {
        Self::stored(shape, Store::Files(Arc::new(files)), labels, num_classes)
    }

    fn stored(shape: [usize; 3], store: Store, labels: Vec<u32>, num_classes: usize) -> Self {
        if let Some(label) = labels.iter().find(|&&label| label as usize >= num_classes) {
            panic!("the label {label} was given, expected one below {num_classes}");
        }
        let (class_names, left_out, notes, identities) = (None, LeftOut::default(), Vec::new(), None);
        Self { shape, store, labels, num_classes, class_names, left_out, notes, identities }
    }

    /// The same images, of whose folder this was left out.
    pub(crate) fn with_left_out(self, left_out: LeftOut) -> Self {
        Self { left_out, ..self }
    }

    /// The same images, of whose reading this should be known.
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// The same images, whose classes have these names.
    pub(crate) fn with_class_names(self, names: Vec<String>) -> Self {
        let (found, expected) = (names.len(), self.num_classes);
        assert!(found == expected, "{found} names were given, expected {expected}, one for each class");
        Self { class_names: Some(names), ..self }
    }

    /// The same images, which have names, whose hashes these are.
    pub(crate) fn with_identities(self, identities: Vec<u64>) -> Self {
        let (found, expected) = (identities.len(), self.labels.len());
        assert!(found == expected, "{found} identities were given, expected {expected}, one for each image");
        Self { identities: Some(identities), ..self }
    }

    /// The number of classes; labels lie below it.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The names of the classes in the order of the labels, where the files tell them or the data set has known ones.
    ///
    /// A folder's name that is not Unicode is shown with replacement characters.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// What was passed over in the folder of the images: files of other kinds, and names that systems put there.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// What else should be known of how the files were taken, in sentences: which of several copies was read, or that
    /// folders are called as the parts of a data set and were taken as classes.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the pixels are kept in memory; if not, an image is decoded when it is read, unless it is among those that
    /// were read last.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.store, Store::Memory(_))
    }
}

impl Dataset for Images {
    type Label = usize;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        match &self.store {
            Store::Memory(bytes) => Pixels.encode(&bytes[index * size..(index + 1) * size], into),
            Store::Files(files) => Pixels.encode(&files.read(index)?, into),
        }
        Ok(self.labels[index] as usize)
    }

    fn readers(&self) -> usize {
        if self.is_in_memory() { 1 } else { threads() }
    }

    fn identity(&self, index: usize) -> u64 {
        self.identities.as_ref().map_or_else(|| identity::of_place(index), |identities| identities[index])
    }
}

impl fmt::Debug for Images {
    /// Leaves out pixels and labels, but tells how many bytes the pixels take in memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.store {
            Store::Memory(bytes) => bytes.len(),
            Store::Files(_) => 0,
        };
        f.debug_struct("Images")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("classes", &self.num_classes)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of 1 × 2 pixels.
    fn two() -> Images {
        Images::new([1, 1, 2], vec![0, 255, 51, 102], vec![2, 0], 3)
    }

    #[test]
    fn pixels_and_labels_come_back() {
        let data = two();
        assert_eq!((data.len(), data.shape(), data.num_classes()), (2, &[1, 1, 2][..], 3));
        let mut into = [0.0; 2];
        assert_eq!((data.read(0, &mut into).unwrap(), into), (2, [-1.0, 1.0]));
        // 51 / 255 · 2 − 1 = −0.6 and 102 / 255 · 2 − 1 = −0.2.
        assert_eq!(data.read(1, &mut into).unwrap(), 0);
        assert!((into[0] + 0.6).abs() < 1e-6 && (into[1] + 0.2).abs() < 1e-6, "{into:?}");
    }

    #[test]
    fn classes_may_have_names() {
        assert_eq!(two().class_names(), None);
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(two().with_class_names(names.to_vec()).class_names(), Some(&names[..]));
    }

    #[test]
    fn debugging_tells_the_memory() {
        assert_eq!(format!("{:?}", two()), "Images { len: 2, shape: [1, 1, 2], classes: 3, bytes: 4, .. }");
    }

    #[test]
    #[should_panic(expected = "3 bytes were given for 2 images of shape [1, 1, 2], expected 4")]
    fn a_missing_byte_panics() {
        Images::new([1, 1, 2], vec![0; 3], vec![0; 2], 1);
    }

    #[test]
    #[should_panic(expected = "the label 3 was given, expected one below 3")]
    fn a_label_beyond_the_classes_panics() {
        Images::new([1, 1, 1], vec![0; 2], vec![0, 3], 3);
    }

    #[test]
    #[should_panic(expected = "2 names were given, expected 3, one for each class")]
    fn a_missing_name_panics() {
        two().with_class_names(vec![String::new(); 2]);
    }

    #[test]
    #[should_panic(expected = "room for 3 values was given, expected 2")]
    fn room_for_another_size_panics() {
        let _ = two().read(0, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "example 2 was asked for, expected an index below 2")]
    fn an_index_outside_panics() {
        let _ = two().read(2, &mut [0.0; 2]);
    }
}
