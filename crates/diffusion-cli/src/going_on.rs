//! Going on with a run: as it was, or otherwise where that is asked for.

use crate::error::CliError;
use crate::output::log;
use diffusion::train::Checkpoint;
use diffusion_recipe::{Change, RecipeError, Run, RunFolder, RunRecord};

/// How a run is gone on with.
pub struct GoingOn {
    pub folder: RunFolder,
    /// Whether the command line changes the configuration.
    pub is_changed: bool,
    /// The settings that the command line names, by their paths.
    pub asked: Vec<String>,
    /// Whether every other change is accepted too.
    pub accept: bool,
    /// Whether the checkpoint was chosen, so that what came after it is given up.
    pub goes_back: bool,
}

impl GoingOn {
    /// Says what is otherwise than it was at `checkpoint`, from which `run` goes on, refuses what was not asked for, and
    /// brings the run's folder up to that.
    pub fn begin(&self, run: &mut dyn Run, checkpoint: Option<&Checkpoint>) -> Result<(), CliError> {
        let mut is_changed = self.is_changed;
        if let Some(checkpoint) = checkpoint {
            let step = checkpoint.state().step;
            let (changes, others) = self.changes(run, checkpoint)?;
            // Of another run, too, steps after the checkpoint are no longer its own.
            if (self.goes_back || !changes.is_empty())
                && let Some(aside) = self.folder.abandon_after(step)?
            {
                log(format_args!("what came after step {step} is in {} now", aside.display()));
            }
            if !changes.is_empty() {
                is_changed = true;
                log(format_args!("warning: after step {step} this is another run: {}", list(&changes)));
            }
            // From now on it is this one; or else the next resume would ask or say it again.
            let save = || run.save(&self.folder.checkpoints(), checkpoint.state().validation);
            if !changes.is_empty() {
                save()?;
            } else if !others.is_empty() {
                // To hear a note again is better than to end here, on a full disk.
                let _ = save();
            }
        }
        if is_changed {
            self.folder.write_config(run.config())?;
        }
        Ok(())
    }

    /// What is otherwise than it was: what the steps that follow depend on, and everything else, which is only said.
    fn changes(
        &self,
        run: &mut dyn Run,
        checkpoint: &Checkpoint,
    ) -> Result<(Vec<Change>, Vec<Change>), CliError> {
        let Some(before) = RunRecord::of(checkpoint) else {
            log(format_args!(
                "note: {} is of a version that kept no record of settings and data: neither is compared, and which \
                 examples are for validation is chosen anew",
                checkpoint.path().display()
            ));
            return Ok((Vec::new(), Vec::new()));
        };
        let changes = run.record()?.changes_since(&before);
        let (decisive, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.decides);
        let unasked: Vec<Change> = decisive.iter().filter(|change| !self.is_asked(change)).cloned().collect();
        if !unasked.is_empty() && !self.accept {
            let run = self.folder.path().to_path_buf();
            return Err(RecipeError::Changed { run, changes: unasked }.into());
        }
        let edited: Vec<Change> = others.iter().filter(|change| !self.is_asked(change)).cloned().collect();
        if !edited.is_empty() {
            let path = self.folder.file("config.toml");
            log(format_args!("note: {} was changed after the checkpoint: {}", path.display(), list(&edited)));
        }
        Ok((decisive, others))
    }

    /// Whether the command line names the setting, or a table that it is in, or the kind of one, which brings other
    /// settings.
    fn is_asked(&self, change: &Change) -> bool {
        let below = |key: &String| change.path.strip_prefix(key.strip_suffix(".kind").unwrap_or(key));
        self.asked.iter().filter_map(below).any(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
