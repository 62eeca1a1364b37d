//! Every random number comes from a stream that is named by what it is for, never by when it was drawn.
//!
//! A [`Stream`] is the ChaCha8 generator under a key made of four numbers: the seed, the [`Purpose`], the step
//! and the index of the sample. Two streams with different names are independent; the same name gives the same
//! numbers on every backend, for every batch size, in every order of drawing, and after a resume.

mod brownian;

pub use brownian::BrownianNoise;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// What a stream of random numbers is for.
///
/// Whoever draws defines a constant with a number of its own. The numbers are part of the format: they never change
/// meaning. Taken are 1 to 3, 13 and 30 to 33 here, 5 and 20 to 23 by objectives, 4, 6 and 9 by training, 7 and 8 by data
/// sets, 10 to 12 by validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose(pub u64);

impl Purpose {
    /// Initial values of a network's parameters.
    pub const PARAMETERS: Self = Self(1);
    /// The pure noise that sampling starts from.
    pub const INITIAL_NOISE: Self = Self(2);
    /// The noise that a stochastic sampler adds on its way.
    pub const STEP_NOISE: Self = Self(3);
    /// The paths of Brownian motion that a stochastic sampler may take its noise from.
    pub const BROWNIAN_NOISE: Self = Self(13);
    /// The noise of what is known while the rest is made.
    pub const KNOWN_NOISE: Self = Self(30);
    /// The seeds of a run's parts.
    pub const PARTS: Self = Self(31);
    /// The random signs of an estimated trace.
    pub const SIGNS: Self = Self(32);
    /// What bytes are made continuous with.
    pub const DEQUANTIZATION: Self = Self(33);
}

/// Items that are shuffled between two questions whether to go on: some milliseconds of work, however many there are.
const PIECE: usize = 1 << 18;

/// An endless sequence of random numbers, identical on every machine and backend.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream named by `seed`, `purpose`, `step` and `index`.
    ///
    /// `step` counts training steps, sampling steps or epochs; `index` is the sample's place in the whole batch.
    pub fn new(seed: u64, purpose: Purpose, step: u64, index: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose.0, step, index]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number drawn uniformly from [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// A number drawn from the normal distribution of mean 0 and variance 1.
    pub fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }

    /// Normal numbers of mean 0 and variance 1 without end, for where many are needed: in half of the time that
    /// [`normal`](Self::normal) takes, by the generator xoshiro256++ (Blackman & Vigna 2021, arXiv:1805.01407), whose state
    /// is drawn from this stream.
    fn many_normals(mut self) -> impl Iterator<Item = f64> {
        Xoshiro256PlusPlus::from_seed(self.0.random()).sample_iter(StandardNormal)
    }

    /// An integer drawn uniformly from 0..`n`.
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "an integer below 0 was asked for, expected a bound of at least 1");
        self.0.random_range(0..n as u64) as usize
    }

    /// Brings `items` into a random order, every order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }

    /// Brings `items` into the same order as [`shuffle`](Self::shuffle), and asks on the way whether to go on: `go_on` is
    /// told how many items have been shuffled. 2³² items and more are shuffled in one piece.
    ///
    /// ```
    /// use diffusion_core::random::{Purpose, Stream};
    /// use diffusion_core::watch::{Stopped, Watch};
    ///
    /// let (watch, stream) = (Watch::default(), Stream::new(0, Purpose(1000), 0, 0));
    /// let mut order: Vec<usize> = (0..50).collect();
    /// let total = Some(order.len() as u64);
    /// stream.clone().try_shuffle(&mut order, |done| watch.report("shuffling", done as u64, total))?;
    /// watch.stop();
    /// assert_eq!(stream.clone().try_shuffle(&mut order, |_| watch.check()), Err(Stopped));
    /// # Ok::<(), Stopped>(())
    /// ```
    ///
    /// # Errors
    /// Those of `go_on`; what `items` are in then is no order that means something.
    pub fn try_shuffle<T, E>(
        &mut self,
        items: &mut [T],
        mut go_on: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        // Of so many the draws are others, and those of a part of them are not.
        let piece = if items.len() < u32::MAX as usize { PIECE } else { items.len() };
        for first in (0..items.len()).step_by(piece) {
            go_on(first)?;
            let end = items.len().min(first + piece);
            let _ = items[..end].partial_shuffle(&mut self.0, end - first);
        }
        Ok(())
    }
}

/// Seeded normal noise for sampling: image `i` depends on the seed and on `i` alone.
///
/// To sample a large set in pieces, let each piece start at its own first index:
/// `Noise::new(seed).starting_at(64)` continues where a batch of 64 under `Noise::new(seed)` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    seed: u64,
    first: u64,
}

