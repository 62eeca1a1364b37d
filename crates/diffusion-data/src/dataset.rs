//! A data set is a numbered list of examples of one shape, each with a label or without.

use std::{fmt::Debug, sync::Arc};

use burn::tensor::TensorData;
use diffusion_core::{Tokens, network::Labels};

use crate::{error::DataError, identity, parallel::in_parallel};

/// Examples of one shape that can be read in any order, from any thread.
///
/// A new data set needs three methods and the type of its labels; `Box`, `Arc` and `&` of a data set are data sets.
/// One that wraps another hands on [`read_mirrored`](Self::read_mirrored), [`can_mirror`](Self::can_mirror),
/// [`has_noise`](Self::has_noise), [`read_noise`](Self::read_noise), [`identity`](Self::identity) and
/// [`readers`](Self::readers) too.
///
/// A data set of your own: points on a line, with their side as a label. One that reads files returns an error where that
/// fails.
/// ```
/// use diffusion_data::{Batches, DataError, Dataset};
///
/// struct Line;
///
/// impl Dataset for Line {
///     type Label = usize;
///
///     fn len(&self) -> usize {
///         100
///     }
///
///     fn shape(&self) -> &[usize] {
///         &[2]
///     }
///
///     fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
///         let x = index as f32 / 50.0 - 1.0;
///         into.copy_from_slice(&[x, 2.0 * x]);
///         Ok(usize::from(x > 0.0))
///     }
/// }
///
/// let (examples, labels) = Line.gather(&[0, 99])?;
/// assert_eq!((examples.shape.as_slice(), labels.0), (&[2, 2][..], vec![0, 1]));
/// // Endless batches in a new order for each epoch; without labels for a network that has none.
/// let (batch, ()) = Batches::new(Line.unlabeled(), 10, 0).next().unwrap()?;
/// assert_eq!(batch.shape.as_slice(), [10, 2]);
/// # Ok::<(), DataError>(())
/// ```
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
    /// # Errors
    /// If the example is read from a file and that cannot be read: it was cut short, or is gone. Another attempt may
    /// succeed.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len), or `into` has another length than an example.
    fn read(&self, index: usize, into: &mut [f32]) -> Result<Self::Label, DataError>;

    /// Copies the mirror image of example `index` into `into`, left and right exchanged, and returns its label.
    ///
    /// Reverses the last axis of the example, unless the data set knows better: if its values are not pixels but what
    /// an encoder made of an image, their mirror image is what it makes of the mirrored image.
    ///
    /// # Shapes
    /// - `into`: as for [`read`](Self::read)
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read), or if [`can_mirror`](Self::can_mirror) says why there is no mirror image.
    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<Self::Label, DataError> {
        if let Err(why) = self.can_mirror() {
            panic!("{why}");
        }
        let label = self.read(index, into)?;
        let width = self.shape()[self.shape().len() - 1];
        into.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        Ok(label)
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

    /// Whether each example has noise of its own, which training mixes with it, instead of noise that is drawn.
    fn has_noise(&self) -> bool {
        false
    }

    /// Copies the noise of example `index` into `into`, where examples [have some](Self::has_noise).
    ///
    /// # Shapes
    /// - `into`: as for [`read`](Self::read)
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read), or if there is none.
    fn read_noise(&self, _index: usize, _into: &mut [f32]) -> Result<(), DataError> {
        panic!("the noise of an example was asked for, expected a data set whose examples have some");
    }

    /// How many threads shall read the examples of a batch side by side; 1 unless reading one takes long, because it is
    /// decoded then. The batch is the same.
    fn readers(&self) -> usize {
        1
    }

    /// A number that says which example this is, known without reading it: by it
    /// [`validation_split`](crate::validation_split) chooses, and a run that goes on recognizes its data.
    ///
    /// A hash of the example's place, unless the data set knows better: an example with a name, such as a file in a
    /// folder, is itself wherever it stands, and [`identity::hash`](crate::identity::hash) of its name says so. Then a
    /// new file changes no other's identity.
    fn identity(&self, index: usize) -> u64 {
        identity::of_place(index)
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
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    fn gather(&self, indices: &[usize]) -> Result<Gathered<Self::Label>, DataError> {
        gather(self, indices, |_| false)
    }

    /// The first `n` examples.
    ///
    /// # Shapes
    /// - returns `[n, ...shape]` of f32
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// If `n` is greater than [`len`](Self::len).
    fn first(&self, n: usize) -> Result<TensorData, DataError> {
        assert!(n <= self.len(), "the first {n} examples were asked for, expected at most {}", self.len());
        Ok(self.gather(&Vec::from_iter(0..n))?.0)
    }

    /// All examples at once, for an ideal denoiser or a scatter plot.
    ///
    /// # Shapes
    /// - returns `[len, ...shape]` of f32
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn all(&self) -> Result<TensorData, DataError> {
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

/// Examples of the shape `[n, ...shape]` in f32, and their labels `L` together.
pub type Gathered<L> = (TensorData, <L as Label>::Condition);

/// What an example is labeled with, and what the labels of a batch become together.
///
/// ```
/// use diffusion_data::Label;
///
/// /// A direction; a batch of them is a list.
/// #[derive(Clone, Debug)]
/// struct Angle(f64);
///
/// impl Label for Angle {
///     type Condition = Vec<f64>;
///
///     fn collect(labels: Vec<Self>) -> Vec<f64> {
///         labels.into_iter().map(|Angle(angle)| angle).collect()
///     }
/// }
///
/// assert_eq!(Label::collect(vec![Angle(0.5), Angle(2.0)]), [0.5, 2.0]);
/// ```
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

impl Label for Arc<Tokens> {
    type Condition = Tokens;

    /// # Panics
    /// If there are none, or they differ in the number or width of their tokens.
    fn collect(labels: Vec<Self>) -> Tokens {
        let [_, tokens, width] = labels.first().expect("a batch has at least one text").shape();
        let batch: usize = labels.iter().map(|label| label.shape()[0]).sum();
        let mut values = Vec::with_capacity(batch * tokens * width);
        for label in &labels {
            let found = &label.shape()[1..];
            assert!(found == [tokens, width], "texts of a batch are {:?} and {found:?}", [tokens, width]);
            values.extend_from_slice(label.values());
        }
        Tokens::new(values, [batch, tokens, width])
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

    fn read(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        self.0.read(index, into).map(drop)
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        self.0.read_mirrored(index, into).map(drop)
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

            fn read(&self, index: usize, into: &mut [f32]) -> Result<D::Label, DataError> {
                (**self).read(index, into)
            }

            fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<D::Label, DataError> {
                (**self).read_mirrored(index, into)
            }

            fn can_mirror(&self) -> Result<(), String> {
                (**self).can_mirror()
            }

            fn has_noise(&self) -> bool {
                (**self).has_noise()
            }

            fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
                (**self).read_noise(index, into)
            }

            fn readers(&self) -> usize {
                (**self).readers()
            }

            fn identity(&self, index: usize) -> u64 {
                (**self).identity(index)
            }
        }
    )*};
}

