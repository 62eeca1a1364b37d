//! Chosen examples of a data set, such as those that training never sees.

use std::{fmt, sync::Arc};

use diffusion_core::random::Stream;

use crate::dataset::{Dataset, check_index};
use crate::error::DataError;
use crate::purpose;

/// The examples of another data set that a list of indices names, with their labels and mirror images.
#[derive(Clone)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// The examples at `indices`, in that order; an index may be there more than once.
    ///
    /// # Panics
    /// If an index is not below the length of the data set.
    pub fn new(dataset: D, indices: Vec<usize>) -> Self {
        indices.iter().for_each(|&index| check_index(index, dataset.len()));
        Self { dataset, indices }
    }

    /// The places that the examples have in the whole data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

/// Splits a data set at random into the examples to train on and `validation` others that training never sees, both in
/// the order of the data set.
///
/// The choice follows from the seed and from what the examples are ([`Dataset::identity`]), never from their places; of
/// one seed, a larger validation part has all examples of a smaller one. Batches may have the same seed: no epoch is
/// shuffled as the split is. A run that goes on after its data have changed keeps its [`ValidationSplit`].
///
/// Examples that are there twice, such as those of [`DatasaurusDozen`](crate::DatasaurusDozen), may come to lie in both
/// parts; those of one identity lie in one, and make the validation part larger if they are the last to be chosen.
///
/// # Panics
/// If `validation` is zero, or leaves nothing to train on.
pub fn validation_split<D: Dataset + ?Sized>(
    dataset: Arc<D>,
    validation: usize,
    seed: u64,
) -> (Subset<Arc<D>>, Subset<Arc<D>>) {
    let split = ValidationSplit::new(&*dataset, validation, seed);
    split.apply(dataset)
}

/// Which examples are for validation: those whose identity, hashed with the seed, does not exceed a limit. So an example
/// that comes or goes moves no other across.
///
/// ```
/// use diffusion_data::{Points, ValidationSplit};
/// use std::sync::Arc;
///
/// let points = |n: usize| Arc::new(Points::new(vec![0.5; n], &[1]));
/// let split = ValidationSplit::new(&*points(100), 10, 0);
/// let [before, after] = [100, 120].map(|n| split.apply(points(n)).1);
/// assert_eq!(before.indices().len(), 10);
/// assert!(after.indices().starts_with(before.indices()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidationSplit {
    /// The seed of the choice.
    pub seed: u64,
    /// The largest hash of an example for validation.
    pub limit: u64,
}

impl ValidationSplit {
    /// That by which `validation` examples of `dataset` are for validation: its limit is the hash that so many do not
    /// exceed.
    ///
    /// # Panics
    /// If `validation` is zero, or leaves nothing to train on.
    pub fn new<D: Dataset + ?Sized>(dataset: &D, validation: usize, seed: u64) -> Self {
        let len = dataset.len();
        assert!(
            (1..len).contains(&validation),
            "{validation} of {len} examples were asked for to validate on, expected at least 1 and fewer than all",
        );
        let mut hashes = Vec::from_iter((0..len).map(|index| Self::hash(seed, dataset.identity(index))));
        let (_, limit, _) = hashes.select_nth_unstable(validation - 1);
        Self { seed, limit: *limit }
    }

    /// Whether an example of this identity is for validation.
    pub fn is_validation(&self, identity: u64) -> bool {
        Self::hash(self.seed, identity) <= self.limit
    }

    /// The examples to train on and those for validation, both in the order of the data set.
    pub fn apply<D: Dataset + ?Sized>(self, dataset: Arc<D>) -> (Subset<Arc<D>>, Subset<Arc<D>>) {
        let indices = 0..dataset.len();
        let (validation, training) = indices.partition(|&index| self.is_validation(dataset.identity(index)));
        (Subset::new(dataset.clone(), training), Subset::new(dataset, validation))
    }

