//! Batches for a training loop that is made before its data are open.

use crate::config::RunConfig;
use burn::tensor::TensorData;
use diffusion::core::AnyCondition;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Batches, DataError};
use std::cell::RefCell;
use std::rc::Rc;

/// Batches that are prepared ahead of the training thread.
const PREFETCH: usize = 4;

/// One batch: its examples and their condition; or why it cannot be read.
type Batch = Result<(TensorData, AnyCondition), DataError>;

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
        let batches = Batches::new(data.clone(), config.batch_size, config.training.seed);
        let batches = batches.watched(watch.clone());
        let batches = if config.flip { batches.flip_horizontally() } else { batches };
        let batches = Box::new(batches.starting_at(first).prefetch(PREFETCH));
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
        open.next += u64::from(matches!(batch, Some(Ok(_))));
        batch
    }
}
