//! What does not fit, under the names of a checkpoint.

use diffusion_weights::{TensorFile, TensorProblem};
use std::collections::BTreeMap;

/// The names of a checkpoint's tensors, and those of a module.
pub(super) struct Names<'a> {
    /// The checkpoint.
    pub(super) of: &'a TensorFile,
    /// The module's name of one of its tensors.
    pub(super) ours: &'a dyn Fn(&str) -> Option<String>,
    /// What a tensor of the module should be called in the checkpoint.
    pub(super) theirs: &'a dyn Fn(&str) -> Option<String>,
}

/// What the name of a packed tensor of OpenCLIP contains, and how many tensors are in it.
const PACKED: (&str, usize) = (".attn.in_proj_", 3);

impl Names<'_> {
    /// The problems, each told of the checkpoint's tensor.
    pub(super) fn all(&self, problems: Vec<TensorProblem>) -> Vec<TensorProblem> {
        let found: BTreeMap<String, &str> =
            self.of.names().filter_map(|name| Some(((self.ours)(name)?, name))).collect();
        let is_nested = self.of.names().any(|name| name.starts_with(NESTED));
        let name = |name: &str| match (found.get(name), (self.theirs)(name)) {
            (Some(found), _) => found.to_string(),
            (None, Some(name)) if is_nested => format!("{NESTED}{name}"),
            (None, Some(name)) => name,
            (None, None) => name.to_string(),
        };
        let mut told = Vec::new();
        for problem in problems {
            let problem = packed(problem.renamed(name));
            if !told.contains(&problem) {
                told.push(problem);
            }
        }
        told
    }
}

/// What names begin with in a checkpoint that holds all tensors below a key.
pub(super) const NESTED: &str = "state_dict.";

/// The problem of a packed tensor that is told of one of those in it.
fn packed(mut problem: TensorProblem) -> TensorProblem {
    let (mark, count) = PACKED;
    if !problem.name().contains(mark) {
        return problem;
    }
    let enlarge = |shape: &mut Vec<usize>| shape.iter_mut().take(1).for_each(|size| *size *= count);
    match &mut problem {
        TensorProblem::Missing { shape, .. } => enlarge(shape),
        TensorProblem::Shape { found, expected, .. } => {
            enlarge(found);
            enlarge(expected);
        }
        _ => {}
    }
    problem
}
