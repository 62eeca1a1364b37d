//! What a training takes its batches as: values, or values that may not be had.

use burn::tensor::TensorData;
use diffusion_core::ConditionFor;
use std::convert::Infallible;

/// One batch of examples with their condition `C`, or why it could not be read.
///
/// A pair is a batch, and so is a `Result` of one, as `Batches` of the crate `diffusion-data` yields it. A triple says
/// beside the examples which noise each gets, `[batch, …]` of unit variance, as
/// [reflow](https://arxiv.org/abs/2209.03003) needs it.
///
/// ```
/// use burn::tensor::TensorData;
/// use diffusion_train::IntoBatch;
///
/// let pair = || (TensorData::zeros::<f32, _>([8, 2]), ());
/// assert!(IntoBatch::<()>::into_batch(pair()).is_ok());
/// let read: Result<(TensorData, ()), std::io::Error> = Ok(pair());
/// assert!(IntoBatch::<()>::into_batch(read).is_ok());
/// ```
///
/// The condition is the network's: labels for a network with labels,
/// ```
/// # use burn::backend::{Autodiff, Flex};
/// # use burn::tensor::TensorData;
/// # use diffusion_core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
/// # use diffusion_core::schedule::LogLinear;
/// # use diffusion_core::{Diffusion, EpsPrediction, Labels};
/// # use diffusion_train::{TrainConfig, train};
/// # let device = Default::default();
/// let labeled = [(TensorData::zeros::<f32, _>([2, 2]), Labels(vec![0, 1]))];
/// let network = ConditionalMlpConfig::default().init::<Autodiff<Flex>>(0, &device);
/// train(labeled, Diffusion::new(network, EpsPrediction), LogLinear::default(), &TrainConfig::new(1)).last();
/// ```
/// and none for one without, of which the compiler says the cure:
/// ```compile_fail,E0277
/// # use burn::backend::{Autodiff, Flex};
/// # use burn::tensor::TensorData;
/// # use diffusion_core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
/// # use diffusion_core::schedule::LogLinear;
/// # use diffusion_core::{Diffusion, EpsPrediction, Labels};
/// # use diffusion_train::{TrainConfig, train};
/// # let device = Default::default();
/// let labeled = [(TensorData::zeros::<f32, _>([2, 2]), Labels(vec![0, 1]))];
/// let network = TimeInputMlpConfig::default().init::<Autodiff<Flex>>(0, &device);
/// train(labeled, Diffusion::new(network, EpsPrediction), LogLinear::default(), &TrainConfig::new(1)).last();
/// ```
pub trait IntoBatch<C> {
    /// Why the batch could not be read.
    type Error;

    /// The examples, `[batch, …]` in f32, and their condition.
    ///
    /// # Errors
    /// If they could not be read.
    fn into_batch(self) -> Result<(TensorData, C), Self::Error>;

    /// The same with the noise that each example gets, where it is given and not drawn.
    ///
    /// # Errors
    /// As [`into_batch`](Self::into_batch).
    fn into_pairs(self) -> Result<(TensorData, Option<TensorData>, C), Self::Error>
    where
        Self: Sized,
    {
        self.into_batch().map(|(examples, condition)| (examples, None, condition))
    }
}

impl<C, L: ConditionFor<C>> IntoBatch<C> for (TensorData, L) {
    type Error = Infallible;

    fn into_batch(self) -> Result<(TensorData, C), Infallible> {
        Ok((self.0, self.1.into_condition()))
    }
}

impl<C, L: ConditionFor<C>, E> IntoBatch<C> for Result<(TensorData, L), E> {
    type Error = E;

    fn into_batch(self) -> Result<(TensorData, C), E> {
        self.map(|(examples, labels)| (examples, labels.into_condition()))
    }
}

impl<C, L: ConditionFor<C>> IntoBatch<C> for (TensorData, TensorData, L) {
    type Error = Infallible;

    fn into_batch(self) -> Result<(TensorData, C), Infallible> {
        Ok((self.0, self.2.into_condition()))
    }

    fn into_pairs(self) -> Result<(TensorData, Option<TensorData>, C), Infallible> {
        Ok((self.0, Some(self.1), self.2.into_condition()))
    }
}

impl<C, L: ConditionFor<C>, E> IntoBatch<C> for Result<(TensorData, TensorData, L), E> {
    type Error = E;

    fn into_batch(self) -> Result<(TensorData, C), E> {
        self.map(|(examples, _, labels)| (examples, labels.into_condition()))
    }

    fn into_pairs(self) -> Result<(TensorData, Option<TensorData>, C), E> {
        self.map(|(examples, noise, labels)| (examples, Some(noise), labels.into_condition()))
    }
}
