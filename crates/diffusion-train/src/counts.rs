//! How far a run is.

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub step: u64,
    pub batches: u64,
    pub examples: u64,
    pub skipped: u64,
    pub skipped_in_a_row: u64,
}
