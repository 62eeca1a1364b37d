//! Endless batches, in an order and with flips that follow from the seed alone.

use std::time::{Duration, Instant};

use diffusion_core::{
    random::Stream,
    watch::{Stopped, Watch},
};

use crate::{
    Prefetch,
    dataset::{Dataset, Gathered, gather},
    error::DataError,
    purpose,
};

/// A batch of the data set `D`: examples of the shape `[batch, ...shape]` in f32, and their labels together.
pub type Batch<D> = Gathered<<D as Dataset>::Label>;

/// What happens to the examples at the end of an epoch that do not fill a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastBatch {
    /// They make a smaller batch, as in smalldiffusion and in PyTorch's `DataLoader`.
    #[default]
    Keep,
    /// They are left out of this epoch, so that all batches have the same size.
    Drop,
}

/// Shuffling that takes longer is told of.
const SLOW: Duration = Duration::from_secs(1);

/// The batches of a data set, epoch after epoch, each example once in an epoch.
///
/// Endless unless [`epochs`](Self::epochs) is called. The order of epoch `e` and the flip of example `i` in it follow
/// from the seed, `e` and `i`: the same run gives the same batches, with prefetching or without, and wherever it is
/// resumed. A batch of which an example cannot be read is an error, and is tried again when the next one is asked for.
#[derive(Clone, Debug)]
pub struct Batches<D> {
    dataset: D,
    batch_size: usize,
    seed: u64,
    shuffle: bool,
    flip: bool,
    last: LastBatch,
    epochs: Option<u64>,
    watch: Watch,
    /// The number of the next batch, counted from the start of the first epoch.
    next: u64,
    /// The epoch that was visited last, and the order of its examples.
    order: Option<(u64, Vec<usize>)>,
}

impl<D: Dataset> Batches<D> {
    /// Shuffled batches of `batch_size` examples.
    ///
    /// # Panics
    /// If `batch_size` is zero or the data set is empty: neither would ever give an example.
    pub fn new(dataset: D, batch_size: usize, seed: u64) -> Self {
        assert!(batch_size > 0, "the batch size is {batch_size}, expected at least 1");
        assert!(!dataset.is_empty(), "the data set has {} examples, expected at least 1", dataset.len());
        Self {
            dataset,
            batch_size,
            seed,
            shuffle: true,
            flip: false,
            last: LastBatch::default(),
            epochs: None,
            watch: Watch::default(),
            next: 0,
            order: None,
        }
    }

    /// Visits the examples of every epoch in the order of the data set.
    pub fn keep_order(self) -> Self {
        Self { shuffle: false, order: None, ..self }
    }

    /// Takes each example's mirror image with probability ½, drawn anew in every epoch.
    ///
    /// What that is, the data set knows: of images the last axis is reversed, see [`Dataset::read_mirrored`].
    ///
    /// # Panics
    /// If the examples have no mirror image, such as points: to reverse the coordinates of a point is not to mirror it.
    /// See [`Dataset::can_mirror`].
    pub fn flip_horizontally(self) -> Self {
        if let Err(why) = self.dataset.can_mirror() {
            panic!("{why}");
        }
        Self { flip: true, ..self }
    }

    /// Decides about the examples that do not fill a batch; [`LastBatch::Keep`] unless called.
    ///
    /// # Panics
    /// If `last_batch` drops them and the data set does not fill a single batch.
    pub fn last_batch(self, last: LastBatch) -> Self {
        assert!(
            last == LastBatch::Keep || self.batch_size <= self.dataset.len(),
            "batches of {} examples that must be full were asked for, expected at most {}, all that there are",
            self.batch_size,
            self.dataset.len(),
        );
        Self { last, ..self }
    }

    /// Ends after `epochs` epochs, counted from batch 0 wherever the run starts.
    pub fn epochs(self, epochs: u64) -> Self {
        Self { epochs: Some(epochs), ..self }
    }

