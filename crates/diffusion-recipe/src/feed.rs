//! Batches for a training loop that is made before its data are open.

use crate::config::RunConfig;
use burn::tensor::TensorData;
use diffusion::core::AnyCondition;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, AnyLabel, Batches, DataError, Dataset, Prefetch};
use diffusion::train::IntoBatch;
use std::cell::RefCell;
use std::rc::Rc;

/// Batches that are prepared ahead of the training thread.
const PREFETCH: usize = 4;

/// One batch: its examples, their noise if they have some of their own, and their condition; or why it cannot be read.
pub(crate) struct Batch(Result<(TensorData, Option<TensorData>, AnyCondition), DataError>);

impl IntoBatch<AnyCondition> for Batch {
    type Error = DataError;

    fn into_batch(self) -> Result<(TensorData, AnyCondition), DataError> {
        self.0.map(|(examples, _, condition)| (examples, condition))
    }

    fn into_pairs(self) -> Result<(TensorData, Option<TensorData>, AnyCondition), DataError> {
        self.0
    }
}

/// Examples with their noise behind them, as if they were twice as long along their first axis.
struct WithNoise {
    dataset: AnyDataset,
    shape: Vec<usize>,
}

impl WithNoise {
    fn new(dataset: AnyDataset) -> Self {
        let mut shape = dataset.shape().to_vec();
        shape[0] *= 2;
        Self { dataset, shape }
    }

    /// The two halves of examples, `[batch, 2·…]`.
    fn halves(examples: &TensorData) -> [TensorData; 2] {
        let mut shape = examples.shape.to_vec();
        shape[1] /= 2;
        let size: usize = shape[1..].iter().product();
        let mut halves: [Vec<f32>; 2] = Default::default();
        let values: Vec<f32> = examples.iter::<f32>().collect();
        for (i, half) in values.chunks(size).enumerate() {
            halves[i % 2].extend(half);
        }
        halves.map(|values| TensorData::new(values, shape.clone()))
    }
}

impl Dataset for WithNoise {
    type Label = AnyLabel;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<AnyLabel, DataError> {
        let (example, noise) = into.split_at_mut(into.len() / 2);
        self.dataset.read_noise(index, noise)?;
        self.dataset.read(index, example)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.dataset.can_mirror()
    }

    fn identity(&self, index: usize) -> u64 {
        self.dataset.identity(index)
    }
}

/// The batches of a run; none before [`open`](Self::open). Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Feed(Rc<RefCell<Option<Open>>>);

struct Open {
    batches: Box<dyn Iterator<Item = Batch>>,
    /// The number of the next batch of the run.
    next: u64,
}

impl Feed {
    /// Begins with the batch number `first` of the run; `watch` may stop it.
    pub fn open(&self, data: &AnyDataset, config: &RunConfig, first: u64, watch: &Watch) {
        let batches: Box<dyn Iterator<Item = Batch>> = match data.has_noise() {
            false => {
                let drawn = |(examples, condition)| (examples, None, condition);
                let batches = batches(data.clone(), config, first, watch);
                Box::new(batches.map(move |batch| Batch(batch.map(drawn))))
            }
            true => {
                let given = |(examples, condition)| {
                    let [examples, noise] = WithNoise::halves(&examples);
                    (examples, Some(noise), condition)
                };
                let batches = batches(WithNoise::new(data.clone()), config, first, watch);
                Box::new(batches.map(move |batch| Batch(batch.map(given))))
            }
        };
        *self.0.borrow_mut() = Some(Open { batches, next: first });
    }

    /// Goes on with the next batch under another watch; does nothing before [`open`](Self::open).
    pub fn watch(&self, data: &AnyDataset, config: &RunConfig, watch: &Watch) {
        let next = self.0.borrow().as_ref().map(|open| open.next);
        if let Some(next) = next {
            self.open(data, config, next, watch);
        }
    }
}

impl Iterator for Feed {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut open = self.0.borrow_mut();
        let open = open.as_mut()?;
        let batch = open.batches.next();
        open.next += u64::from(matches!(batch, Some(Batch(Ok(_)))));
        batch
    }
}

/// The batches of `data`, prepared ahead.
fn batches<D: Dataset<Label = AnyLabel> + 'static>(
    data: D,
    config: &RunConfig,
    first: u64,
    watch: &Watch,
) -> Prefetch<Result<(TensorData, AnyCondition), DataError>> {
    let batches = Batches::new(data, config.batch_size, config.training.seed).watched(watch.clone());
    let batches = if config.flip { batches.flip_horizontally() } else { batches };
    batches.starting_at(first).prefetch(PREFETCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_and_noise_come_apart_again() {
        let both = TensorData::new((0..12).map(|x| x as f32).collect::<Vec<_>>(), [2, 2, 3]);
        let [examples, noise] = WithNoise::halves(&both);
        assert_eq!(examples, TensorData::new(vec![0f32, 1., 2., 6., 7., 8.], [2, 1, 3]));
        assert_eq!(noise, TensorData::new(vec![3f32, 4., 5., 9., 10., 11.], [2, 1, 3]));
    }
}
