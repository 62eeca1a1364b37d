//! A data set whose kind, and whether it has labels, is known only while the program runs.

use std::{fmt, sync::Arc};

use diffusion_core::{AnyCondition, Tokens, network::Labels};

use crate::{
    dataset::{Dataset, Label},
    error::DataError,
    images::Images,
    subset::ValidationSplit,
};

/// Any data set, labeled or not: one type, so that what trains on it is compiled once.
///
/// A clone shares the examples.
#[derive(Clone)]
pub struct AnyDataset {
    dataset: Arc<dyn Dataset<Label = AnyLabel>>,
    num_classes: Option<usize>,
    text_shape: Option<[usize; 2]>,
    class_names: Option<Arc<[String]>>,
    notes: Arc<[String]>,
}

impl AnyDataset {
    /// Of labels nothing is known but what they are themselves.
    fn of<D: Dataset + 'static>(dataset: D, label: fn(D::Label) -> AnyLabel) -> Self {
        Self {
            dataset: Arc::new(Any(dataset, label)),
            num_classes: None,
            text_shape: None,
            class_names: None,
            notes: Arc::default(),
        }
    }

    /// An unlabeled data set.
    pub fn unlabeled(dataset: impl Dataset + 'static) -> Self {
        Self::of(dataset, |_| AnyLabel::None)
    }

    /// A data set of `num_classes` classes, below which its labels lie.
    pub fn labeled(dataset: impl Dataset<Label = usize> + 'static, num_classes: usize) -> Self {
        Self { num_classes: Some(num_classes), ..Self::of(dataset, AnyLabel::Class) }
    }

    /// A data set whose labels are encoded texts, each `[1, tokens, width]` where `text_shape` is `[tokens, width]`.
    pub fn captioned(dataset: impl Dataset<Label = Arc<Tokens>> + 'static, text_shape: [usize; 2]) -> Self {
        Self { text_shape: Some(text_shape), ..Self::of(dataset, AnyLabel::Text) }
    }

    /// The number of classes, or `None` if the examples have no labels.
    pub fn num_classes(&self) -> Option<usize> {
        self.num_classes
    }

    /// The number of tokens of a text and the width of one, or `None` if the examples have no texts.
    pub fn text_shape(&self) -> Option<[usize; 2]> {
        self.text_shape
    }

    /// The names of the classes in the order of the labels, where they are known.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// What its user should know of how it was read, in sentences, such as what was left out of a folder.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same examples without their labels, to train an unconditional model.
    pub fn without_labels(self) -> Self {
        Self { notes: self.notes.clone(), ..Self::unlabeled(self) }
    }

    /// The examples to train on and those to validate on, each in the order of the data set; either may be empty where the
    /// split was made for other data.
    pub fn split(self, split: ValidationSplit) -> (Self, Self) {
        let (training, validation) = split.apply(self.dataset.clone());
        let part = |dataset| Self { dataset: Arc::new(dataset), ..self.clone() };
        (part(training), part(validation))
    }
}

impl From<Images> for AnyDataset {
    fn from(images: Images) -> Self {
        let class_names = images.class_names().map(Arc::from);
        let num_classes = images.num_classes();
        let left_out = Some(images.left_out()).filter(|left_out| !left_out.is_empty());
        let left_out = left_out.map(|left_out| format!("left out: {left_out}"));
        let reading =
            "the images do not fit into the memory that they may take, so they are read as they are needed";
        let reading = (!images.is_in_memory()).then(|| reading.to_owned());
        let notes = images.notes().iter().cloned().chain(left_out).chain(reading).collect();
        Self { class_names, notes, ..Self::labeled(images, num_classes) }
    }
}

impl Dataset for AnyDataset {
    type Label = AnyLabel;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> &[usize] {
        self.dataset.shape()
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<AnyLabel, DataError> {
        self.dataset.read(index, into)
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<AnyLabel, DataError> {
        self.dataset.read_mirrored(index, into)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.dataset.can_mirror()
    }

    fn has_noise(&self) -> bool {
        self.dataset.has_noise()
    }

    fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        self.dataset.read_noise(index, into)
    }

    fn readers(&self) -> usize {
        self.dataset.readers()
    }

    fn identity(&self, index: usize) -> u64 {
        self.dataset.identity(index)
    }
}

impl fmt::Debug for AnyDataset {
    /// Leaves out the examples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDataset")
            .field("len", &self.len())
            .field("shape", &self.shape())
            .field("num_classes", &self.num_classes)
            .field("text_shape", &self.text_shape)
            .finish_non_exhaustive()
    }
}

/// The label of an example, where there may be none.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyLabel {
    /// Nothing is known about the example.
    None,
    /// Its class.
    Class(usize),
    /// Its encoded text, `[1, tokens, width]`.
    Text(Arc<Tokens>),
}

impl Label for AnyLabel {
    type Condition = AnyCondition;

    /// # Panics
    /// If the labels are of different kinds, or texts differ in shape.
    fn collect(labels: Vec<Self>) -> AnyCondition {
        let count = labels.len();
        let (mut classes, mut texts) = (Vec::new(), Vec::new());
        for label in labels {
            match label {
                Self::None => {}
                Self::Class(class) => classes.push(class),
                Self::Text(text) => texts.push(text),
            }
        }
        for (found, kind) in [(classes.len(), "label"), (texts.len(), "text")] {
            assert!(
                found == 0 || found == count,
                "{found} of {count} examples of a batch have a {kind}, expected all or none",
            );
        }
        if !texts.is_empty() {
            AnyCondition::Tokens(Label::collect(texts))
        } else if !classes.is_empty() {
            AnyCondition::Labels(Labels(classes))
        } else {
            AnyCondition::None
        }
    }
}