forward_to_pointee!(Box<D>, Arc<D>, &D);

/// The examples at `indices`, in that order, with their labels; mirrored are those of which `mirrored` says so.
pub(crate) fn gather<D: Dataset + ?Sized>(
    dataset: &D,
    indices: &[usize],
    mirrored: impl Fn(usize) -> bool + Sync,
) -> Result<Gathered<D::Label>, DataError> {
    let size: usize = dataset.shape().iter().product();
    let mut values = vec![0.0_f32; indices.len() * size];
    let read = |index, into: &mut [f32]| {
        if mirrored(index) { dataset.read_mirrored(index, into) } else { dataset.read(index, into) }
    };
    let places = indices.iter().zip(values.chunks_exact_mut(size.max(1)));
    let threads = dataset.readers().min(indices.len());
    let labels = if threads > 1 {
        let mut labels = vec![None; indices.len()];
        in_parallel(places.zip(&mut labels), threads, |((&index, into), label)| {
            *label = Some(read(index, into)?);
            Ok::<_, DataError>(())
        })?;
        labels.into_iter().flatten().collect()
    } else {
        places.map(|(&index, into)| read(index, into)).collect::<Result<Vec<_>, DataError>>()?
    };
    let shape = [&[indices.len()], dataset.shape()].concat();
    Ok((TensorData::new(values, shape), Label::collect(labels)))
}

