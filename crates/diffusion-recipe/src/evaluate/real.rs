//! The data that samples are compared with.

use super::examples::read;
use super::features::Extractor;
use crate::error::RecipeError;
use burn::tensor::backend::Backend;
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Dataset};
use diffusion::eval::{Features, Gaussian, HALVES, Moments};
use std::ops::Range;

/// Draws of points from their data.
const DRAWS: Purpose = Purpose(43);

/// How many pairs of draws of points give the floor.
const PAIRS: usize = 3;

/// Examples, or what is known of them.
pub(crate) enum Real {
    Examples(AnyDataset),
    Statistics(Box<Gaussian>),
}

/// What the metrics need of the data.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// Mean and covariance.
    pub moments: bool,
    /// Sets of as many examples as there are samples.
    pub sets: bool,
    /// All examples.
    pub all: bool,
}

/// The features of the data.
#[derive(Default)]
pub(crate) struct RealFeatures {
    /// How many examples there are.
    pub examples: usize,
    /// As many examples as there are samples, or all if they are fewer.
    pub set: Option<Features>,
    /// Pairs of sets of data that share no example, of points pairs of draws.
    pub pairs: Vec<[Features; 2]>,
    /// All of them, in the order of the data set.
    pub all: Option<Features>,
    /// The mean and the covariance of all.
    pub gaussian: Option<Gaussian>,
    /// Those of some, and those of others.
    pub gaussians: Option<[Gaussian; 2]>,
    /// How many examples each of the first of a pair has.
    pub floor: usize,
}

impl RealFeatures {
    /// What is needed of `real`, for so many samples. Whose halves are taken depends on no seed of a run, so that figures
    /// of several runs are compared with the same examples.
    pub fn new<B: Backend>(
        real: &Real,
        extractor: &Extractor<B>,
        needs: Needs,
        count: usize,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        match real {
            Real::Statistics(gaussian) => {
                let gaussian = Some(Gaussian::clone(gaussian));
                Ok(Self { gaussian, ..Self::default() })
            }
            Real::Examples(data) if data.shape().len() == 1 => {
                Self::of_points(data, extractor, needs, count, watch)
            }
            Real::Examples(data) => Self::of_examples(data, extractor, needs, count, watch),
        }
    }

    /// Points are all there is of their distribution: what is new is drawn from them, some of it several times.
    fn of_points<B: Backend>(
        data: &AnyDataset,
        extractor: &Extractor<B>,
        needs: Needs,
        count: usize,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        let order: Vec<usize> = (0..data.len()).collect();
        let all = features(data, &order, extractor, watch)?;
        let draw = |number: u64| {
            let mut stream = Stream::new(0, DRAWS, number, 0);
            all.select(&(0..count).map(|_| stream.below(data.len())).collect::<Vec<_>>())
        };
        let mut found = Self { examples: data.len(), floor: count, ..Self::default() };
        if needs.moments {
            let all = gaussian(&all)?;
            found.gaussians = Some([gaussian(&draw(0))?, all.clone()]);
            found.gaussian = Some(all);
        }
        if needs.sets {
            found.pairs = (0..PAIRS as u64).map(|pair| [draw(2 * pair + 1), draw(2 * pair + 2)]).collect();
            found.set = Some(draw(0));
        }
        found.all = needs.all.then_some(all);
        Ok(found)
    }

    fn of_examples<B: Backend>(
        data: &AnyDataset,
        extractor: &Extractor<B>,
        needs: Needs,
        count: usize,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        let total = data.len();
        let mut order: Vec<usize> = (0..total).collect();
        Stream::new(0, HALVES, 0, 0).shuffle(&mut order);
        let floor = count.min(total / 2);
        let mut found = Self { examples: total, floor, ..Self::default() };
        if needs.all {
            let in_order: Vec<usize> = (0..total).collect();
            let all = features(data, &in_order, extractor, watch)?;
            if needs.sets {
                found.take_sets(|part| Ok(all.select(&order[part])), count)?;
            }
            if needs.moments && floor > 1 {
                let parts = [&order[..floor], &order[floor..]].map(|part| all.select(part));
                found.gaussians = Some([gaussian(&parts[0])?, gaussian(&parts[1])?]);
            }
            if needs.moments {
                found.gaussian = Some(gaussian(&all)?);
            }
            found.all = Some(all);
            return Ok(found);
        }
        if needs.moments {
            let mut moments = [Moments::new(extractor.width()), Moments::new(extractor.width())];
            let mut done = 0;
            for piece in order.chunks(extractor.at_once()) {
                watch.report("extracting features of the data", done as u64, Some(total as u64))?;
                let features = extractor.features(&read(data, piece)?)?;
                // A piece may have examples of both parts.
                let first = floor.saturating_sub(done).min(piece.len());
                for (part, range) in moments.iter_mut().zip([0..first, first..piece.len()]) {
                    if !range.is_empty() {
                        part.add(&features.select(&range.collect::<Vec<_>>()))?;
                    }
                }
                done += piece.len();
            }
            let mut all = moments[0].clone();
            all.merge(&moments[1])?;
            found.gaussian = Some(all.gaussian()?);
            if floor > 1 {
                found.gaussians = Some([moments[0].gaussian()?, moments[1].gaussian()?]);
            }
        }
        if needs.sets {
            let of = |part: Range<usize>| features(data, &order[part], extractor, watch);
            found.take_sets(of, count)?;
        }
        Ok(found)
    }

    /// Takes the sets of some parts of the data, in a random order.
    fn take_sets(
        &mut self,
        of: impl Fn(Range<usize>) -> Result<Features, RecipeError>,
        count: usize,
    ) -> Result<(), RecipeError> {
        let (total, floor) = (self.examples, self.floor);
        let set = of(0..count.min(total))?;
        if floor > 1 {
            let first = set.select(&(0..floor).collect::<Vec<_>>());
            self.pairs.push([of(floor..2 * floor)?, first]);
        }
        self.set = Some(set);
        Ok(())
    }
}

/// The features of the examples at these places.
pub(crate) fn features<B: Backend>(
    data: &AnyDataset,
    indices: &[usize],
    extractor: &Extractor<B>,
    watch: &Watch,
) -> Result<Features, RecipeError> {
    let mut values = Vec::with_capacity(indices.len() * extractor.width());
    for (number, piece) in indices.chunks(extractor.at_once()).enumerate() {
        let done = number * extractor.at_once();
        watch.report("extracting features of the data", done as u64, Some(indices.len() as u64))?;
        let features = extractor.features(&read(data, piece)?)?;
        features.rows().for_each(|row| values.extend_from_slice(row));
    }
    Ok(Features::new(values, extractor.width())?)
}

/// The mean and the covariance of a set.
pub(crate) fn gaussian(set: &Features) -> Result<Gaussian, RecipeError> {
    let mut moments = Moments::new(set.dimensions());
    moments.add(set)?;
    Ok(moments.gaussian()?)
}
