//! A tree in the plane whose leaves lie on the unit circle: a toy for class conditions.

use std::f64::consts::TAU;

use diffusion_core::memory::fallibly;
use diffusion_core::watch::Watch;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, MAX_EXAMPLES, ModelInput},
    dataset::{Dataset, check_index},
    error::{DataError, Problem},
    source::check_memory,
};

/// Points along every path from the root, at the origin, to a leaf, on the unit circle; labeled with the leaf.
///
/// A node of level `l` lies at radius `l / depth`, in the mean direction of the leaves below it. Each path is
/// sampled in equal steps of its length, both ends included, so the paths share their points near the root.
/// Equal to smalldiffusion's `TreeDataset` up to the rounding of f32.
#[derive(Clone, Debug)]
pub struct TreeDataset {
    points: Vec<[f32; 2]>,
    samples_per_path: usize,
}

impl TreeDataset {
    /// A tree whose nodes have `branching_factor` children each, with `branching_factor^depth` leaves.
    ///
    /// # Panics
    /// If an argument is zero, or the points do not fit into memory.
    pub fn new(branching_factor: usize, depth: u32, num_samples_per_path: usize) -> Self {
        let config = TreeConfig { branching_factor, depth, num_samples_per_path };
        let tree = config.len(usize::MAX).and_then(|len| Self::build(config, len, &Watch::default()));
        tree.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The tree of `len` points.
    fn build(config: TreeConfig, len: usize, watch: &Watch) -> Result<Self, DataError> {
        let TreeConfig { branching_factor, depth, num_samples_per_path } = config;
        let bytes = len as u128 * size_of::<[f32; 2]>() as u128;
        check_memory(bytes)?;
        let mut points = Vec::new();
        let too_large =
            |_| Problem::TooLarge { found: format!("takes {bytes} bytes in memory"), limit: None };
        fallibly(|| points.try_reserve_exact(len)).map_err(too_large)?;
        for leaf in 0..len / num_samples_per_path {
            watch.check()?;
            let path = path_to(leaf, branching_factor, depth);
            points.extend(along(&path, num_samples_per_path).map(|point| point.map(|x| x as f32)));
        }
        Ok(Self { points, samples_per_path: num_samples_per_path })
    }

    /// The number of leaves; labels lie below it.
    pub fn num_classes(&self) -> usize {
        self.points.len() / self.samples_per_path
    }
}

impl Default for TreeDataset {
    /// smalldiffusion's tree: 64 leaves (branching factor 4, depth 3) and 30 points on each path.
    fn default() -> Self {
        Self::new(4, 3, 30)
    }
}

impl Dataset for TreeDataset {
    type Label = usize;

    fn len(&self) -> usize {
        self.points.len()
    }

    fn shape(&self) -> &[usize] {
        &[2]
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
        check_index(index, self.len());
        into.copy_from_slice(&self.points[index]);
        Ok(index / self.samples_per_path)
    }
}

/// A [`TreeDataset`], as a configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeConfig {
    /// The children of a node.
    pub branching_factor: usize,
    /// The levels below the root, 1 to 64.
    pub depth: u32,
    /// The points along each path from the root to a leaf; 10⁸ at most in all.
    pub num_samples_per_path: usize,
}

impl TreeConfig {
    /// The number of points, if it is from 1 to `max`.
    fn len(&self, max: usize) -> Result<usize, DataError> {
        let Self { branching_factor, depth, num_samples_per_path } = *self;
        let sizes = [
            ("branching_factor", branching_factor),
            ("depth", depth as usize),
            ("num_samples_per_path", num_samples_per_path),
        ];
        if let Some((setting, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(Problem::invalid(setting, "0, expected at least 1").into());
        }
        let leaves = branching_factor.checked_pow(depth);
        let len = leaves.and_then(|leaves| leaves.checked_mul(num_samples_per_path));
        len.filter(|&len| len <= max).ok_or_else(|| {
            // What alone is too much already.
            let setting = match (branching_factor.checked_pow(2), leaves) {
                (Some(square), Some(leaves)) if square <= max && leaves <= max => "num_samples_per_path",
                (Some(square), _) if square <= max => "depth",
                _ => "branching_factor",
            };
            let reason = format!(
                "{branching_factor}^{depth} paths of {num_samples_per_path} points, expected at most {max} points"
            );
            Problem::invalid(setting, reason).into()
        })
    }
}

impl DataKind for TreeConfig {
    fn validate(&self) -> Result<(), DataError> {
        if self.depth > 64 {
            return Err(Problem::invalid("depth", format!("{}, expected 1 to 64", self.depth)).into());
        }
        self.len(MAX_EXAMPLES).map(drop)
    }

