//! The data that samples are compared with.

use super::examples::{read, read_mirrored};
use super::features::Extractor;
use crate::error::RecipeError;
use burn::tensor::backend::Backend;
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Dataset};
use diffusion::eval::{Features, Gaussian, HALVES, Metric, Moments};
use std::collections::HashSet;
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
    /// What sets of samples are compared with.
    pub sets: Option<Sets>,
    /// Of points, the same for metrics that look for neighbors: among examples of which none is there twice.
    pub apart: Option<Sets>,
    /// All of them, in the order of the data set.
    pub all: Option<Features>,
    /// The mean and the covariance of all.
    pub gaussian: Option<Gaussian>,
    /// Pairs of those of some, and those of others.
    pub gaussians: Vec<[Gaussian; 2]>,
    /// How many examples the first of these are.
    pub floor: usize,
}

/// Sets of examples.
#[derive(Clone, Debug)]
pub(crate) struct Sets {
    /// As many examples as there are samples, or all if they are fewer.
    pub set: Features,
    /// Pairs of sets of data that share no example, of points pairs of draws.
    pub pairs: Vec<[Features; 2]>,
}

impl Sets {
    /// The first of examples in a random order, and as a pair those from `floor` on beside those before.
    fn of(ordered: &Features, count: usize) -> Self {
        let part = |range: Range<usize>| ordered.select(&range.collect::<Vec<_>>());
        let (total, floor) = (ordered.count(), count.min(ordered.count() / 2));
        let pair = (floor > 1).then(|| [part(floor..2 * floor), part(0..floor)]);
        Self { set: part(0..count.min(total)), pairs: pair.into_iter().collect() }
    }
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
            for number in 0..PAIRS as u64 {
                found.gaussians.push([gaussian(&draw(number))?, all.clone()]);
            }
            found.gaussian = Some(all);
        }
        if needs.sets {
            let pairs = (0..PAIRS as u64).map(|pair| [draw(2 * pair + 1), draw(2 * pair + 2)]).collect();
            found.sets = Some(Sets { set: draw(0), pairs });
            found.apart = Some(Sets::of(&distinct(&all), count));
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
                found.sets = Some(Sets::of(&all.select(&order[..total.min(2 * count)]), count));
            }
            if needs.moments && floor > 1 {
                let parts = [&order[..floor], &order[floor..]].map(|part| all.select(part));
                found.gaussians.push([gaussian(&parts[0])?, gaussian(&parts[1])?]);
            }
            if needs.moments {
                found.gaussian = Some(gaussian(&all)?);
            }
            found.all = Some(all);
            return Ok(found);
        }
        if needs.moments {
            let mut moments = [Moments::new(extractor.width()), Moments::new(extractor.width())];
            let (mut done, mut kept) = (0, Vec::new());
            let most = if needs.sets { total.min(2 * count) } else { 0 };
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
                let wanted = features.rows().take(most.saturating_sub(done));
                wanted.for_each(|row| kept.extend_from_slice(row));
                done += piece.len();
            }
            if needs.sets {
                found.sets = Some(Sets::of(&Features::new(kept, extractor.width())?, count));
            }
            let mut all = moments[0].clone();
            all.merge(&moments[1])?;
            found.gaussian = Some(all.gaussian()?);
            if floor > 1 {
                found.gaussians.push([moments[0].gaussian()?, moments[1].gaussian()?]);
            }
        }
        if needs.sets && found.sets.is_none() {
            let ordered = features(data, &order[..total.min(2 * count)], extractor, watch)?;
            found.sets = Some(Sets::of(&ordered, count));
        }
        Ok(found)
    }

    /// The sets that samples are compared with by `metric`.
    pub fn of(&self, metric: Metric) -> Option<&Sets> {
        match metric {
            Metric::PrecisionRecall | Metric::DensityCoverage => self.apart.as_ref().or(self.sets.as_ref()),
            _ => self.sets.as_ref(),
        }
    }
}

/// Examples in a random order, of which none is there twice.
fn distinct(all: &Features) -> Features {
    let mut seen = HashSet::new();
    let bits = |index: usize| all.row(index).iter().map(|x| (x + 0.0).to_bits()).collect::<Vec<_>>();
    let mut order: Vec<usize> = (0..all.count()).filter(|&index| seen.insert(bits(index))).collect();
    Stream::new(0, HALVES, 0, 0).shuffle(&mut order);
    all.select(&order)
}