    /// Asks `watch` whether to go on while an epoch is shuffled, which takes long where the examples are many, and tells it
    /// how far that is once it has taken a second. A batch that was stopped is the error
    /// [`Problem::Stopped`](crate::Problem::Stopped).
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch, ..self }
    }

    /// Continues with batch number `batch`, counted from 0, as if the ones before had been taken.
    pub fn starting_at(self, batch: u64) -> Self {
        Self { next: batch, ..self }
    }

    /// Prepares up to `n` of the same batches ahead, on a thread in the background.
    ///
    /// # Panics
    /// As [`Prefetch::new`].
    pub fn prefetch(self, n: usize) -> Prefetch<Result<Batch<D>, DataError>>
    where
        D: 'static,
    {
        Prefetch::new(self, n)
    }

    /// The number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        match self.last {
            LastBatch::Keep => self.dataset.len().div_ceil(self.batch_size),
            LastBatch::Drop => self.dataset.len() / self.batch_size,
        }
    }

    /// The order of the examples in `epoch`.
    fn order(&self, epoch: u64) -> Result<Vec<usize>, Stopped> {
        let mut order = Vec::from_iter(0..self.dataset.len());
        if self.shuffle {
            let (watch, total, begun) = (&self.watch, order.len() as u64, Instant::now());
            let is_slow = || begun.elapsed() >= SLOW;
            let go_on = |done: usize| match is_slow() {
                true => watch.report("shuffling the examples", done as u64, Some(total)),
                false => watch.check(),
            };
            Stream::new(self.seed, purpose::SHUFFLE, epoch, 0).try_shuffle(&mut order, go_on)?;
            if is_slow() {
                watch.report("preparing batches", 0, None)?;
            }
        }
        Ok(order)
    }
}

impl<D: Dataset> Iterator for Batches<D> {
    type Item = Result<Batch<D>, DataError>;

    fn next(&mut self) -> Option<Result<Batch<D>, DataError>> {
        let per_epoch = self.batches_per_epoch() as u64;
        let (epoch, batch) = (self.next / per_epoch, (self.next % per_epoch) as usize);
        if self.epochs.is_some_and(|epochs| epoch >= epochs) {
            return None;
        }

        let (_, order) = match self.order.take() {
            Some(order) if order.0 == epoch => self.order.insert(order),
            _ => match self.order(epoch) {
                Ok(order) => self.order.insert((epoch, order)),
                Err(stopped) => return Some(Err(stopped.into())),
            },
        };
        let start = batch * self.batch_size;
        let indices = &order[start..order.len().min(start + self.batch_size)];
        let toss = |index| Stream::new(self.seed, purpose::FLIP, epoch, index as u64).uniform();
        let gathered = match self.flip {
            false => self.dataset.gather(indices),
            true => gather(&self.dataset, indices, |index| toss(index) < 0.5),
        };
        self.next += u64::from(gathered.is_ok());
        Some(gathered)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use burn::tensor::TensorData;
    use diffusion_core::network::Labels;

    use super::*;
    use crate::{Points, Problem};

    /// `n` images of 2 × 3 pixels, no two pixels alike, each labeled with its index.
    fn numbered(n: usize) -> Points<usize> {
        Points::new((0..6 * n).map(|x| x as f32).collect(), &[1, 2, 3]).labeled((0..n).collect())
    }

    /// Of a batch: its examples and their labels.
    type Numbered = Result<(TensorData, Labels), DataError>;

    fn labels(batches: impl Iterator<Item = Numbered>) -> Vec<Vec<usize>> {
        batches.map(|batch| batch.unwrap().1.0).collect()
    }

    #[test]
    fn every_epoch_is_another_permutation() {
        let batches = Batches::new(numbered(10), 4, 0);
        assert_eq!(batches.batches_per_epoch(), 3);
        let epochs: Vec<Vec<usize>> =
            labels(batches.take(15)).chunks(3).map(|epoch| epoch.concat()).collect();
        for (e, epoch) in epochs.iter().enumerate() {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, Vec::from_iter(0..10), "epoch {e}");
            assert!(!epochs[..e].contains(epoch), "epoch {e} repeats an earlier one");
            assert_ne!(*epoch, sorted, "epoch {e} is not shuffled");
        }
    }

