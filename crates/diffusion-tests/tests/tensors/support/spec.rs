//! What a checkpoint belongs to, where its parts need no more than names.

use diffusion::train::ModelSpec;

/// The specification of a model whose parts are names.
pub fn named(network: &str, prediction: &str, schedule: &str) -> ModelSpec {
    let [network, prediction, schedule] = [network, prediction, schedule].map(str::to_string);
    ModelSpec::new(&network, &prediction, &schedule)
}
