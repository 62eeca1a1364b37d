//! The parameters as new leaves of Burn's graph, without which another thread's `backward` may lose their gradients.

use burn::module::{AutodiffModule, ModuleMapper, Param};
use burn::tensor::{Tensor, backend::AutodiffBackend};

/// The same model with the same values, whose parameters no `backward` has seen.
///
/// Every `backward` of Burn 0.21 ends by sweeping all graphs of the process, those of other threads included, and frees
/// what no tensor refers to (its issue 5573). What is being computed from a parameter hangs on that parameter, which the
/// model refers to; but after the first `backward` on it Burn no longer knows the parameter. A second one, of another part
/// of the same batch, then loses whatever another thread's sweep meets between two operations: the gradient is silently
/// missing, or wrong. New leaves cost a few pointers each.
pub(crate) fn fresh<B: AutodiffBackend, M: AutodiffModule<B>>(model: &M) -> M {
    model.clone().map(&mut Fresh)
}

struct Fresh;

impl<B: AutodiffBackend> ModuleMapper<B> for Fresh {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        // What is not trained stays as it is: its graph, if it has one, is not the model's.
        let tensor =
            if tensor.is_require_grad() { Tensor::from_inner(tensor.inner()).require_grad() } else { tensor };
        Param::from_mapped_value(id, tensor, mapper)
    }
}