    #[test]
    fn the_order_is_that_of_the_stream_named_by_seed_and_epoch() {
        let mut expected = Vec::from_iter(0..10);
        Stream::new(7, purpose::SHUFFLE, 2, 0).shuffle(&mut expected);
        assert_eq!(labels(Batches::new(numbered(10), 5, 7).skip(4).take(2)).concat(), expected);
    }

    /// A data set of so many examples that they are shuffled in several pieces; each is its place.
    struct Many;

    impl Dataset for Many {
        type Label = usize;

        fn len(&self) -> usize {
            1_000_003
        }

        fn shape(&self) -> &[usize] {
            &[1]
        }

        fn read(&self, index: usize, _: &mut [f32]) -> Result<usize, DataError> {
            Ok(index)
        }
    }

    #[test]
    fn the_order_of_many_examples_is_that_of_the_stream_too() {
        let mut expected = Vec::from_iter(0..Many.len());
        Stream::new(7, purpose::SHUFFLE, 0, 0).shuffle(&mut expected);
        let found = labels(Batches::new(Many, Many.len(), 7).watched(Watch::default()).take(1)).concat();
        assert!(found == expected, "another order");
    }

    #[test]
    fn shuffling_can_be_stopped() {
        for n in [0, 1, 4] {
            let watch = Watch::default();
            let batches = Batches::new(Many, Many.len() / 2, 0).last_batch(LastBatch::Drop);
            let batches = batches.watched(watch.clone());
            let mut batches: Box<dyn Iterator<Item = _>> =
                if n == 0 { Box::new(batches) } else { Box::new(batches.prefetch(n)) };
            assert!(batches.next().is_some_and(|batch| batch.is_ok()));
            watch.stop();
            // Some of the next epochs may be there already.
            let stopped = batches.find_map(Result::err).expect("the batches are endless");
            assert!(matches!(stopped.problem, Problem::Stopped), "{stopped}");
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let of = |seed| labels(Batches::new(numbered(10), 10, seed).take(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
    }

    #[test]
    fn examples_keep_their_labels_and_shape() {
        for (examples, Labels(labels)) in Batches::new(numbered(10), 4, 3).epochs(2).map(Result::unwrap) {
            assert_eq!(examples.shape.as_slice(), [labels.len(), 1, 2, 3]);
            assert_eq!(examples, numbered(10).gather(&labels).unwrap().0);
        }
    }

    #[test]
    fn the_order_of_the_data_set_can_be_kept() {
        let batches = Batches::new(numbered(5), 2, 0).keep_order().epochs(2);
        assert_eq!(labels(batches), [vec![0, 1], vec![2, 3], vec![4], vec![0, 1], vec![2, 3], vec![4]]);
        let mut begun = Batches::new(numbered(5), 5, 0);
        begun.next();
        assert_eq!(labels(begun.starting_at(0).keep_order().take(1)), [[0, 1, 2, 3, 4]]);
    }

    #[test]
    fn the_last_batch_is_kept_or_dropped() {
        let sizes = |len, last| {
            let batches = Batches::new(numbered(len), 4, 0).last_batch(last).epochs(2);
            labels(batches).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(10, LastBatch::Keep), [4, 4, 2, 4, 4, 2]);
        assert_eq!(sizes(10, LastBatch::Drop), [4, 4, 4, 4]);
        assert_eq!(sizes(8, LastBatch::Keep), sizes(8, LastBatch::Drop));
        assert_eq!(sizes(3, LastBatch::Keep), [3, 3]);
        assert_eq!(sizes(4, LastBatch::Drop), [4, 4]);
        assert_eq!(labels(Batches::new(numbered(10), 4, 0).epochs(1)).last().map(Vec::len), Some(2));
    }

    #[test]
    fn a_resumed_run_continues_exactly() {
        for last in [LastBatch::Keep, LastBatch::Drop] {
            let whole = || Batches::new(numbered(10), 4, 5).last_batch(last).flip_horizontally();
            for k in [0, 1, 2, 3, 4, 7] {
                let resumed = whole().starting_at(k).take(5).map(Result::unwrap);
                assert!(resumed.eq(whole().skip(k as usize).take(5).map(Result::unwrap)), "from batch {k}");
            }
        }
        // So far along that nobody could replay it.
        let far =
            Batches::new(numbered(10), 4, 5).starting_at(1 << 60).next().expect("the batches are endless");
        assert_eq!(far.unwrap().1.0.len(), if (1_u64 << 60) % 3 == 2 { 2 } else { 4 });
    }

    #[test]
    fn epochs_count_from_batch_zero() {
        let batches = || Batches::new(numbered(10), 4, 5).epochs(2);
        assert_eq!(batches().count(), 6);
        assert_eq!(batches().starting_at(4).count(), 2);
        assert_eq!(batches().starting_at(100).count(), 0);
        assert_eq!(batches().epochs(0).count(), 0);
    }

    #[test]
    fn prefetching_changes_nothing() {
        let plain = || Batches::new(numbered(10), 4, 9).flip_horizontally().starting_at(2);
        for n in [1, 3] {
            let ahead = |epochs: u64| plain().epochs(epochs).prefetch(n).map(Result::unwrap);
            assert!(ahead(99).take(20).eq(plain().take(20).map(Result::unwrap)));
            assert!(ahead(3).eq(plain().epochs(3).map(Result::unwrap)));
        }
    }

    #[test]
    fn a_dropped_prefetch_lets_go_of_the_data_set() {
        let data = Arc::new(numbered(10));
        let mut batches = Batches::new(data.clone(), 4, 0).prefetch(2);
        assert!(batches.next().is_some() && Arc::strong_count(&data) == 2);
        drop(batches);
        assert_eq!(Arc::strong_count(&data), 1);
    }

    /// A data set that breaks at example 5.
    struct Broken;

    impl Dataset for Broken {
        type Label = ();

        fn len(&self) -> usize {
            10
        }

        fn shape(&self) -> &[usize] {
            &[2]
        }

        fn read(&self, index: usize, _: &mut [f32]) -> Result<(), DataError> {
            assert!(index != 5, "example 5 is broken");
            Ok(())
        }
    }

    #[test]
    #[should_panic(expected = "example 5 is broken")]
    fn a_panic_of_the_data_set_is_passed_on() {
        let mut batches = Batches::new(Broken, 2, 0).keep_order().prefetch(4);
        // The two good batches arrive first; a panic on them would carry another message.
        assert!(batches.next().is_some() && batches.next().is_some(), "good batches are missing");
        let _ = batches.next();
    }

    /// An example is mirrored in each of its rows or not at all, and the coin is fair.
    ///
    /// Of 4000 tosses, half come up with a standard deviation of √(4000 · ¼) ≈ 32; the bounds are 4.7 times as far.
    #[test]
    fn half_of_the_examples_are_mirrored() {
        let n = 1000;
        let mut flips = Vec::new();
        for (examples, Labels(labels)) in
            Batches::new(numbered(n), 64, 11).flip_horizontally().epochs(4).map(Result::unwrap)
        {
            let values = examples.to_vec::<f32>().unwrap();
            for (example, label) in values.chunks(6).zip(labels) {
                let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|i| (6 * label + i) as f32);
                let flipped = example == [c, b, a, f, e, d];
                assert!(flipped || example == [a, b, c, d, e, f], "{example:?}");
                flips.push((label, flipped));
            }
        }
        let count = flips.iter().filter(|(_, flipped)| *flipped).count();
        assert!((1850..2150).contains(&count), "{count} of {} examples are mirrored", flips.len());
        // Each epoch tosses anew: the same example agrees with itself half of the time.
        let mut epochs: Vec<Vec<_>> = flips.chunks(n).map(<[_]>::to_vec).collect();
        epochs.iter_mut().for_each(|epoch| epoch.sort_unstable());
        let agree = epochs[0].iter().zip(&epochs[1]).filter(|(a, b)| a == b).count();
        assert!((425..575).contains(&agree), "{agree} of {n} examples are mirrored alike in two epochs");
    }

    #[test]
    fn an_example_is_mirrored_where_its_stream_says_so() {
        for (epoch, (examples, Labels(labels))) in
            (0..).zip(Batches::new(numbered(50), 50, 7).flip_horizontally().take(3).map(Result::unwrap))
        {
            let values = examples.to_vec::<f32>().unwrap();
            for (example, label) in values.chunks(6).zip(labels) {
                let mirrored = example[0] > example[1];
                let toss = Stream::new(7, purpose::FLIP, epoch, label as u64).uniform();
                assert_eq!(mirrored, toss < 0.5, "example {label} in epoch {epoch}");
            }
        }
    }

    /// A data set whose example 5 cannot be read the first time.
    struct Flaky(AtomicBool);

    impl Dataset for Flaky {
        type Label = usize;

        fn len(&self) -> usize {
            10
        }

        fn shape(&self) -> &[usize] {
            &[1]
        }

        fn read(&self, index: usize, _: &mut [f32]) -> Result<usize, DataError> {
            if index == 5 && !self.0.swap(true, Ordering::Relaxed) {
                return Err(Problem::format("is torn", "a whole file").into());
            }
            Ok(index)
        }
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_tried_again() {
        for n in [0, 1, 4] {
            let batches = Batches::new(Flaky(AtomicBool::new(false)), 2, 0).keep_order().epochs(1);
            let batches: Box<dyn Iterator<Item = _>> =
                if n == 0 { Box::new(batches) } else { Box::new(batches.prefetch(n)) };
            let read: Vec<_> = batches.map(|batch| batch.map(|(_, labels)| labels.0)).collect();
            assert!(read[2].is_err(), "{read:?}");
            let read: Vec<_> = read.into_iter().flatten().collect();
            assert_eq!(read, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]);
        }
    }

    #[test]
    fn flips_do_not_depend_on_the_batch() {
        let whole = |size, shuffled: bool| {
            let batches = Batches::new(numbered(12), size, 2).flip_horizontally().epochs(1);
            let batches = if shuffled { batches } else { batches.keep_order() };
            let mut rows: Vec<(usize, Vec<f32>)> = Vec::new();
            for (examples, Labels(labels)) in batches.map(Result::unwrap) {
                let values = examples.to_vec::<f32>().unwrap();
                rows.extend(labels.into_iter().zip(values.chunks(6).map(<[f32]>::to_vec)));
            }
            rows.sort_by_key(|row| row.0);
            rows
        };
        assert_eq!(whole(12, true), whole(5, false));
    }

    #[test]
    #[should_panic(expected = "the batch size is 0, expected at least 1")]
    fn empty_batches_panic() {
        Batches::new(numbered(3), 0, 0);
    }

    #[test]
    #[should_panic(expected = "the data set has 0 examples, expected at least 1")]
    fn an_empty_data_set_panics() {
        Batches::new(numbered(0), 1, 0);
    }

    #[test]
    #[should_panic(expected = "batches of 4 examples that must be full were asked for, expected at most 3")]
    fn batches_that_cannot_be_full_panic() {
        let _ = Batches::new(numbered(3), 4, 0).last_batch(LastBatch::Drop);
    }

    #[test]
    #[should_panic(expected = "examples have the shape [2], expected a height and a width to mirror")]
    fn points_cannot_be_mirrored() {
        let _ = Batches::new(Points::new(vec![0.0; 4], &[2]), 1, 0).flip_horizontally();
    }
}
