//! One path of Brownian motion per sample, looked up at any pair of times.

use super::{Noise, Purpose, Stream};
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Seeded noise of one fixed path W of Brownian motion per element of each sample: the noise for a way is
/// `(W(s') − W(s))/√|s' − s|`. So a run of more steps refines the picture of fewer instead of drawing another.
///
/// The time s is the ratio of the powers of data and noise, (α/σ)². In it the sampler that adds as much noise as it
/// removes (η = 1) sums up exactly: while the estimate of the data stays, `x·α/σ²` gains `D·(s' − s) + W(s') − W(s)`.
///
/// W is found by halving: each octave [2^k, 2^(k+1)) has an increment of its own, and inside of it the midpoints of
/// halves, of their halves and so on are drawn given their ends, ten times. Each draw has a stream named by
/// (seed, sample, interval), so that sample `i` depends on the seed and on `i` alone, whichever ways are asked for, in
/// any order. Times are rounded to 2⁻¹⁰ of their octave (σ to 1 part in 2000). A way that is shorter than
/// that, or that leads up, to σ = 0 or nowhere, has noise of its own, named by its ends and the number of its draw.
///
/// What was found at the end of a way is kept for the next that begins there: a step costs at most eleven normal numbers
/// per element, one more for each octave that it passes, and nothing on the device but a copy.
#[derive(Clone, Debug)]
pub struct BrownianNoise {
    noise: Noise,
    /// Where the last way ended.
    last: Option<Place>,
}

