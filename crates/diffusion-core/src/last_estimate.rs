//! What a network that is given its own last estimate of the data remembers in a sampling run.

use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// The estimate of the data that was found at the beginning of the last step.
///
/// Within a step, samplers evaluate where the step leads them, which may be another place for each sample of a batch;
/// its beginning is each sample's own. So a sample does not depend on the others.
#[derive(Clone, Debug)]
pub(crate) struct LastEstimate<B: Backend, const D: usize>(Option<(usize, Tensor<B, D>)>);

impl<B: Backend, const D: usize> LastEstimate<B, D> {
    /// None, before the first step.
    pub fn none() -> Self {
        Self(None)
    }

    /// What the network is given in `step`, in the place of a noisy input like `x`: nothing where it was not asked in this
    /// step or the one before.
    pub fn given(&self, step: SamplerStep, x: &Tensor<B, D>) -> Option<Tensor<B, D>> {
        let (index, estimate) = self.0.as_ref()?;
        let is_recent = *index == step.index || *index + 1 == step.index;
        (is_recent && estimate.dims() == x.dims()).then(|| estimate.clone())
    }

    /// Remembers the estimate that was found at the noise level `sigma`, if the step begins there.
    pub fn found(&mut self, step: SamplerStep, sigma: f64, estimate: impl FnOnce() -> Tensor<B, D>) {
        if sigma >= step.from {
            self.0 = Some((step.index, estimate()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn it_is_that_of_the_beginning_of_this_step_or_the_one_before() {
        let estimate = |value: f64| Tensor::<Flex, 2>::full([3, 1], value, &Default::default());
        let step = |index| SamplerStep { index, from: 2.0, to: 1.0 };
        let mut last = LastEstimate::none();
        let given = |last: &LastEstimate<Flex, 2>, index| {
            let given = last.given(step(index), &estimate(0.0));
            given.map(|estimate| estimate.into_data().to_vec::<f32>().unwrap()[0])
        };
        assert_eq!(given(&last, 0), None);
        last.found(step(4), 1.5, || panic!("within the step"));
        last.found(step(4), 2.0, || estimate(7.0));
        last.found(step(5), 1.0, || panic!("at its end"));
        assert_eq!([3, 4, 5, 6].map(|index| given(&last, index)), [None, Some(7.0), Some(7.0), None]);
        // A sampler that adds noise first begins above.
        last.found(step(5), 2.5, || estimate(8.0));
        assert_eq!(given(&last, 6), Some(8.0));
        // Of another batch it is none.
        assert!(last.given(step(5), &Tensor::zeros([2, 1], &Default::default())).is_none());
    }
}
