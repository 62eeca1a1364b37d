//! Which parameters are hidden matrices.

use burn::module::{Module, ParamId};
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use std::collections::BTreeMap;

/// The paths of the parameters of `module` that are hidden matrices, in its order: those that Muon trains where
/// [`OptimizerConfig::Muon`](crate::OptimizerConfig::Muon) is chosen. The rule looks at paths and shapes alone:
///
/// 1. its name is `weight`, and it has two axes or more with more than one element along the first and along the others;
/// 2. it lies in an element of a list, as the blocks of a transformer are, or in the middle of a U-Net, `mid` or
///    `mid_block`;
/// 3. none of the parts of its path has `norm`, `modulation` or `embed` in its name: they scale and shift, or look up;
/// 4. of a list whose elements are the network's layers themselves, as an MLP's, it is neither in the first nor in the
///    last.
///
/// So embeddings, a network's first and last layer, biases, norms and their modulation are left to AdamW.
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_train::hidden_matrices;
///
/// let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8, 8], ..Default::default() }.init::<Flex>(0, &Default::default());
/// assert_eq!(hidden_matrices(&network), ["net.1.weight"]);
/// ```
pub fn hidden_matrices<B: Backend, M: Module<B>>(module: &M) -> Vec<String> {
    with_ids(module).into_iter().map(|(_, path)| path).collect()
}

/// The ids and paths of the hidden matrices.
pub(crate) fn with_ids<B: Backend, M: Module<B>>(module: &M) -> Vec<(ParamId, String)> {
    let tensors = module.collect(None, None, false);
    let matrices: Vec<(ParamId, String)> = tensors
        .into_iter()
        .filter(|tensor| is_matrix(&tensor.shape))
        .filter_map(|tensor| Some((tensor.tensor_id?, tensor.full_path())))
        .filter(|(_, path)| path.ends_with(".weight"))
        .collect();
    // The last number of each list of layers.
    let mut last = BTreeMap::new();
    for (list, number) in matrices.iter().filter_map(|(_, path)| plain(path)) {
        let last = last.entry(list.to_string()).or_insert(number);
        *last = number.max(*last);
    }
    let is_between = |path: &str| match plain(path) {
        Some((list, number)) => number > 0 && last.get(list).is_some_and(|&last| number < last),
        None => true,
    };
    let is_hidden = |(_, path): &(ParamId, String)| is_inside(path) && is_between(path);
    matrices.into_iter().filter(is_hidden).collect()
}

fn is_matrix(shape: &[usize]) -> bool {
    matches!(shape, [first, rest @ ..] if *first > 1 && rest.iter().product::<usize>() > 1 && !rest.is_empty())
}

/// Whether what is under `path` lies in a list or the middle of a U-Net, and in nothing that scales or looks up.
fn is_inside(path: &str) -> bool {
    let is_list = |part: &str| part.parse::<usize>().is_ok() || part == "mid" || part == "mid_block";
    let is_other = |part: &str| ["norm", "modulation", "embed"].iter().any(|name| part.contains(name));
    path.split('.').any(is_list) && !path.split('.').any(is_other)
}

/// The list and the number of a layer that is an element of the only list in its path.
fn plain(path: &str) -> Option<(&str, usize)> {
    let (list, number) = path.strip_suffix(".weight")?.rsplit_once('.')?;
    let is_only = list.split('.').all(|part| part.parse::<usize>().is_err());
    Some((list, number.parse().ok().filter(|_| is_only)?))
}
