//! What a run asks of a network's settings.

use diffusion::core::Invalid;

/// What a run asks of a network's settings.
pub(crate) trait NetworkSettings {
    /// The labels that the network is conditioned on.
    fn classes(&self) -> Option<usize>;

    /// The number of tokens of a text that the network is told, and the values of each.
    fn text(&self) -> Option<[usize; 2]> {
        None
    }

    /// The probability with which training forgets a condition, where the network has one and that is known, behind the
    /// path of its setting.
    fn dropout(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// Whether it is given its own estimate of the data.
    fn self_condition(&self) -> bool {
        false
    }

    /// Whether it can be asked for mean velocities.
    fn mean_velocity(&self) -> bool {
        false
    }

    /// Whether it has learned before the run to do without a condition.
    fn can_do_without(&self) -> bool {
        false
    }

    /// The shape of one example.
    fn input_shape(&self) -> Vec<usize>;

    /// How many values the network and its layers have.
    fn size(&self) -> NetworkSize;

    /// The settings on which most depends how many parameters there are, and how large attention is.
    fn sizes(&self) -> [&'static str; 2];

    /// Checks every setting's range.
    fn validate(&self) -> Result<(), Invalid>;
}

/// How many values a network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkSize {
    /// Its parameters.
    pub params: u128,
    /// The largest of its layers' outputs for one example.
    pub layer: u128,
    /// The table of one attention head, from each position to each.
    pub attention: u128,
}
