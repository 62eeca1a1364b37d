//! Grids of a table of levels: which timesteps, what lies between them, where they end, and what a run begins with.

use diffusion_core::invalid::Invalid;
use diffusion_core::schedule::{Sigmas, TimestepSpacing};
use diffusion_core::{AnyPath, VarianceExploding};

/// Which timesteps of N a run of S steps visits (Lin et al. 2023, arXiv:2305.08891, Table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// `offset` + ⌊N/S⌋·(S − 1, …, 1, 0).
    Leading {
        /// What is added to each.
        offset: usize,
    },
    /// round(N − i·N/S) − 1.
    Trailing,
    /// From N − 1 to 0 in equal parts, rounded.
    Linspace,
    /// From N − 1 to 0 in equal parts, fractions too: between two timesteps σ is linear.
    Broken,
}

/// What lies between the first and the last level of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// The levels of the timesteps.
    Levels,
    /// Evenly spaced in σ^(1/7) (Karras et al. 2022, arXiv:2206.00364, eq. 5).
    Karras,
    /// Evenly spaced in ln σ.
    Exponential,
}

/// Where a grid ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At 0, where no noise is left.
    Zero,
    /// At the smallest level.
    Lowest,
}

/// What unit noise is multiplied by where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// σ: there are no data in it.
    Sigma,
    /// √(1+σ²): the variance that noisy data of unit variance have.
    Preserving,
}

impl Start {
    /// The factor at the first noise level.
    pub fn factor(self, sigma: f64) -> f64 {
        match self {
            Self::Sigma => sigma,
            Self::Preserving => sigma.hypot(1.0),
        }
    }
}

/// How noise levels are chosen for a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Which timesteps.
    pub spacing: Spacing,
    /// What lies between the first and the last of them.
    pub curve: Curve,
    /// What comes after them.
    pub end: End,
}

impl Spacing {
    /// The timesteps of `steps` steps among `n`, decreasing; those of [`Broken`](Self::Broken) are no whole numbers.
    ///
    /// # Errors
    /// Unless `steps` is from 1 to `n`.
    pub fn timesteps(self, n: usize, steps: usize) -> Result<Vec<f64>, Invalid> {
        Invalid::unless_positive("steps", steps, n)?;
        let last = n - 1;
        let even = |i: usize| match steps {
            1 => 0.0,
            _ => last as f64 * ((steps - 1 - i) as f64 / (steps - 1) as f64),
        };
        let of = |spacing: TimestepSpacing| spacing.timesteps(n, steps).into_iter();
        Ok(match self {
            Self::Leading { offset } => of(TimestepSpacing::Leading)
                .map(|timestep| offset.saturating_add(timestep).min(last) as f64)
                .collect(),
            Self::Trailing => of(TimestepSpacing::Trailing).map(|timestep| timestep as f64).collect(),
            // Of one step, theirs begins at the end.
            Self::Linspace if steps == 1 => vec![0.0],
            Self::Linspace => of(TimestepSpacing::Linspace).map(|timestep| timestep as f64).collect(),
            Self::Broken => (0..steps).map(even).collect(),
        })
    }
}

/// The level at a timestep, linear in between.
pub(super) fn level_at(levels: &[f64], timestep: f64) -> f64 {
    let below = (timestep as usize).min(levels.len() - 1);
    let above = (below + 1).min(levels.len() - 1);
    let part = timestep - below as f64;
    if part == 0.0 { levels[below] } else { levels[below] + part * (levels[above] - levels[below]) }
}

/// The grid through these levels, which decrease, on `curve` and to `end`, of which `lowest` is the smallest level.
pub(super) fn through(visited: Vec<f64>, curve: Curve, end: End, lowest: f64) -> Sigmas<AnyPath> {
    let (max, min, steps) = (visited[0], visited[visited.len() - 1], visited.len());
    let curved = |grid: Sigmas<VarianceExploding>| grid[..steps].to_vec();
    let mut levels = match curve {
        Curve::Levels => visited,
        Curve::Karras => curved(Sigmas::karras(steps, min, max, 7.0)),
        Curve::Exponential => curved(Sigmas::exponential(steps, min, max)),
    };
    levels.push(match end {
        End::Zero => 0.0,
        End::Lowest => lowest,
    });
    Sigmas::on(AnyPath::VarianceExploding, levels)
}