    fn open(&self, _: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let tree = TreeDataset::build(*self, self.len(MAX_EXAMPLES)?, watch)?;
        let leaves = tree.num_classes();
        Ok(AnyDataset::labeled(tree, leaves))
    }
}

/// The nodes from the root to `leaf`, `depth + 1` of them.
fn path_to(leaf: usize, branching_factor: usize, depth: u32) -> Vec<[f64; 2]> {
    let leaves = branching_factor.pow(depth) as f64;
    let node = |level| {
        // Below a node of this level lie `group` neighboring leaves, `leaf` among them.
        let group = branching_factor.pow(depth - level);
        let mean_leaf = (leaf / group * group) as f64 + (group - 1) as f64 / 2.0;
        let (sin, cos) = (mean_leaf * TAU / leaves).sin_cos();
        let radius = f64::from(level) / f64::from(depth);
        [radius * cos, radius * sin]
    };
    std::iter::once([0.0; 2]).chain((1..=depth).map(node)).collect()
}

/// `n` points on the line through `nodes`, in equal steps of its length; the start alone if `n` is 1.
fn along(nodes: &[[f64; 2]], n: usize) -> impl Iterator<Item = [f64; 2]> {
    let lengths: Vec<f64> = nodes.windows(2).map(|w| (w[1][0] - w[0][0]).hypot(w[1][1] - w[0][1])).collect();
    let total: f64 = lengths.iter().sum();
    (0..n).map(move |i| {
        let mut distance = i as f64 / (n - 1).max(1) as f64 * total;
        let mut segment = 0;
        while segment + 1 < lengths.len() && distance >= lengths[segment] {
            distance -= lengths[segment];
            segment += 1;
        }
        // Each level lies further out than the one before, so no segment has length 0.
        let t = distance / lengths[segment];
        let (from, to) = (nodes[segment], nodes[segment + 1]);
        [(1.0 - t) * from[0] + t * to[0], (1.0 - t) * from[1] + t * to[1]]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(data: &TreeDataset, index: usize) -> ([f64; 2], usize) {
        let mut into = [0.0; 2];
        let label = data.read(index, &mut into).unwrap();
        (into.map(f64::from), label)
    }

    /// From smalldiffusion 0.5.0:
    /// `[float(v) for v in TreeDataset(branching_factor, depth, samples)[i][0].double()]` and `…[i][1]`.
    #[test]
    fn points_match_smalldiffusion() {
        let default = TreeDataset::default();
        let small = TreeDataset::new(3, 2, 5);
        assert_eq!((default.len(), small.len()), (1920, 45));
        for (data, i, expected, leaf) in [
            (&default, 0, [0.0, 0.0], 0),
            (&default, 1, [0.02858910895884037, 0.025911659002304077], 0),
            (&default, 10, [0.2972017526626587, 0.2085084617137909], 0),
            (&default, 15, [0.481702595949173, 0.1521327644586563], 0),
            (&default, 29, [1.0, 0.0], 0),
            (&default, 30, [0.0, 0.0], 1),
            (&default, 777, [-0.7234852910041809, 0.5849261283874512], 25),
            (&default, 1234, [-0.10373041033744812, -0.09401576966047287], 41),
            (&default, 1919, [0.9951847195625305, -0.0980171412229538], 63),
            (&small, 1, [0.22898392379283905, 0.19214032590389252], 0),
            (&small, 23, [-0.704769492149353, 0.25651511549949646], 4),
            (&small, 44, [0.7660444378852844, -0.6427876353263855], 8),
        ] {
            let ([x, y], label) = point(data, i);
            assert!((x - expected[0]).abs() < 1e-7 && (y - expected[1]).abs() < 1e-7, "{i}: {x}, {y}");
            assert_eq!(label, leaf, "{i}");
        }
    }

    #[test]
    fn every_leaf_lies_on_the_unit_circle_at_its_own_angle() {
        for (branching_factor, depth, samples) in [(4, 3, 30), (2, 5, 7), (5, 1, 2), (1, 3, 4)] {
            let data = TreeDataset::new(branching_factor, depth, samples);
            assert_eq!(data.num_classes(), branching_factor.pow(depth));
            for leaf in 0..data.num_classes() {
                let ([x, y], label) = point(&data, leaf * samples + samples - 1);
                let (sin, cos) = (leaf as f64 * TAU / data.num_classes() as f64).sin_cos();
                assert!((x - cos).abs() < 1e-6 && (y - sin).abs() < 1e-6, "leaf {leaf}: {x}, {y}");
                assert_eq!(label, leaf);
            }
        }
    }

    #[test]
    fn every_class_has_as_many_points() {
        let data = TreeDataset::default();
        let mut count = vec![0; data.num_classes()];
        (0..data.len()).for_each(|i| count[point(&data, i).1] += 1);
        assert_eq!(count, [30; 64]);
    }

    /// Along one straight segment, equal steps of length are equal steps.
    #[test]
    fn a_path_without_branches_is_a_straight_line() {
        let data = TreeDataset::new(1, 4, 9);
        for i in 0..9 {
            let ([x, y], _) = point(&data, i);
            assert!((x - i as f64 / 8.0).abs() < 1e-7 && y == 0.0, "{i}: {x}, {y}");
        }
    }

    #[test]
    #[should_panic(expected = "depth: 0, expected at least 1")]
    fn a_tree_without_branches_panics() {
        TreeDataset::new(4, 0, 30);
    }

    #[test]
    fn a_large_tree_can_be_stopped() {
        let config = TreeConfig { branching_factor: 10, depth: 8, num_samples_per_path: 1 };
        assert!(DataKind::validate(&config).is_ok());
        let watch = Watch::default();
        watch.stop();
        let error = config
            .open(
                &ModelInput { shape: vec![2], num_classes: None, text: None, class_names: Vec::new() },
                &watch,
            )
            .unwrap_err();
        assert!(matches!(error.problem, Problem::Stopped), "{error}");
    }

    #[test]
    #[should_panic(expected = "depth: 4^64 paths of 30 points, expected at most")]
    fn a_tree_beyond_counting_panics() {
        TreeDataset::new(4, 64, 30);
    }
}
