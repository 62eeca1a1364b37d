//! A data set is a numbered list of examples of one shape, each with a label or without.

use std::{fmt::Debug, sync::Arc};

use burn::tensor::TensorData;
use diffusion_core::network::Labels;

/// Examples of one shape that can be read in any order, from any thread.
///
/// A new data set needs three methods and the type of its labels; `Box`, `Arc` and `&` of a data set are data sets.
/// One that wraps another hands on [`read_mirrored`](Self::read_mirrored) and [`can_mirror`](Self::can_mirror) too.
pub trait Dataset: Send + Sync {
    /// What is known about an example besides its values: `usize` for a class, `()` for nothing.
    type Label: Label;

    /// The number of examples.
    fn len(&self) -> usize;

    /// The shape of one example, such as `[2]` for a point or `[1, 28, 28]` for a gray image.
    fn shape(&self) -> &[usize];

    /// Copies example `index` into `into` and returns its label.
    ///
    /// # Shapes
    /// - `into`: as long as the product of [`shape`](Self::shape), filled in row-major order
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len), or `into` has another length than an example.
    fn read(&self, index: usize, into: &mut [f32]) -> Self::Label;

    /// Copies the mirror image of example `index` into `into`, left and right exchanged, and returns its label.
    ///
    /// Reverses the last axis of the example, unless the data set knows better: if its values are not pixels but what
    /// an encoder made of an image, their mirror image is what it makes of the mirrored image.
    ///
    /// # Shapes
    /// - `into`: as for [`read`](Self::read)
    ///
    /// # Panics
    /// As [`read`](Self::read), or if [`can_mirror`](Self::can_mirror) says why there is no mirror image.
    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Self::Label {
        if let Err(why) = self.can_mirror() {
            panic!("{why}");
        }
        let label = self.read(index, into);
        let width = self.shape()[self.shape().len() - 1];
        into.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        label
    }

    /// Whether examples have a mirror image, as those do that have a height and a width.
    ///
    /// # Errors
    /// If they have none: a sentence that says what was found and expected.
    fn can_mirror(&self) -> Result<(), String> {
        match self.shape() {
            [] | [_] => Err(format!(
                "examples have the shape {:?}, expected a height and a width to mirror",
                self.shape()
            )),
            _ => Ok(()),
        }
    }

    /// Whether there is no example at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples at `indices`, in that order, with their labels.
    ///
    /// # Shapes
    /// - returns `[indices.len(), ...shape]` of f32, and as many labels
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    fn gather(&self, indices: &[usize]) -> (TensorData, <Self::Label as Label>::Condition) {
        gather(self, indices, |_| false)
    }

    /// The first `n` examples.
    ///
    /// # Shapes
    /// - returns `[n, ...shape]` of f32
    ///
    /// # Panics
    /// If `n` is greater than [`len`](Self::len).
    fn first(&self, n: usize) -> TensorData {
        assert!(n <= self.len(), "the first {n} examples were asked for, expected at most {}", self.len());
        self.gather(&Vec::from_iter(0..n)).0
    }

    /// All examples at once, for an ideal denoiser or a scatter plot.
    ///
    /// # Shapes
    /// - returns `[len, ...shape]` of f32
    fn all(&self) -> TensorData {
        self.first(self.len())
    }

    /// The same examples without their labels, to train an unconditional model.
    fn unlabeled(self) -> Unlabeled<Self>
    where
        Self: Sized,
    {
        Unlabeled(self)
    }
}

/// What an example is labeled with, and what the labels of a batch become together.
pub trait Label: Clone + Debug + Send + 'static {
    /// The labels of a batch, as a conditional network takes them.
    type Condition: Clone + Debug + Send + 'static;

    /// Brings the labels of a batch together, in the order of its examples.
    fn collect(labels: Vec<Self>) -> Self::Condition;
}

impl Label for () {
    type Condition = ();

    fn collect(_: Vec<()>) {}
}

impl Label for usize {
    type Condition = Labels;

    fn collect(labels: Vec<usize>) -> Labels {
        Labels(labels)
    }
}

/// A data set whose labels are withheld; made by [`Dataset::unlabeled`].
#[derive(Clone, Copy, Debug)]
pub struct Unlabeled<D>(D);

impl<D: Dataset> Dataset for Unlabeled<D> {
    type Label = ();

    fn len(&self) -> usize {
        self.0.len()
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn read(&self, index: usize, into: &mut [f32]) {
        self.0.read(index, into);
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) {
        self.0.read_mirrored(index, into);
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.0.can_mirror()
    }
}

macro_rules! forward_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            type Label = D::Label;

            fn len(&self) -> usize {
                (**self).len()
            }

            fn shape(&self) -> &[usize] {
                (**self).shape()
            }

            fn read(&self, index: usize, into: &mut [f32]) -> D::Label {
                (**self).read(index, into)
            }

            fn read_mirrored(&self, index: usize, into: &mut [f32]) -> D::Label {
                (**self).read_mirrored(index, into)
            }

            fn can_mirror(&self) -> Result<(), String> {
                (**self).can_mirror()
            }
        }
    )*};
}

forward_to_pointee!(Box<D>, Arc<D>, &D);