impl Noise {
    /// Noise for the samples 0, 1, 2, … of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, first: 0 }
    }

    /// The same noise, for the samples `first`, `first + 1`, ….
    pub fn starting_at(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// Unit normal noise to start sampling from.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn initial<B: Backend, const D: usize>(&self, shape: [usize; D], device: &B::Device) -> Tensor<B, D> {
        normal(self.seed, Purpose::INITIAL_NOISE, 0, self.first, shape, device)
    }

    /// Unit normal noise for the sampling step `step`, counted from 0.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn step<B: Backend, const D: usize>(
        &self,
        step: usize,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        self.draw(step, 0, shape, device)
    }

    /// Unit normal noise for draw number `draw` of the sampling step `step`, both counted from 0; draw 0 is
    /// [`step`](Self::step).
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn draw<B: Backend, const D: usize>(
        &self,
        step: usize,
        draw: usize,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        // A step's number has the lower half of the name.
        let name = step as u64 | (draw as u64) << 32;
        normal(self.seed, Purpose::STEP_NOISE, name, self.first, shape, device)
    }

    /// Unit normal noise for what is known after the sampling step `step`, counted from 0.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn known<B: Backend, const D: usize>(
        &self,
        step: usize,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        normal(self.seed, Purpose::KNOWN_NOISE, step as u64, self.first, shape, device)
    }

    /// The noise for the part `part` of a run that is made in several, of the same samples: independent of that for any other
    /// part but the first, whose noise this is itself.
    pub fn part(&self, part: u64) -> Self {
        match part {
            0 => *self,
            _ => Self { seed: Stream::new(self.seed, Purpose::PARTS, part, 0).0.random(), ..*self },
        }
    }

    /// Random signs, 1 and −1, the draw `draw` of several.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn signs<const D: usize>(&self, draw: usize, shape: [usize; D]) -> TensorData {
        let sign = |stream: &mut Stream| if stream.uniform() < 0.5 { -1.0 } else { 1.0 };
        rows((self.seed, Purpose::SIGNS, draw as u64, self.first), shape, sign)
    }

    /// Numbers drawn uniformly from [0, 1), for data that are made continuous.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn uniform<const D: usize>(&self, shape: [usize; D]) -> TensorData {
        // The largest number below 1 in f32: none is rounded up.
        let below_one = |stream: &mut Stream| (stream.uniform() as f32).min(1.0 - f32::EPSILON / 2.0);
        rows((self.seed, Purpose::DEQUANTIZATION, 0, self.first), shape, below_one)
    }
}

/// Unit normal noise in which row `i` comes from the stream (`seed`, `purpose`, `step`, `first + i`).
///
/// # Shapes
/// - returns `shape`, whose first axis is the batch
pub fn normal<B: Backend, const D: usize>(
    seed: u64,
    purpose: Purpose,
    step: u64,
    first: u64,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    Tensor::from_data(normal_data(seed, purpose, step, first, shape), device)
}

/// The numbers of [`normal`], still on the host.
pub fn normal_data<const D: usize>(
    seed: u64,
    purpose: Purpose,
    step: u64,
    first: u64,
    shape: [usize; D],
) -> TensorData {
    rows((seed, purpose, step, first), shape, |stream| stream.normal() as f32)
}

/// Numbers of which row `i` comes from the stream (`seed`, `purpose`, `step`, `first + i`).
fn rows<const D: usize>(
    (seed, purpose, step, first): (u64, Purpose, u64, u64),
    shape: [usize; D],
    draw: impl Fn(&mut Stream) -> f32,
) -> TensorData {
    let row: usize = shape[1..].iter().product();
    let mut values = Vec::with_capacity(shape[0] * row);
    for i in 0..shape[0] as u64 {
        let mut stream = Stream::new(seed, purpose, step, first + i);
        values.extend((0..row).map(|_| draw(&mut stream)));
    }
    TensorData::new(values, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format of a seed: these numbers must not change between versions or machines.
    #[test]
    fn streams_are_pinned() {
        let mut s = Stream::new(42, Purpose(4), 7, 3);
        assert_eq!([s.0.random::<u32>(), s.0.random::<u32>()], [4_009_269_436, 1_078_913_803]);
    }

    #[test]
    fn every_part_of_the_name_matters() {
        let names = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)];
        let mut first: Vec<u64> = names.map(|(a, b, c)| Stream::new(a, Purpose(8), b, c).0.random()).to_vec();
        first.push(Stream::new(1, Purpose(7), 1, 1).0.random());
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 5);
    }

    #[test]
    fn rows_do_not_depend_on_the_batch() {
        let whole: Vec<f32> =
            normal_data(5, Purpose::INITIAL_NOISE, 0, 0, [6, 4]).to_vec().expect("f32 data");
        let part: Vec<f32> = normal_data(5, Purpose::INITIAL_NOISE, 0, 4, [2, 4]).to_vec().expect("f32 data");
        assert_eq!(&whole[16..], &part[..]);
    }

    #[test]
    fn normal_numbers_are_normal() {
        let mut s = Stream::new(0, Purpose::STEP_NOISE, 0, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| s.normal()).collect();
        let moment = |k| draws.iter().map(|x| x.powi(k)).sum::<f64>() / draws.len() as f64;
        // Standard errors of the first four moments: 0.003, 0.005, 0.012, 0.031.
        for (k, expected, tolerance) in [(1, 0.0, 0.013), (2, 1.0, 0.018), (3, 0.0, 0.05), (4, 3.0, 0.13)] {
            assert!((moment(k) - expected).abs() < tolerance, "moment {k}: {}", moment(k));
        }
    }
}