    fn hash(seed: u64, identity: u64) -> u64 {
        // The streams of this purpose shuffle epochs, and no run comes to this one.
        Stream::new(seed, purpose::SHUFFLE, u64::MAX, identity).below(usize::MAX) as u64
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Label = D::Label;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> &[usize] {
        self.dataset.shape()
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<D::Label, DataError> {
        check_index(index, self.len());
        self.dataset.read(self.indices[index], into)
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<D::Label, DataError> {
        check_index(index, self.len());
        self.dataset.read_mirrored(self.indices[index], into)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.dataset.can_mirror()
    }

    fn has_noise(&self) -> bool {
        self.dataset.has_noise()
    }

    fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        check_index(index, self.len());
        self.dataset.read_noise(self.indices[index], into)
    }

    fn readers(&self) -> usize {
        self.dataset.readers()
    }

    fn identity(&self, index: usize) -> u64 {
        check_index(index, self.len());
        self.dataset.identity(self.indices[index])
    }
}

impl<D: fmt::Debug> fmt::Debug for Subset<D> {
    /// Tells how many indices there are instead of showing them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subset")
            .field("len", &self.indices.len())
            .field("dataset", &self.dataset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use diffusion_core::network::Labels;

    use super::*;
    use crate::{Batches, Points};

    /// `n` images of 1 × 2 pixels, `2 i` and `2 i + 1`, labeled with `i + 100`.
    fn numbered(n: usize) -> Arc<Points<usize>> {
        let values = (0..2 * n).map(|x| x as f32).collect();
        Arc::new(Points::new(values, &[1, 2]).labeled((100..100 + n).collect()))
    }

    fn split(len: usize, validation: usize, seed: u64) -> [Vec<usize>; 2] {
        let (training, validation) = validation_split(numbered(len), validation, seed);
        [training.indices, validation.indices]
    }

    #[test]
    fn chosen_examples_are_read_with_their_labels() {
        let chosen = Subset::new(numbered(4), vec![3, 0, 3]);
        assert_eq!((chosen.len(), chosen.shape(), chosen.indices()), (3, &[1, 2][..], &[3, 0, 3][..]));
        let (examples, labels) = chosen.gather(&[0, 1, 2]).unwrap();
        assert_eq!(examples, TensorData::new(vec![6_f32, 7., 0., 1., 6., 7.], [3, 1, 2]));
        assert_eq!(labels, Labels(vec![103, 100, 103]));
        assert!(Subset::new(numbered(4), vec![]).is_empty());
    }

    /// Of one value, whose mirror images are their negatives and have labels of their own.
    struct Signed;

    impl Dataset for Signed {
        type Label = usize;

        fn len(&self) -> usize {
            5
        }

        fn shape(&self) -> &[usize] {
            &[1]
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
    }

    #[test]
    fn mirror_images_are_those_of_the_whole_data_set() {
        let chosen = Subset::new(Signed, vec![4, 2]);
        let mut into = [0.0];
        assert_eq!((chosen.read_mirrored(1, &mut into).unwrap(), into), (22, [-2.0]));
        assert_eq!((chosen.read(1, &mut into).unwrap(), into), (12, [2.0]));
        assert_eq!(chosen.can_mirror(), Err("ask someone else".to_owned()));
    }

    #[test]
    fn the_parts_are_disjoint_complete_and_in_order() {
        for (len, n) in [(2, 1), (10, 1), (10, 9), (1000, 100)] {
            let [training, validation] = split(len, n, 3);
            assert_eq!((training.len(), validation.len()), (len - n, n));
            assert!(training.is_sorted() && validation.is_sorted());
            let mut all = [training, validation].concat();
            all.sort_unstable();
            assert_eq!(all, Vec::from_iter(0..len));
        }
    }

    /// Its mean place is that of a random choice: √((1000² − 1) / 12 / 100) ≈ 29 is the standard deviation of the mean
    /// of 100 places, without regard to their being distinct, and the bound is 4.5 times as far.
    #[test]
    fn validation_examples_come_from_everywhere() {
        for seed in 0..20 {
            let [_, validation] = split(1000, 100, seed);
            let mean = validation.iter().sum::<usize>() as f64 / 100.0;
            assert!((mean - 499.5).abs() < 130.0, "{mean} of seed {seed}");
            assert!(validation[0] < 100 && validation[99] >= 900, "{validation:?} of seed {seed}");
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(split(100, 10, 1), split(100, 10, 1));
        assert_ne!(split(100, 10, 1), split(100, 10, 2));
        let [[_, few], [_, many]] = [split(100, 10, 1), split(100, 30, 1)];
        assert!(few.iter().all(|index| many.contains(index)), "{few:?} and {many:?}");
    }

    /// A run that is resumed with a later version must not train on its validation examples.
    #[test]
    fn the_split_is_pinned() {
        assert_eq!(split(100, 6, 42)[1], [2, 5, 8, 10, 21, 98]);
    }

    /// Examples whose identities are these.
    struct Named(Vec<u64>);

    impl Dataset for Named {
        type Label = ();

        fn len(&self) -> usize {
            self.0.len()
        }

        fn shape(&self) -> &[usize] {
            &[1]
        }

        fn read(&self, _: usize, _: &mut [f32]) -> Result<(), DataError> {
            unreachable!("whoever chooses reads nothing");
        }

        fn identity(&self, index: usize) -> u64 {
            self.0[index]
        }
    }

    /// The identities of the examples in both parts.
    fn parts(split: ValidationSplit, identities: Vec<u64>) -> [Vec<u64>; 2] {
        let (training, validation) = split.apply(Arc::new(Named(identities)));
        [training, validation].map(|part| Vec::from_iter((0..part.len()).map(|index| part.identity(index))))
    }

    /// In whichever places the others come and go.
    #[test]
    fn a_new_example_moves_no_other_across() {
        let before = Vec::from_iter((0..200).map(|name: u64| 1000 + 2 * name));
        let split = ValidationSplit::new(&Named(before.clone()), 20, 4);
        let [training, validation] = parts(split, before.clone());
        assert_eq!((training.len(), validation.len()), (180, 20));
        // Before, between and after the others; and every third of those is gone.
        let new = (0..900).filter(|name| name % 2 == 1 || *name < 1000);
        let mut after =
            Vec::from_iter(before.iter().enumerate().filter(|(i, _)| i % 3 > 0).map(|(_, &name)| name));
        after.extend(new);
        after.sort_unstable();
        let [more_training, more_validation] = parts(split, after.clone());
        for name in after.iter().filter(|name| before.contains(name)) {
            assert_eq!(training.contains(name), more_training.contains(name), "{name}");
            assert_eq!(validation.contains(name), more_validation.contains(name), "{name}");
        }
        // Of the new ones a share like that of the old ones: 1033 · 0.1 ≈ 100 ± 30.
        assert!((70..=135).contains(&more_validation.len()), "{}", more_validation.len());
        assert_eq!(more_training.len() + more_validation.len(), after.len());
    }

    /// If an epoch were, its order would tell the validation examples.
    #[test]
    fn no_epoch_is_shuffled_as_the_split_is() {
        let [_, validation] = split(1000, 10, 5);
        for (_, Labels(labels)) in Batches::new(numbered(1000), 1000, 5).take(3).map(Result::unwrap) {
            let mut first = Vec::from_iter(labels[..10].iter().map(|label| label - 100));
            first.sort_unstable();
            assert_ne!(first, validation);
        }
    }

    #[test]
    fn both_parts_have_the_examples_of_the_whole() {
        let whole: Arc<dyn Dataset<Label = usize>> = numbered(20);
        let (training, validation) = validation_split(whole.clone(), 5, 0);
        for part in [training, validation] {
            let found = part.gather(&Vec::from_iter(0..part.len())).unwrap();
            assert_eq!(found, whole.gather(part.indices()).unwrap());
        }
    }

    #[test]
    fn debugging_shows_no_indices() {
        let unlabeled = Points::new(vec![1.0, 2.0], &[1]);
        let expected =
            "Subset { len: 1, dataset: Points { values: [1.0, 2.0], shape: [1], labels: [(), ()] }, .. }";
        assert_eq!(format!("{:?}", Subset::new(unlabeled, vec![1])), expected);
    }

    #[test]
    #[should_panic(
        expected = "0 of 10 examples were asked for to validate on, expected at least 1 and fewer than all"
    )]
    fn to_validate_on_nothing_panics() {
        split(10, 0, 0);
    }

    #[test]
    #[should_panic(
        expected = "10 of 10 examples were asked for to validate on, expected at least 1 and fewer than all"
    )]
    fn to_validate_on_everything_panics() {
        split(10, 10, 0);
    }

    #[test]
    #[should_panic(expected = "example 4 was asked for, expected an index below 4")]
    fn a_chosen_index_outside_panics() {
        let _ = Subset::new(numbered(4), vec![0, 4]);
    }

    #[test]
    #[should_panic(expected = "example 1 was asked for, expected an index below 1")]
    fn an_index_outside_panics() {
        let _ = Subset::new(numbered(4), vec![3]).read(1, &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "example 1 was asked for, expected an index below 1")]
    fn a_mirrored_index_outside_panics() {
        let _ = Subset::new(numbered(4), vec![3]).read_mirrored(1, &mut [0.0; 2]);
    }
}