/// The examples at `indices`, in that order, with their labels; mirrored are those of which `mirrored` says so.
pub(crate) fn gather<D: Dataset + ?Sized>(
    dataset: &D,
    indices: &[usize],
    mirrored: impl Fn(usize) -> bool,
) -> (TensorData, <D::Label as Label>::Condition) {
    let size: usize = dataset.shape().iter().product();
    let mut values = vec![0.0_f32; indices.len() * size];
    let mut labels = Vec::with_capacity(indices.len());
    for (i, &index) in indices.iter().enumerate() {
        let into = &mut values[i * size..(i + 1) * size];
        let label =
            if mirrored(index) { dataset.read_mirrored(index, into) } else { dataset.read(index, into) };
        labels.push(label);
    }
    let shape = [&[indices.len()], dataset.shape()].concat();
    (TensorData::new(values, shape), Label::collect(labels))
}

/// Every data set's guard of [`Dataset::read`].
#[track_caller]
pub(crate) fn check_index(index: usize, len: usize) {
    assert!(index < len, "example {index} was asked for, expected an index below {len}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Points;

    fn counting() -> Points<usize> {
        Points::new((0..12).map(|x| x as f32).collect(), &[1, 3]).labeled(vec![4, 5, 6, 7])
    }

    #[test]
    fn gather_keeps_the_order_that_was_asked_for() {
        let (examples, labels) = counting().gather(&[2, 0, 2]);
        assert_eq!(examples, TensorData::new(vec![6_f32, 7., 8., 0., 1., 2., 6., 7., 8.], [3, 1, 3]));
        assert_eq!(labels, Labels(vec![6, 4, 6]));
    }

    #[test]
    fn all_and_first_are_gathered_in_order() {
        let data = counting();
        assert_eq!(data.all(), data.gather(&[0, 1, 2, 3]).0);
        assert_eq!(data.first(2), data.gather(&[0, 1]).0);
        assert_eq!(data.first(0).shape.as_slice(), [0, 1, 3]);
    }

    #[test]
    fn wrapped_data_sets_read_the_same_examples() {
        let data = counting();
        let boxed: Box<dyn Dataset<Label = usize>> = Box::new(data.clone());
        assert_eq!((boxed.len(), boxed.shape(), boxed.is_empty()), (4, &[1, 3][..], false));
        assert_eq!(boxed.gather(&[3, 1]), data.gather(&[3, 1]));
        let unlabeled = Arc::new(boxed).unlabeled();
        let (rows, ()) = unlabeled.gather(&[3, 1]);
        assert_eq!((rows, unlabeled.len()), (data.gather(&[3, 1]).0, 4));
    }

    /// Of 1 × 1 values, whose mirror images are their negatives.
    struct Signed;

    impl Dataset for Signed {
        type Label = usize;

        fn len(&self) -> usize {
            5
        }

        fn shape(&self) -> &[usize] {
            &[1, 1]
        }

        fn read(&self, index: usize, into: &mut [f32]) -> usize {
            into[0] = index as f32;
            index + 10
        }

        fn read_mirrored(&self, index: usize, into: &mut [f32]) -> usize {
            into[0] = -(index as f32);
            index + 20
        }

        fn can_mirror(&self) -> Result<(), String> {
            Err("ask someone else".to_owned())
        }
    }

    #[test]
    fn the_last_axis_is_mirrored() {
        let data = Points::new((0..12).map(|x| x as f32).collect(), &[2, 3]).labeled(vec![8, 9]);
        assert_eq!(data.can_mirror(), Ok(()));
        let mut into = [0.0; 6];
        assert_eq!((data.read_mirrored(1, &mut into), into), (9, [8., 7., 6., 11., 10., 9.]));
    }

    #[test]
    fn wrapped_data_sets_have_their_own_mirror_images() {
        fn check<D: Dataset>(data: D, label: D::Label)
        where
            D::Label: PartialEq,
        {
            let mut into = [0.0];
            assert_eq!((data.read_mirrored(3, &mut into), into), (label, [-3.0]));
            assert_eq!(data.can_mirror(), Err("ask someone else".to_owned()));
        }
        check(Signed, 23);
        check(&Signed, 23);
        check(Box::new(Signed), 23);
        check(Box::new(Signed) as Box<dyn Dataset<Label = usize>>, 23);
        check(Arc::new(Signed), 23);
        check(Signed.unlabeled(), ());
    }

    #[test]
    fn gathering_mirrors_what_it_is_told_to() {
        let (examples, labels) = gather(&Signed, &[4, 1, 2, 1], |index| index != 2);
        assert_eq!(examples, TensorData::new(vec![-4_f32, -1., 2., -1.], [4, 1, 1]));
        assert_eq!(labels, Labels(vec![24, 21, 12, 21]));
    }

    #[test]
    #[should_panic(expected = "examples have the shape [2], expected a height and a width to mirror")]
    fn the_mirror_image_of_a_point_panics() {
        Points::new(vec![0.0; 4], &[2]).read_mirrored(0, &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "example 4 was asked for, expected an index below 4")]
    fn an_index_outside_panics() {
        counting().read(4, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "the first 5 examples were asked for, expected at most 4")]
    fn more_than_all_panics() {
        counting().first(5);
    }
}