/// W at one time, relative to the begin of its octave.
#[derive(Clone, Debug)]
struct Place {
    time: Time,
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl BrownianNoise {
    /// Noise for the samples 0, 1, 2, … of `seed`.
    pub fn new(seed: u64) -> Self {
        Self::from(Noise::new(seed))
    }

    /// The same noise, for the samples `first`, `first + 1`, ….
    #[must_use]
    pub fn starting_at(self, first: u64) -> Self {
        Self::from(self.noise.starting_at(first))
    }

    /// Unit normal noise for the way from one time to another: those of its ends are `times`. Where the path has none, it is
    /// named by `times` and `draw`.
    ///
    /// # Shapes
    /// - returns `shape`, whose first axis is the batch
    pub fn between<B: Backend, const D: usize>(
        &mut self,
        times: [f64; 2],
        draw: usize,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        Tensor::from_data(self.between_data(times, draw, shape), device)
    }

    /// The numbers of [`between`](Self::between), still on the host.
    fn between_data<const D: usize>(
        &mut self,
        times: [f64; 2],
        draw: usize,
        shape: [usize; D],
    ) -> TensorData {
        let ends = times.map(Time::rounded);
        let values = match ends {
            [Some(begin), Some(end)] if begin < end => self.increment(begin, end, &shape),
            _ => {
                let name = OWN | hash([times[0].to_bits(), times[1].to_bits(), draw as u64]) >> 1;
                let mut values = vec![0.0; shape.iter().product()];
                self.each(name, &shape, &mut values, |value, normal| *value = normal);
                values
            }
        };
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        TensorData::new(values, shape)
    }

    /// `(W(end) − W(begin))/√(end − begin)`.
    fn increment(&mut self, begin: Time, end: Time, shape: &[usize]) -> Vec<f64> {
        let start = match self.last.take() {
            Some(place) if place.time == begin && place.shape == shape => place.values,
            _ => self.within_octave(begin, shape),
        };
        let reached = self.within_octave(end, shape);
        // From the begin of the first octave over those between to the begin of the last.
        let mut between = vec![0.0; reached.len()];
        for octave in begin.octave()..end.octave() {
            let deviation = Time::of_octave(octave).seconds().sqrt();
            self.each(octave << DEPTH, shape, &mut between, |sum, normal| *sum += deviation * normal);
        }
        let scale = (end.seconds() - begin.seconds()).sqrt().recip();
        let noise = between.iter().zip(&start).zip(&reached);
        let noise = noise.map(|((between, start), reached)| (between + (reached - start)) * scale).collect();
        self.last = Some(Place { time: end, shape: shape.to_vec(), values: reached });
        noise
    }

    /// W at `time`, less that at the begin of its octave.
    fn within_octave(&self, time: Time, shape: &[usize]) -> Vec<f64> {
        let (octave, cell) = (time.octave(), time.cell());
        let mut low = vec![0.0; shape.iter().product()];
        if cell == 0 {
            return low;
        }
        // The octave is as long as its begin.
        let length = Time::of_octave(octave).seconds();
        let mut high = vec![0.0; low.len()];
        self.each(octave << DEPTH, shape, &mut high, |high, normal| *high = length.sqrt() * normal);
        for level in 0..DEPTH {
            let (node, rest) = (1 << level | cell >> (DEPTH - level), cell << level & MASK);
            let deviation = 0.5 * (length / f64::from(1u32 << level)).sqrt();
            // Of the two ends one stays and the middle takes the place of the other.
            let (moving, staying, name) = match rest >> (DEPTH - 1) {
                0 => (&mut high, &low, octave << DEPTH | node),
                _ => (&mut low, &high, octave << DEPTH | node),
            };
            let mut others = staying.iter();
            self.each(name, shape, moving, |end, normal| {
                let other = others.next().copied().unwrap_or_default();
                *end = 0.5 * (*end + other) + deviation * normal;
            });
            if rest == HALF {
                break;
            }
        }
        low
    }

    /// Gives each of `values` a normal number of the stream `name` of its sample.
    fn each(&self, name: u64, shape: &[usize], values: &mut [f64], mut with: impl FnMut(&mut f64, f64)) {
        let row = shape.iter().skip(1).product::<usize>().max(1);
        for (i, values) in values.chunks_mut(row).enumerate() {
            let stream =
                Stream::new(self.noise.seed, Purpose::BROWNIAN_NOISE, name, self.noise.first + i as u64);
            values.iter_mut().zip(stream.many_normals()).for_each(|(value, normal)| with(value, normal));
        }
    }
}

impl From<Noise> for BrownianNoise {
    /// The path of the samples that `noise` is for.
    fn from(noise: Noise) -> Self {
        Self { noise, last: None }
    }
}

/// How often an octave is halved.
const DEPTH: u32 = 10;
/// The cells of an octave, less one.
const MASK: u64 = (1 << DEPTH) - 1;
/// The cell in an octave's middle.
const HALF: u64 = 1 << (DEPTH - 1);
/// Marks the names of noise that no path has.
const OWN: u64 = 1 << 63;
/// The first and the last time that are told from 0 and infinity; noise levels from 1e-15 to 1.5e15 lie between.
const TIMES: [f64; 2] = [1e-31, 1e31];

/// A time as the first bits of its f64: the octave's number, then that of the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Time(u64);

impl Time {
    /// The nearest to `seconds`; none if that is infinite.
    fn rounded(seconds: f64) -> Option<Self> {
        let bits = seconds.max(TIMES[0]).to_bits();
        let dropped = f64::MANTISSA_DIGITS - 1 - DEPTH;
        (seconds < TIMES[1]).then_some(Self((bits + (1 << (dropped - 1))) >> dropped))
    }

    /// The begin of an octave.
    fn of_octave(octave: u64) -> Self {
        Self(octave << DEPTH)
    }

    fn octave(self) -> u64 {
        self.0 >> DEPTH
    }

    fn cell(self) -> u64 {
        self.0 & MASK
    }

