//! What can be wrong with a folder of a pretrained model.

use diffusion_weights::WeightsError;
use std::io;
use std::path::PathBuf;

/// Why a pretrained model cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum LatentError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of settings is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// A folder has not the part that is needed.
    #[error("{} has no {part}; it has {}", folder.display(), listed(found))]
    NoPart {
        /// The folder.
        folder: PathBuf,
        /// What was looked for: the name of a folder, and the classes that it may hold.
        part: String,
        /// What there is.
        found: Vec<String>,
    },
    /// A setting is known, and its value is not supported.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Setting {
        /// The file of settings.
        path: PathBuf,
        /// The setting.
        key: String,
        /// Its value, as JSON.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// A checkpoint in one file may be of a model that predicts noise, or of one that predicts v.
    #[error("{} is a Stable Diffusion 2, and does not say whether it predicts epsilon or v_prediction", path.display())]
    NoPrediction {
        /// The file.
        path: PathBuf,
    },
    /// There is no file of weights.
    #[error("{} has no weights; looked for {}", folder.display(), tried.join(", "))]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// Names of files.
        tried: Vec<String>,
    },
    /// The tensors in a file of LoRA are not those of the network, or of another kind.
    #[error("{} {}: {}", path.display(), if *of_another { "was made for another model" } else { "does not fit" }, first(problems))]
    Lora {
        /// The file.
        path: PathBuf,
        /// Whether most of it does not fit, or a part that the model has not is changed.
        of_another: bool,
        /// Everything that does not fit; the message lists the first few.
        problems: Vec<LoraProblem>,
    },
    /// Nothing in a file is of LoRA.
    #[error("{} has weights of a network, no LoRA: {tensors} tensors, e.g. `{example}`", path.display())]
    NoLora {
        /// The file.
        path: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// The name of one.
        example: String,
    },
    /// The weights cannot be read, or are not those of the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// A tensor in a file of LoRA that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoraProblem {
    /// It is of another kind of adapter.
    #[error("tensor `{name}` is of {kind}, expected LoRA")]
    Kind {
        /// Its name.
        name: String,
        /// What adapters with such tensors are called.
        kind: &'static str,
    },
    /// Its name is not one that tensors of LoRA have.
    #[error("tensor `{name}` has no name of LoRA's")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The network has no layer that it belongs to.
    #[error("tensor `{name}` belongs to no layer of the network")]
    NoPlace {
        /// Its name.
        name: String,
    },
    /// The other one of a pair is missing.
    #[error("tensor `{name}` is one of a pair, of which the other is missing")]
    Alone {
        /// Its name.
        name: String,
    },
    /// Two tensors are the same one of a layer's.
    #[error("tensor `{name}` is a second one for the same place")]
    Twice {
        /// Its name.
        name: String,
    },
    /// Its shape is not that of its layer, or not that of the other one of the pair.
    #[error("tensor `{name}` has shape {found:?}, expected {expected}")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// Its elements are not floating-point numbers, or not finite.
    #[error("tensor `{name}` has not finite floating-point values")]
    Values {
        /// Its name.
        name: String,
    },
}

/// How many problems a message lists before it counts the rest.
const LISTED: usize = 5;

/// The first few problems.
fn first(problems: &[LoraProblem]) -> String {
    let shown: Vec<String> = problems.iter().take(LISTED).map(LoraProblem::to_string).collect();
    match problems.len().saturating_sub(LISTED) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing that is known".to_string() } else { names.join(", ") }
}