/// Reads the examples at `indices` and hands them on one by one, in that order; read are as many ahead as there are
/// readers for. It ends with the first error, be it one of `with`.
pub(crate) fn read_each<D: Dataset + ?Sized>(
    dataset: &D,
    indices: &[usize],
    mut with: impl FnMut(usize, &[f32]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let readers = dataset.readers();
    if readers == 1 {
        let mut example = vec![0.0; dataset.shape().iter().product()];
        for &index in indices {
            dataset.read(index, &mut example)?;
            with(index, &example)?;
        }
        return Ok(());
    }
    for indices in indices.chunks(4 * readers) {
        let values: Vec<f32> = gather(dataset, indices, |_| false)?.0.iter::<f32>().collect();
        let size = values.len() / indices.len();
        for (&index, example) in indices.iter().zip(values.chunks_exact(size)) {
            with(index, example)?;
        }
    }
    Ok(())
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
        let (examples, labels) = counting().gather(&[2, 0, 2]).unwrap();
        assert_eq!(examples, TensorData::new(vec![6_f32, 7., 8., 0., 1., 2., 6., 7., 8.], [3, 1, 3]));
        assert_eq!(labels, Labels(vec![6, 4, 6]));
    }

    #[test]
    fn all_and_first_are_gathered_in_order() {
        let data = counting();
        assert_eq!(data.all().unwrap(), data.gather(&[0, 1, 2, 3]).unwrap().0);
        assert_eq!(data.first(2).unwrap(), data.gather(&[0, 1]).unwrap().0);
        assert_eq!(data.first(0).unwrap().shape.as_slice(), [0, 1, 3]);
    }

    #[test]
    fn wrapped_data_sets_read_the_same_examples() {
        let data = counting();
        let boxed: Box<dyn Dataset<Label = usize>> = Box::new(data.clone());
        assert_eq!((boxed.len(), boxed.shape(), boxed.is_empty()), (4, &[1, 3][..], false));
        assert_eq!(boxed.gather(&[3, 1]).unwrap(), data.gather(&[3, 1]).unwrap());
        let unlabeled = Arc::new(boxed).unlabeled();
        let (rows, ()) = unlabeled.gather(&[3, 1]).unwrap();
        assert_eq!((rows, unlabeled.len()), (data.gather(&[3, 1]).unwrap().0, 4));
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

        fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
            into[0] = index as f32;
            Ok(index + 10)
        }

        fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
            into[0] = -(index as f32);
            Ok(index + 20)
        }

        fn can_mirror(&self) -> Result<(), String> {
            Err("ask someone else".to_owned())
        }

        fn identity(&self, index: usize) -> u64 {
            index as u64 + 30
        }
    }

    #[test]
    fn the_last_axis_is_mirrored() {
        let data = Points::new((0..12).map(|x| x as f32).collect(), &[2, 3]).labeled(vec![8, 9]);
        assert_eq!(data.can_mirror(), Ok(()));
        let mut into = [0.0; 6];
        assert_eq!((data.read_mirrored(1, &mut into).unwrap(), into), (9, [8., 7., 6., 11., 10., 9.]));
    }

    #[test]
    fn wrapped_data_sets_have_their_own_mirror_images_and_identities() {
        fn check<D: Dataset>(data: D, label: D::Label)
        where
            D::Label: PartialEq,
        {
            let mut into = [0.0];
            assert_eq!((data.read_mirrored(3, &mut into).unwrap(), into), (label, [-3.0]));
            assert_eq!(data.can_mirror(), Err("ask someone else".to_owned()));
            assert_eq!(data.identity(3), 33);
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
        let (examples, labels) = gather(&Signed, &[4, 1, 2, 1], |index| index != 2).unwrap();
        assert_eq!(examples, TensorData::new(vec![-4_f32, -1., 2., -1.], [4, 1, 1]));
        assert_eq!(labels, Labels(vec![24, 21, 12, 21]));
    }

    /// The same, read by three at once.
    struct Slow(Points<usize>);

    impl Dataset for Slow {
        type Label = usize;

        fn len(&self) -> usize {
            self.0.len()
        }

        fn shape(&self) -> &[usize] {
            self.0.shape()
        }

        fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
            match index {
                2 => Err(crate::Problem::invalid("third", "is broken").into()),
                _ => self.0.read(index, into),
            }
        }

        fn readers(&self) -> usize {
            3
        }
    }

    #[test]
    fn several_readers_read_the_same() {
        let slow: Box<dyn Dataset<Label = usize>> = Box::new(Slow(counting()));
        assert_eq!((slow.readers(), (&slow).unlabeled().readers(), counting().readers()), (3, 3, 1));
        let indices = [0, 3, 1, 1, 0, 3, 0, 1, 3, 3, 3, 3, 0, 1];
        assert_eq!(slow.gather(&indices).unwrap(), counting().gather(&indices).unwrap());
        let mut read = Vec::new();
        read_each(&slow, &indices, |index, example| {
            read.push((index, example.to_vec()));
            Ok(())
        })
        .unwrap();
        let expected = |index| (index, [0, 1, 2].map(|i| (3 * index + i) as f32).to_vec());
        assert_eq!(read, indices.map(expected));
        for error in [slow.gather(&[0, 2, 1]).map(drop), read_each(&slow, &[2], |_, _| Ok(()))] {
            assert!(matches!(error.unwrap_err().problem, crate::Problem::Invalid { .. }));
        }
    }

    #[test]
    #[should_panic(expected = "examples have the shape [2], expected a height and a width to mirror")]
    fn the_mirror_image_of_a_point_panics() {
        Points::new(vec![0.0; 4], &[2]).read_mirrored(0, &mut [0.0; 2]).unwrap();
    }

    #[test]
    #[should_panic(expected = "example 4 was asked for, expected an index below 4")]
    fn an_index_outside_panics() {
        let _ = counting().read(4, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "the first 5 examples were asked for, expected at most 4")]
    fn more_than_all_panics() {
        let _ = counting().first(5);
    }
}