/// A data set and what its labels become.
struct Any<D: Dataset>(D, fn(D::Label) -> AnyLabel);

impl<D: Dataset> Dataset for Any<D> {
    type Label = AnyLabel;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<AnyLabel, DataError> {
        self.0.read(index, into).map(self.1)
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<AnyLabel, DataError> {
        self.0.read_mirrored(index, into).map(self.1)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.0.can_mirror()
    }

    fn has_noise(&self) -> bool {
        self.0.has_noise()
    }

    fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        self.0.read_noise(index, into)
    }

    fn readers(&self) -> usize {
        self.0.readers()
    }

    fn identity(&self, index: usize) -> u64 {
        self.0.identity(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batches, Points, Swissroll};

    /// `n` images of 1 × 2 pixels, labeled with their indices.
    fn numbered(n: usize) -> Points<usize> {
        Points::new((0..2 * n).map(|x| x as f32).collect(), &[1, 2]).labeled((0..n).collect())
    }

    #[test]
    fn examples_labels_and_mirror_images_are_those_of_the_data_set() {
        let data = AnyDataset::labeled(numbered(5), 5);
        assert_eq!((data.len(), data.shape(), data.num_classes()), (5, &[1, 2][..], Some(5)));
        let (values, labels) = data.gather(&[3, 1]).unwrap();
        assert_eq!(
            (values, labels),
            (numbered(5).gather(&[3, 1]).unwrap().0, AnyCondition::Labels(Labels(vec![3, 1])))
        );
        let mut into = [0.0; 2];
        assert_eq!((data.read_mirrored(2, &mut into).unwrap(), into), (AnyLabel::Class(2), [5.0, 4.0]));
        assert_eq!(data.can_mirror(), Ok(()));
    }

    #[test]
    fn unlabeled_data_sets_are_of_the_same_type() {
        let roll = Swissroll::new(1.0, 2.0, 7);
        let withheld = AnyDataset::labeled(numbered(7), 7).without_labels();
        for data in [AnyDataset::unlabeled(roll), withheld] {
            assert_eq!((data.len(), data.num_classes(), data.class_names()), (7, None, None));
            assert!(Batches::new(data, 3, 0).epochs(1).all(|batch| batch.unwrap().1 == AnyCondition::None));
        }
        assert!(AnyDataset::unlabeled(roll).can_mirror().is_err());
    }

    #[test]
    fn both_parts_of_a_split_keep_the_classes() {
        let names = ["cat", "dog"].map(str::to_owned);
        let images = Images::new([1, 1, 1], vec![0; 20], vec![1; 20], 2).with_class_names(names.to_vec());
        let (training, validation) = {
            let data = AnyDataset::from(images);
            let split = ValidationSplit::new(&data, 4, 0);
            data.split(split)
        };
        assert_eq!((training.len(), validation.len()), (16, 4));
        for part in [training, validation] {
            assert_eq!((part.num_classes(), part.class_names()), (Some(2), Some(&names[..])));
        }
    }

    /// A text of two tokens of width 1.
    fn text(value: f32) -> Arc<Tokens> {
        Arc::new(Tokens::new(vec![value, value + 0.5], [1, 2, 1]))
    }

    #[test]
    fn texts_are_those_of_the_data_set() {
        let points = Points::new((0..6).map(|x| x as f32).collect(), &[1, 2]);
        let points = points.captioned([3.0, 4.0, 5.0].map(text).to_vec());
        let data = AnyDataset::captioned(points, [2, 1]);
        assert_eq!((data.text_shape(), data.num_classes()), (Some([2, 1]), None));
        let condition = data.gather(&[2, 0, 2]).unwrap().1;
        let expected = Tokens::new(vec![5.0, 5.5, 3.0, 3.5, 5.0, 5.5], [3, 2, 1]);
        assert_eq!(condition, AnyCondition::Tokens(expected));
        let (training, rest) = data.clone().split(ValidationSplit::new(&data, 1, 0));
        assert_eq!((training.text_shape(), rest.text_shape()), (Some([2, 1]), Some([2, 1])));
        let none = data.without_labels();
        assert_eq!((none.text_shape(), none.gather(&[1]).unwrap().1), (None, AnyCondition::None));
    }

    #[test]
    #[should_panic(expected = "1 of 2 examples of a batch have a text, expected all or none")]
    fn half_a_text_panics() {
        AnyLabel::collect(vec![AnyLabel::None, AnyLabel::Text(text(0.0))]);
    }

    #[test]
    #[should_panic(expected = "texts of a batch are [2, 1] and [1, 2]")]
    fn texts_of_two_shapes_panic() {
        let other = Arc::new(Tokens::new(vec![0.0; 2], [1, 1, 2]));
        AnyLabel::collect(vec![AnyLabel::Text(text(0.0)), AnyLabel::Text(other)]);
    }

    #[test]
    #[should_panic(expected = "1 of 2 examples of a batch have a label, expected all or none")]
    fn half_a_label_panics() {
        AnyLabel::collect(vec![AnyLabel::None, AnyLabel::Class(3)]);
    }
}
