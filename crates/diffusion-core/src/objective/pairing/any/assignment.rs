//! The best of all pairings.

use crate::invalid::Invalid;
use crate::objective::{Pairing, Products};
use crate::random::Stream;
use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;
use serde::{Deserialize, Serialize};

/// The pairs of the least distances in sum, exactly (Tong et al. 2024, arXiv:2302.00482, §3.2). The time grows with the third
/// power of the batch: take it for some hundred examples, and [`Sinkhorn`](crate::objective::Sinkhorn) beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {}

/// Products become integers of up to so many: their rounding is that of f32 in a sum of many, and their sums have room.
const LARGEST: f64 = (1u64 << 40) as f64;

impl Assignment {
    /// Whether there is such a pairing; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Pairing for Assignment {
    fn pair(&self, products: &Products, _stream: &mut Stream) -> Vec<usize> {
        let (n, largest) = (products.examples(), products.largest());
        if n < 2 || !(largest > 0.0 && largest.is_finite()) {
            return (0..n).collect();
        }
        let scale = LARGEST / largest;
        let weights = Matrix::from_fn(n, n, |(i, j)| (products.at(i, j) * scale).round() as i64);
        kuhn_munkres(&weights).1
    }
}