    fn seconds(self) -> f64 {
        f64::from_bits(self.0 << (f64::MANTISSA_DIGITS - 1 - DEPTH))
    }
}

/// Mixes numbers into one by the finalizer of SplitMix64 (Steele et al. 2014).
fn hash(numbers: [u64; 3]) -> u64 {
    numbers.into_iter().fold(0, |mixed: u64, number| {
        let mut z = (mixed ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(source: &mut BrownianNoise, times: [f64; 2], count: usize) -> Vec<f64> {
        source.between_data(times, 0, [1, count]).iter::<f64>().collect()
    }

    fn covariance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
    }

    /// Ways within a cell's halves, within an octave, over octaves, from pure noise, and those without a path.
    const WAYS: [[f64; 2]; 9] = [
        [0.0, 1e-29],
        [1e-29, 0.003],
        [0.003, 0.9],
        [0.9, 0.95],
        [0.95, 1.0],
        [1.0, 1.01],
        [1.01, 7.3],
        [7.3, 7.300001],
        [7.300001, 9e30],
    ];

    /// Chance moves a mean of 40 000 products by 0.005, and that of squares by 0.007.
    #[test]
    fn disjoint_ways_are_independent_and_of_unit_variance() {
        let mut source = BrownianNoise::new(3);
        let found = WAYS.map(|times| noise(&mut source, times, 40_000));
        for (i, one) in found.iter().enumerate() {
            let mean = one.iter().sum::<f64>() / one.len() as f64;
            assert!(mean.abs() < 0.025, "{:?}: the mean is {mean}", WAYS[i]);
            let variance = covariance(one, one);
            assert!((variance - 1.0).abs() < 0.035, "{:?}: the variance is {variance}", WAYS[i]);
            for (j, other) in found[..i].iter().enumerate() {
                let covariance = covariance(one, other);
                assert!(covariance.abs() < 0.025, "{:?} and {:?}: {covariance}", WAYS[i], WAYS[j]);
            }
        }
    }

    /// Times that need no rounding: what two ways gain is what both together do.
    #[test]
    fn ways_add_up() {
        let times = [0.015625, 0.75, 1.0, 1.25, 1.2509765625, 1.5, 3.0, 8.0, 12.5, 4096.0];
        let gain = |source: &mut BrownianNoise, [begin, end]: [f64; 2]| {
            let scale = f64::sqrt(end - begin);
            noise(source, [begin, end], 7).into_iter().map(|z| z * scale).collect::<Vec<_>>()
        };
        for (i, &a) in times.iter().enumerate() {
            for (j, &b) in times.iter().enumerate().skip(i + 1) {
                for &c in &times[j + 1..] {
                    // Each is asked for by itself: nothing may depend on what was kept.
                    let [whole, first, second] = [[a, c], [a, b], [b, c]]
                        .map(|way| gain(&mut BrownianNoise::new(8).starting_at(2), way));
                    for ((whole, first), second) in whole.iter().zip(first).zip(second) {
                        let (size, error) = (f64::sqrt(c - a), (whole - first - second).abs());
                        assert!(error < 1e-6 * size, "{a}, {b}, {c}: {whole} and {first} + {second}");
                    }
                }
            }
        }
    }

    /// Whatever was asked for before, in any batch.
    #[test]
    fn noise_depends_on_seed_sample_and_way_alone() {
        let (mut whole, mut part) = (BrownianNoise::new(5), BrownianNoise::new(5).starting_at(4));
        for times in WAYS {
            let all: Vec<f32> = whole.between_data(times, 0, [6, 4]).to_vec().unwrap();
            let some: Vec<f32> = part.between_data(times, 0, [2, 4]).to_vec().unwrap();
            assert_eq!(&all[16..], &some[..], "{times:?}");
            let alone: Vec<f32> = BrownianNoise::new(5).between_data(times, 0, [6, 4]).to_vec().unwrap();
            assert_eq!(all, alone, "{times:?}");
            let other: Vec<f32> = BrownianNoise::new(6).between_data(times, 0, [6, 4]).to_vec().unwrap();
            assert!(all.iter().zip(&other).all(|(a, b)| a != b), "{times:?}");
            assert!(all[..4] != all[4..8], "{times:?}");
        }
    }

    #[test]
    fn ways_up_have_noise_of_their_own_at_each_draw() {
        let mut source = BrownianNoise::new(1);
        let draws = [0, 1].map(|draw| source.between_data([4.0, 0.5], draw, [1, 20_000]));
        let [first, second] = draws.map(|data| data.iter::<f64>().collect::<Vec<_>>());
        let down = noise(&mut source, [0.5, 4.0], 20_000);
        assert!((covariance(&first, &first) - 1.0).abs() < 0.05);
        for other in [&second, &down] {
            assert!(covariance(&first, other).abs() < 0.035);
        }
    }

    /// The format of a seed: these numbers must not change between versions or machines.
    #[test]
    fn the_path_is_pinned() {
        let mut source = BrownianNoise::new(42);
        let found: Vec<f32> = [[0.1, 3.3], [3.3, 3.4], [3.4, 0.1]]
            .into_iter()
            .flat_map(|times| source.between_data(times, 1, [1, 1]).to_vec::<f32>().unwrap())
            .collect();
        assert_eq!(found, [-1.7276993, -0.15727703, -0.7302329]);
    }
}
