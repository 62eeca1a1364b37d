//! Validation losses and classes as text.

use diffusion_recipe::{Losses, ValidationLosses};

/// One line: means and the gap between them.
pub fn sentence(losses: &ValidationLosses) -> String {
    let mut text = format!("loss of the EMA weights: {}", figure(&losses.training));
    if let Some(validation) = &losses.validation {
        let gap = 100.0 * (validation.mean / losses.training.mean - 1.0);
        let figure = figure(validation);
        text = format!("{text} on training examples, {figure} on validation examples, gap {gap:+.1} %");
    }
    if let Some(optimal) = &losses.optimal {
        text += &format!("; the optimal denoiser's is {:.4}", optimal.mean);
    }
    for (name, value) in &losses.metrics {
        text += &format!("; {name} {value:.5}");
    }
    text
}

/// A row for each bin of noise levels.
pub fn rows(losses: &ValidationLosses) -> String {
    let mut text = format!("{:>20}  {:>9}", "noise level σ", "training");
    let columns = [("validation", &losses.validation), ("optimal", &losses.optimal)];
    for (name, column) in columns {
        if column.is_some() {
            text += &format!("  {name:>10}");
        }
    }
    if losses.validation.is_some() {
        text += &format!("  {:>8}", "gap");
    }
    for bin in 0..losses.sigma_min.len() {
        let range = format!("{:.4} to {:.4}", losses.sigma_min[bin], losses.sigma_max[bin]);
        let training = losses.training.bins[bin];
        text += &format!("\n{range:>20}  {training:>9.5}");
        for column in columns.into_iter().filter_map(|(_, column)| column.as_ref()) {
            text += &format!("  {:>10.5}", column.bins[bin]);
        }
        if let Some(validation) = &losses.validation {
            text += &format!("  {:>6.1} %", 100.0 * (validation.bins[bin] / training - 1.0));
        }
    }
    text
}

fn figure(losses: &Losses) -> String {
    format!("{:.4} ± {:.4}", losses.mean, losses.error)
}

/// How many classes are named of many.
const NAMED: usize = 24;

/// The classes with their numbers: `0 cat, 1 dog`; of many the first ones and the last.
pub fn classes(names: &[String]) -> String {
    numbered(names.iter().enumerate())
}

/// The same of some of the classes, in this order.
pub fn numbered<'a>(classes: impl IntoIterator<Item = (usize, &'a String)>) -> String {
    let numbered = |(number, name): (usize, &String)| {
        let name: String =
            name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        format!("{number} {name}")
    };
    let mut words: Vec<String> = classes.into_iter().map(numbered).collect();
    if words.len() > NAMED {
        words.splice(NAMED - 1..words.len() - 1, ["…".to_string()]);
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_are_shortened() {
        let names = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>();
        assert_eq!(classes(&names(2)), "0 c0, 1 c1");
        assert!(classes(&names(24)).ends_with(", 22 c22, 23 c23"));
        assert!(classes(&names(1000)).ends_with(", 22 c22, …, 999 c999"));
    }
}
