//! A data set whose kind, and whether it has labels, is known only while the program runs.

use std::{fmt, sync::Arc};

use diffusion_core::{AnyCondition, network::Labels};

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
    class_names: Option<Arc<[String]>>,
    notes: Arc<[String]>,
}

impl AnyDataset {
    /// An unlabeled data set.
    pub fn unlabeled(dataset: impl Dataset + 'static) -> Self {
        let dataset = Any(dataset, |_| AnyLabel::None);
        Self { dataset: Arc::new(dataset), num_classes: None, class_names: None, notes: Arc::default() }
    }

    /// A data set of `num_classes` classes, below which its labels lie.
    pub fn labeled(dataset: impl Dataset<Label = usize> + 'static, num_classes: usize) -> Self {
        let dataset = Any(dataset, AnyLabel::Class);
        Self {
            num_classes: Some(num_classes),
            dataset: Arc::new(dataset),
            class_names: None,
            notes: Arc::default(),
        }
    }

    /// The number of classes, or `None` if the examples have no labels.
    pub fn num_classes(&self) -> Option<usize> {
        self.num_classes
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
            .finish_non_exhaustive()
    }
}

/// The label of an example, where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyLabel {
    /// Nothing is known about the example.
    None,
    /// Its class.
    Class(usize),
}

impl Label for AnyLabel {
    type Condition = AnyCondition;

    /// # Panics
    /// If some of the labels are classes and some are not.
    fn collect(labels: Vec<Self>) -> AnyCondition {
        let class = |label: &Self| match label {
            Self::None => None,
            Self::Class(class) => Some(*class),
        };
        let classes: Vec<usize> = labels.iter().filter_map(class).collect();
        assert!(
            classes.is_empty() || classes.len() == labels.len(),
            "{} of {} examples of a batch have a label, expected all or none",
            classes.len(),
            labels.len(),
        );
        if classes.is_empty() { AnyCondition::None } else { AnyCondition::Labels(Labels(classes)) }
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

    #[test]
    #[should_panic(expected = "1 of 2 examples of a batch have a label, expected all or none")]
    fn half_a_label_panics() {
        AnyLabel::collect(vec![AnyLabel::None, AnyLabel::Class(3)]);
    }
}
