//! Batches for a training loop that is made before its data are open.

use crate::config::RunConfig;
use burn::tensor::TensorData;
use diffusion::core::AnyCondition;
use diffusion::data::{AnyDataset, Batches, DataError};
use std::cell::RefCell;
use std::rc::Rc;

/// Batches that are prepared ahead of the training thread.
const PREFETCH: usize = 4;

/// One batch: its examples and their condition; or why it cannot be read.
type Batch = Result<(TensorData, AnyCondition), DataError>;

/// The batches of a run; none before [`open`](Self::open). Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Feed(Rc<RefCell<Option<Box<dyn Iterator<Item = Batch>>>>>);

impl Feed {
    /// Begins with the batch number `first` of the run.
    pub fn open(&self, data: &AnyDataset, config: &RunConfig, first: u64) {
        let batches = Batches::new(data.clone(), config.batch_size, config.training.seed);
        let batches = if config.flip { batches.flip_horizontally() } else { batches };
        *self.0.borrow_mut() = Some(Box::new(batches.starting_at(first).prefetch(PREFETCH)));
    }
}

impl Iterator for Feed {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.0.borrow_mut().as_mut()?.next()
    }
}
