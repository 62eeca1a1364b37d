//! A look at the data before training, for values that no training can learn from.

use diffusion::core::counted;
use diffusion::core::invalid::Number;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, DataError, DataSummary, Dataset, TrainingData};
use std::time::{Duration, Instant};

/// How many examples are looked at.
pub(crate) const EXAMPLES: usize = 10_000;
/// How many, where each takes long to read.
pub(crate) const SLOW_EXAMPLES: usize = 1_000;
/// Images have constant borders; of a few columns none should be constant.
const FEW: usize = 16;

/// How long training examples are read in search of values that are not finite. A core reads some 100 000 latents of
/// 4 × 32 × 32 values in a second if their files are in memory already, so ImageNet's fit in.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads all validation examples, and as many training examples as there is patience for; returns how many these were.
/// The data set tells of a value that is not finite, and of a file that cannot be read.
pub(crate) fn read_through(data: &TrainingData, watch: &Watch) -> Result<usize, DataError> {
    if let Some(validation) = &data.validation {
        read_until(validation, "checking validation examples", None, watch)?;
    }
    read_until(&data.training, "checking training examples", Some(Instant::now() + PATIENCE), watch)
}

/// Reads the examples in order until `end`; returns how many.
fn read_until(
    data: &AnyDataset,
    work: &str,
    end: Option<Instant>,
    watch: &Watch,
) -> Result<usize, DataError> {
    let mut example = vec![0.0; data.shape().iter().product()];
    for index in 0..data.len() {
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(index);
        }
        watch.report(work, index as u64, Some(data.len() as u64))?;
        data.read(index, &mut example)?;
    }
    Ok(data.len())
}

/// What is odd about the data, for noise levels `levels` on a path whose largest is `max_sigma`.
pub(crate) fn warnings(summary: &DataSummary, levels: &[f64], max_sigma: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((example, position)) = summary.first_non_finite {
        warnings.push(format!(
            "{} of the data {} not finite, the first in example {example} at its value {position}; batches \
             with one are skipped",
            counted(summary.non_finite, "value"),
            if summary.non_finite == 1 { "is" } else { "are" }
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
    let [spread_is, low_is, high_is] = [spread, low, high].map(Number);
    if max_sigma.is_finite() {
        if !(0.2..=5.0).contains(&spread) {
            warnings.push(format!(
                "the data's standard deviation is {spread_is:.3}; on the straight path, where noise has 1, between 0.2 and 5 \
                 is learned well: scale the data"
            ));
        }
        return warnings;
    }
    if high < 3.0 * spread {
        warnings.push(format!(
            "the largest noise level is {high_is}, and the data's standard deviation {spread_is:.3}: noise that does not drown \
             the data is no place to start sampling from; raise the largest level to 10 times that, or scale the data"
        ));
    }
    if low > 0.3 * spread {
        warnings.push(format!(
            "the smallest noise level is {low_is}, and the data's standard deviation {spread_is:.3}: samples stay blurred; lower \
             the smallest level to a hundredth of that, or scale the data"
        ));
    }
    if high > 1e4 * spread {
        warnings.push(format!(
            "the largest noise level is {high_is}, and the data's standard deviation {spread_is:.3}: most of training sees \
             noise alone; lower the largest level, or scale the data"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion::data::Problem;

    /// `.0` examples, of which the one with the number `.1` has a value that is not finite.
    struct Torn(usize, usize);

    impl Dataset for Torn {
        type Label = ();

        fn len(&self) -> usize {
            self.0
        }

        fn shape(&self) -> &[usize] {
            &[1]
        }

        fn read(&self, index: usize, _: &mut [f32]) -> Result<(), DataError> {
            match index == self.1 {
                true => Err(Problem::NonFinite { index, position: 0, found: f32::NAN }.into()),
                false => Ok(()),
            }
        }
    }

    fn data(training: usize, validation: usize) -> TrainingData {
        let [training, validation] = [(50, training), (20, validation)]
            .map(|(examples, torn)| AnyDataset::unlabeled(Torn(examples, torn)));
        TrainingData {
            all: training.clone(),
            split: None,
            training,
            validation: Some(validation),
            class_names: Vec::new(),
        }
    }

    #[test]
    fn every_example_is_read_before_training() {
        let watch = Watch::default();
        assert_eq!(read_through(&data(50, 20), &watch).unwrap(), 50);
        for (training, validation) in [(0, 20), (49, 20), (50, 0), (50, 19)] {
            let error = read_through(&data(training, validation), &watch).unwrap_err();
            assert!(matches!(error.problem, Problem::NonFinite { .. }), "{error}");
        }
    }

    #[test]
    fn reading_ends_with_patience_or_when_it_is_stopped() {
        let (watch, training) = (Watch::default(), data(50, 20).training);
        assert_eq!(read_until(&training, "reading", Some(Instant::now()), &watch).unwrap(), 0);
        watch.stop();
        let error = read_until(&training, "reading", None, &watch).unwrap_err();
        assert!(matches!(error.problem, Problem::Stopped), "{error}");
    }
}
