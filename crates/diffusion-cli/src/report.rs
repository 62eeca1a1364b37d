//! What is told of a run that is done.

use crate::draw;
use crate::output::try_print;
use diffusion::core::counted;
use diffusion_recipe::{Run, RunFolder, Trained};

/// Says what was done, and where it is.
pub fn report(run: &dyn Run, folder: &RunFolder, trained: &Trained) {
    let losses = &trained.history.losses;
    let last = &losses[losses.len() - losses.len().div_ceil(10)..];
    let finite: Vec<f64> = last.iter().map(|(_, loss)| *loss).filter(|loss| loss.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    let counts = run.counts();
    let without = match counts.skipped {
        0 => String::new(),
        n => format!(", {n} of them skipped"),
    };
    try_print(format_args!(
        "trained {}{without} in {:.1} s; mean loss of the last {}: {mean:.4}",
        counted(counts.steps, "step"),
        trained.seconds,
        last.len()
    ));
    let endings = draw::endings(run.config());
    let samples = folder.output("samples", endings);
    let pictures =
        ["loss", "learning_rate", "val_loss", "val_metrics"].map(|name| folder.output(name, &["png"]));
    let moving = folder.output("training", &["gif"]);
    let drawn = (!folder.pictures_drawn().is_empty()).then(|| folder.pictures());
    let others = ["metrics.jsonl", "checkpoints"].map(|name| folder.file(name));
    let samples = endings.iter().map(|ending| samples.with_extension(ending));
    for path in samples.chain(pictures).chain([moving]).chain(drawn).chain(others) {
        if path.exists() {
            try_print(format_args!("  {}", path.display()));
        }
    }
}