/// The features of the examples at these places.
pub(crate) fn features<B: Backend>(
    data: &AnyDataset,
    indices: &[usize],
    extractor: &Extractor<B>,
    watch: &Watch,
) -> Result<Features, RecipeError> {
    features_of(|piece| read(data, piece), indices, extractor, watch)
}

/// Those of all examples, and then of their mirror images.
pub(crate) fn with_mirrored<B: Backend>(
    data: &AnyDataset,
    all: &Features,
    extractor: &Extractor<B>,
    watch: &Watch,
) -> Result<Features, RecipeError> {
    let order: Vec<usize> = (0..data.len()).collect();
    let mirrored = features_of(|piece| read_mirrored(data, piece), &order, extractor, watch)?;
    let values = all.rows().chain(mirrored.rows()).flatten().copied().collect();
    Ok(Features::new(values, extractor.width())?)
}

/// The features of the examples that `read` reads at these places.
fn features_of<B: Backend>(
    read: impl Fn(&[usize]) -> Result<Vec<f32>, RecipeError>,
    indices: &[usize],
    extractor: &Extractor<B>,
    watch: &Watch,
) -> Result<Features, RecipeError> {
    let mut values = Vec::with_capacity(indices.len() * extractor.width());
    for (number, piece) in indices.chunks(extractor.at_once()).enumerate() {
        let done = number * extractor.at_once();
        watch.report("extracting features of the data", done as u64, Some(indices.len() as u64))?;
        let features = extractor.features(&read(piece)?)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::features::FeatureKind;
    use super::*;
    use burn::backend::Flex;
    use diffusion::data::Points;

    fn extractor(shape: &[usize]) -> Extractor<Flex> {
        Extractor::new(FeatureKind::Pixels, None, (shape, false), &Default::default()).unwrap()
    }

    /// Of draws with repetitions all neighbors would be as near as can be.
    #[test]
    fn neighbors_of_points_are_looked_for_among_different_ones() {
        let values: Vec<f32> = (0..30).flat_map(|i| [(i % 6) as f32, 0.0]).collect();
        let data = Real::Examples(AnyDataset::unlabeled(Points::new(values, &[2])));
        let needs = Needs { sets: true, ..Needs::default() };
        let real = RealFeatures::new(&data, &extractor(&[2]), needs, 12, &Watch::default()).unwrap();
        let sets = real.of(Metric::DensityCoverage).unwrap();
        assert_eq!(sets.set.count(), 6);
        assert_eq!(sets.pairs[0].each_ref().map(Features::count), [3, 3]);
        let found = diffusion::eval::neighborhoods(&sets.set, &sets.set, 5, &Watch::default()).unwrap();
        assert!(found.density > 0.5, "{found:?}");
        assert_eq!(real.of(Metric::Energy).unwrap().set.count(), 12);
    }

    #[test]
    fn mirror_images_follow_all_examples() {
        let shape = [1, 1, 3];
        let data = AnyDataset::unlabeled(Points::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &shape));
        let (extractor, watch) = (extractor(&shape), Watch::default());
        let all = features(&data, &[0, 1], &extractor, &watch).unwrap();
        let found = with_mirrored(&data, &all, &extractor, &watch).unwrap();
        let rows: Vec<&[f32]> = found.rows().collect();
        assert_eq!(rows, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [3.0, 2.0, 1.0], [6.0, 5.0, 4.0]]);
    }

    /// Features are made once, in pieces, for both.
    #[test]
    fn sets_are_the_same_beside_moments() {
        let shape = [1, 1, 2];
        let values = (0..1_400).map(|i| ((i * 37) % 101) as f32).collect();
        let data = Real::Examples(AnyDataset::unlabeled(Points::new(values, &shape)));
        let sets = |needs: Needs| {
            let found = RealFeatures::new(&data, &extractor(&shape), needs, 200, &Watch::default()).unwrap();
            let Sets { set, pairs } = found.sets.unwrap();
            let [one, other] = &pairs[0];
            [set.rows(), one.rows(), other.rows()].map(|rows| rows.map(<[f32]>::to_vec).collect::<Vec<_>>())
        };
        let alone = sets(Needs { sets: true, ..Needs::default() });
        assert_eq!(alone.each_ref().map(Vec::len), [200; 3]);
        assert_eq!(alone, sets(Needs { sets: true, moments: true, ..Needs::default() }));
    }
}
