//! What the random numbers of data sets are for.

use diffusion_core::random::Purpose;

/// The order of the examples within an epoch.
pub const SHUFFLE: Purpose = Purpose(7);
/// Which training examples are mirrored.
pub const FLIP: Purpose = Purpose(8);
