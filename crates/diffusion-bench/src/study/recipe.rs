//! The recipes: a preset, and what is changed of it.

use crate::error::BenchError;
use diffusion_recipe::{RecipeError, RunConfig};
use serde::Deserialize;

/// The recipes of the study.
const RECIPES: &str = include_str!("../../study.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Study {
    recipe: Vec<Entry>,
}

/// A recipe as `study.toml` has it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// What it is called in smalldiffusion's script, where that trains it.
    peer: Option<String>,
    /// Another recipe that it begins with.
    from: Option<String>,
    /// The preset, where it begins with one.
    preset: Option<String>,
    /// What is changed, as `--set` takes it.
    #[serde(default)]
    set: Vec<String>,
}

/// A recipe.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it changes, in words.
    pub change: String,
    /// Who trains it.
    pub maker: Maker,
}

/// Who trains a recipe.
#[derive(Clone, Debug)]
pub enum Maker {
    /// This program.
    Here(Box<RunConfig>),
    /// smalldiffusion, by the recipe of this name in its script.
    Peer(String),
}

/// All of them, in their order.
pub fn all() -> Result<Vec<Recipe>, BenchError> {
    let study: Study = toml::from_str(RECIPES).map_err(|error| BenchError::Study(error.to_string()))?;
    let mut recipes: Vec<Recipe> = Vec::new();
    for Entry { name, peer, from, preset, set } in study.recipe {
        let unclear =
            || BenchError::Study(format!("{name} must have one of peer, preset and an earlier from"));
        let (origin, mut config) = match (&peer, &from, &preset) {
            (Some(peer), None, None) => {
                let (maker, change) = (Maker::Peer(peer.clone()), "smalldiffusion on PyTorch".into());
                recipes.push(Recipe { name, change, maker });
                continue;
            }
            (None, Some(from), None) => match recipes.iter().find(|recipe| recipe.name == *from) {
                Some(Recipe { maker: Maker::Here(config), .. }) => (from, config.clone()),
                _ => return Err(unclear()),
            },
            (None, None, Some(preset)) => (preset, Box::new(RunConfig::preset(preset)?)),
            _ => return Err(unclear()),
        };
        config.set_all(set.iter().map(String::as_str))?;
        config.preset.clone_from(&name);
        config.validate().map_err(RecipeError::from)?;
        let change = [format!("`{origin}`")].into_iter().chain(set.iter().map(|set| format!("`{set}`")));
        let change = change.collect::<Vec<_>>().join(", ");
        recipes.push(Recipe { name, change, maker: Maker::Here(config) });
    }
    Ok(recipes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_recipe_can_be_trained_and_has_a_name_of_its_own() {
        let recipes = all().unwrap();
        let names: BTreeSet<&str> = recipes.iter().map(|recipe| recipe.name.as_str()).collect();
        assert_eq!(names.len(), recipes.len());
        assert!(recipes.iter().any(|recipe| matches!(recipe.maker, Maker::Peer(_))));
    }
}
