//! A look at the data before training, for values that no training can learn from.

use diffusion::data::DataSummary;

/// How many examples are looked at.
pub(crate) const EXAMPLES: usize = 10_000;
/// Images have constant borders; of a few columns none should be constant.
const FEW: usize = 16;

/// What is odd about the data, for noise levels `levels` on a path whose largest is `max_sigma`.
pub(crate) fn warnings(summary: &DataSummary, levels: &[f64], max_sigma: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((example, position)) = summary.first_non_finite {
        warnings.push(format!(
            "{} values of the data are not finite, the first in example {example} at its value {position}; batches \
             with one are skipped",
            summary.non_finite
        ));
    }
    if summary.constant == summary.positions {
        warnings.push("all examples are the same, so there is nothing to learn but one point".to_string());
        return warnings;
    }
    if summary.positions <= FEW && summary.constant > 0 {
        let columns: Vec<String> = summary.first_constant.iter().map(ToString::to_string).collect();
        warnings.push(format!("the values {} of all examples are the same", columns.join(", ")));
    }
    warnings.extend(spread(summary.standard_deviation, levels, max_sigma));
    warnings
}

/// What is odd about data of the standard deviation `spread`.
fn spread(spread: f64, levels: &[f64], max_sigma: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    let [Some(&low), Some(&high)] = [levels.first(), levels.last()] else { return warnings };
    if max_sigma.is_finite() {
        if !(0.2..=5.0).contains(&spread) {
            warnings.push(format!(
                "the data's standard deviation is {spread:.3}; on the straight path, where noise has 1, between 0.2 and 5 \
                 is learned well: scale the data"
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
