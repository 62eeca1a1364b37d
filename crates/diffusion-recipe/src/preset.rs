//! The runs that have a name: the files of `presets/`.

use crate::config::RunConfig;
use crate::error::RecipeError;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A run that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it trains on what, in a sentence.
    pub description: &'static str,
    text: &'static str,
}

impl Preset {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        TEXTS.iter().map(|&(name, text)| {
            let first = text.lines().next().unwrap_or_default();
            Self { name, description: first.trim_start_matches(['#', ' ']), text }
        })
    }
}

impl RunConfig {
    /// The run that is called `name`.
    ///
    /// # Errors
    /// If none is.
    pub fn preset(name: &str) -> Result<Self, RecipeError> {
        match Preset::all().find(|preset| preset.name == name) {
            Some(preset) => Self::from_toml(preset.text),
            None => Err(RecipeError::UnknownPreset(name.to_string())),
        }
    }
}
