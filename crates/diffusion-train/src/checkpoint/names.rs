//! What a checkpoint and its files are called.

use crate::ema::config::is_name;

/// The metadata.
pub(crate) const STATE: &str = "state.toml";
/// The weights that the optimizer works on.
pub(super) const RAW: &str = "model.safetensors";
/// Their EMA.
pub(super) const EMA: &str = "ema.safetensors";
/// The optimizer's state.
pub(super) const MOMENTS: [&str; 2] = ["moment_1.safetensors", "moment_2.safetensors"];
/// All files of a checkpoint, but for those of averages with names.
pub(super) const FILES: [&str; 5] = [STATE, RAW, EMA, MOMENTS[0], MOMENTS[1]];

/// The file of the average with this name.
pub(crate) fn file_of(average: &str) -> String {
    format!("ema-{average}.safetensors")
}

/// The name of the average in a file, if it is one.
pub(crate) fn average_of(file: &str) -> Option<&str> {
    file.strip_prefix("ema-")?.strip_suffix(".safetensors").filter(|name| is_name(name))
}

/// The name of the checkpoint of a step.
pub(crate) fn name_of(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step in the name of a checkpoint; others, such as `step-5` or `step-00000005-good`, are no checkpoint's.
pub(crate) fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checkpoint_s_own_name_has_a_step() {
        for step in [0, 5, 99_999_999, 123_456_789] {
            assert_eq!(step_of(&name_of(step)), Some(step));
        }
        for name in ["step-5", "step-000000005", "step-00000005-good", "step-+0000005", "step-", "notes"] {
            assert_eq!(step_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_average_s_file_has_its_name() {
        for name in ["0.05", "wide", "a-b_c.d"] {
            assert_eq!(average_of(&file_of(name)), Some(name));
        }
        for file in [EMA, RAW, "ema-.safetensors", "ema-.a.safetensors", "ema-a", "ema-a b.safetensors"] {
            assert_eq!(average_of(file), None, "{file}");
        }
    }
}
