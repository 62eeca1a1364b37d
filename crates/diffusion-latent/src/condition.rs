//! What a U-Net of latent diffusion is told.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::{Condition, ConditionFor, Tokens};

/// How many sizes of a picture SDXL is told.
pub const SIZES: usize = 6;

/// A text for each example, and what some networks are told besides. Data on the host until a network needs tensors.
///
/// ```
/// use diffusion_core::{Condition, Tokens};
/// use diffusion_latent::TextCondition;
///
/// let text = TextCondition::from(Tokens::new(vec![0.0; 2 * 77 * 768], [2, 77, 768]));
/// text.check(2);
/// assert_eq!(text.clone().join(text).batch(), 4);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TextCondition {
    /// The encoded text, `[batch, tokens, width]`.
    pub tokens: Tokens,
    /// For SDXL, the whole text as one vector, `[batch, 1, width]`.
    pub pooled: Option<Tokens>,
    /// For SDXL (Podell et al. 2023, arXiv:2307.01952, §2.2), the sizes of the picture that is wanted: original height and
    /// width, top and left of the crop, target height and width, in pixels; `[batch, 1, 6]`. Where it is absent, a whole
    /// picture of the network's size is.
    pub size: Option<Tokens>,
    /// For networks that paint into a picture, what they see of it: the mask, 1 where it is to be painted, and the latents
    /// of the picture without that part; `[batch, channels, height · width]`.
    pub painted: Option<Tokens>,
}

impl TextCondition {
    /// Of how many examples.
    pub fn batch(&self) -> usize {
        self.tokens.shape()[0]
    }

    /// The same with the size of the picture, for SDXL: a picture that is not cropped, `height` by `width` pixels.
    #[must_use]
    pub fn of_size(mut self, height: usize, width: usize) -> Self {
        self.size = Some(whole_picture(self.batch(), [height, width]));
        self
    }

    /// The first example `batch` times.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn repeat(&self, batch: usize) -> Self {
        let repeat = |tokens: &Tokens| {
            let [_, count, width] = tokens.shape();
            Tokens::new(tokens.values()[..count * width].repeat(batch), [batch, count, width])
        };
        self.map(repeat)
    }

    /// The same with another text for the examples of which `is_replaced` says so; `text` has one example.
    pub(crate) fn replace(&self, text: &Self, is_replaced: impl FnMut(usize) -> bool) -> Self {
        let replaced: Vec<bool> = (0..self.batch()).map(is_replaced).collect();
        let pooled = match (&self.pooled, &text.pooled) {
            (Some(pooled), Some(text)) => Some(put(pooled, text, &replaced)),
            (pooled, _) => pooled.clone(),
        };
        let (size, painted) = (self.size.clone(), self.painted.clone());
        Self { tokens: put(&self.tokens, &text.tokens, &replaced), pooled, size, painted }
    }

    fn map(&self, change: impl Fn(&Tokens) -> Tokens) -> Self {
        Self {
            tokens: change(&self.tokens),
            pooled: self.pooled.as_ref().map(&change),
            size: self.size.as_ref().map(&change),
            painted: self.painted.as_ref().map(&change),
        }
    }
}

/// The tokens with those of one example in the place of all that are `replaced`.
fn put(tokens: &Tokens, one: &Tokens, replaced: &[bool]) -> Tokens {
    let [batch, count, width] = tokens.shape();
    if replaced.contains(&true) {
        assert_eq!(one.shape()[1..], [count, width], "the text that stands for none has another shape");
    }
    let mut values = tokens.values().to_vec();
    for (values, _) in values.chunks_exact_mut(count * width).zip(replaced).filter(|(_, replaced)| **replaced)
    {
        values.copy_from_slice(one.values());
    }
    Tokens::new(values, [batch, count, width])
}

/// What SDXL is told of pictures of `[height, width]` pixels that are not cropped, `[batch, 1, 6]`.
pub(crate) fn whole_picture(batch: usize, [height, width]: [usize; 2]) -> Tokens {
    let size = [height, width, 0, 0, height, width].map(|pixels| pixels as f32);
    Tokens::new(size.repeat(batch), [batch, 1, SIZES])
}

/// A tensor's values on the host.
///
/// # Shapes
/// - `x`: `[batch, tokens, width]`
pub fn to_host<B: Backend>(x: Tensor<B, 3>) -> Tokens {
    let shape = x.dims();
    let data: TensorData = x.into_data();
    Tokens::new(data.iter::<f32>().collect(), shape)
}

impl From<Tokens> for TextCondition {
    fn from(tokens: Tokens) -> Self {
        Self { tokens, pooled: None, size: None, painted: None }
    }
}

impl ConditionFor<TextCondition> for Tokens {
    fn into_condition(self) -> TextCondition {
        self.into()
    }
}

impl Condition for TextCondition {
    /// # Panics
    /// If the two are of different kinds, or texts differ in length.
    fn join(self, other: Self) -> Self {
        let join = |what, one: Option<Tokens>, other: Option<Tokens>| match (one, other) {
            (None, None) => None,
            (Some(one), Some(other)) => Some(one.join(other)),
            _ => panic!("one of two conditions has {what} and the other has not, expected both or none"),
        };
        Self {
            tokens: self.tokens.join(other.tokens),
            pooled: join("a pooled text", self.pooled, other.pooled),
            size: join("a size", self.size, other.size),
            painted: join("a picture", self.painted, other.painted),
        }
    }

    fn check(&self, batch: usize) {
        self.tokens.check(batch);
        for tokens in [&self.pooled, &self.size, &self.painted].into_iter().flatten() {
            tokens.check(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f32, batch: usize) -> TextCondition {
        Tokens::new(vec![value; batch * 6], [batch, 2, 3]).into()
    }

    #[test]
    fn some_examples_lose_their_text_and_keep_the_rest() {
        let condition = text(1.0, 3).of_size(8, 16);
        let found = condition.replace(&text(0.0, 1), |example| example == 1);
        let expected = [[1.0f32; 6], [0.0; 6], [1.0; 6]].concat();
        assert_eq!((found.tokens.values(), &found.size), (&expected[..], &condition.size));
        assert_eq!(found.repeat(2).tokens.values(), [1.0; 12]);
        assert_eq!(found.size.unwrap().values()[..6], [8.0, 16.0, 0.0, 0.0, 8.0, 16.0]);
    }

    #[test]
    #[should_panic(expected = "expected both or none")]
    fn kinds_do_not_mix() {
        let _ = text(1.0, 1).join(text(1.0, 1).of_size(8, 8));
    }
}
