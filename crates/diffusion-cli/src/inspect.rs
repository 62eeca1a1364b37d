//! A look at the data before training, for numbers that no training can learn from.

use crate::config::RunConfig;
use diffusion::data::{DataSummary, Dataset, Label};
use diffusion::prelude::Schedule;

/// How many examples are looked at.
const EXAMPLES: usize = 10_000;

/// Says what the data are like, and warns where they do not suit the run.
pub fn inspect<L: Label, P>(
    data: &dyn Dataset<Label = L>,
    schedule: &dyn Schedule<Path = P>,
    config: &RunConfig,
) where
    P: diffusion::core::Path,
{
    let summary = DataSummary::of(data, EXAMPLES);
    let looked = if summary.read < summary.examples {
        format!(" of {} examples", summary.read)
    } else {
        String::new()
    };
    eprintln!(
        "data{looked}: mean {:.3}, standard deviation {:.3}, from {:.3} to {:.3}",
        summary.mean, summary.standard_deviation, summary.min, summary.max
    );
    for warning in warnings(&summary, schedule.levels(), config.is_flow()) {
        eprintln!("warning: {warning}");
    }
}

/// What is odd about the data, for a schedule of `levels`.
fn warnings(summary: &DataSummary, levels: &[f64], flow: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((example, position)) = summary.first_non_finite {
        warnings.push(format!(
            "{} numbers of the data are not finite, the first in example {example} at its number {position}; batches \
             with one are skipped",
            summary.non_finite
        ));
    }
    let spread = summary.standard_deviation;
    if summary.constant == summary.positions {
        warnings.push("all examples are the same, so there is nothing to learn but one point".to_string());
        return warnings;
    }
    if summary.positions <= FEW && summary.constant > 0 {
        let columns: Vec<String> = summary.first_constant.iter().map(ToString::to_string).collect();
        warnings.push(format!("the numbers {} of all examples are the same", columns.join(", ")));
    }
    let [Some(&low), Some(&high)] = [levels.first(), levels.last()] else { return warnings };
    if flow {
        if !(0.2..=5.0).contains(&spread) {
            warnings.push(format!(
                "the data's standard deviation is {spread:.3}; on the straight path, where noise has 1, between 0.2 and 5 \
                 is learnt well: scale the data"
            ));
        }
        return warnings;
    }
    if high < 3.0 * spread {
        warnings.push(format!(
            "the largest noise level is {high}, and the data's standard deviation {spread:.3}: noise that does not drown \
             the data is no place to start sampling from; raise the largest level to 10 times that, or scale the data"
        ));
    }
    if low > 0.3 * spread {
        warnings.push(format!(
            "the smallest noise level is {low}, and the data's standard deviation {spread:.3}: samples stay blurred; lower \
             the smallest level to a hundredth of that, or scale the data"
        ));
    }
    if high > 1e4 * spread {
        warnings.push(format!(
            "the largest noise level is {high}, and the data's standard deviation {spread:.3}: most of training sees \
             noise alone; lower the largest level, or scale the data"
        ));
    }
    warnings
}

/// Images have constant borders; of a few columns none should be constant.
const FEW: usize = 16;
