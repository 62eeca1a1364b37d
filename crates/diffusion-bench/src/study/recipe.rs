//! The recipes: a preset, and what is changed of it.

use crate::error::BenchError;
use diffusion::data::identity;
use diffusion::train::Weights;
use diffusion_recipe::{RecipeError, RunConfig};
use serde::Deserialize;

/// The recipes of the study.
const RECIPES: &str = include_str!("../../study.toml");

/// smalldiffusion's side.
pub const PEER: &str = include_str!("../../study.py");

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
    /// Whether samples are drawn by the weights themselves instead of their average.
    #[serde(default)]
    raw: bool,
}

/// A recipe.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it changes, in words.
    pub change: String,
    /// All that its samples depend on, besides seeds and the time of training.
    pub settings: String,
    /// Who trains it.
    pub maker: Maker,
}

/// Who trains a recipe.
#[derive(Clone, Debug)]
pub enum Maker {
    /// This program.
    Here(Box<Here>),
    /// smalldiffusion, by the recipe of this name in its script.
    Peer(String),
}

/// A recipe that this program trains.
#[derive(Clone, Debug)]
pub struct Here {
    /// What it is.
    pub config: RunConfig,
    /// Which of its weights draw the samples.
    pub weights: Weights,
    /// The recipe by whose training it draws: its own name, or that of an earlier one from which it differs only in how
    /// samples are drawn.
    pub trained_as: String,
}

/// Whether two runs train the same weights, if their time is the same.
pub fn is_same_training(one: &RunConfig, other: &RunConfig) -> bool {
    let mut bare = one.clone();
    bare.preset.clone_from(&other.preset);
    bare.classes.clone_from(&other.classes);
    bare.validation.clone_from(&other.validation);
    bare.sampling.clone_from(&other.sampling);
    bare.pictures = other.pictures;
    (bare.checkpoint_every, bare.checkpoint_keep) = (other.checkpoint_every, other.checkpoint_keep);
    (bare.training.steps, bare.training.seed) = (other.training.steps, other.training.seed);
    bare == *other
}

/// All of them, in their order.
pub fn all() -> Result<Vec<Recipe>, BenchError> {
    let study: Study = toml::from_str(RECIPES).map_err(|error| BenchError::Study(error.to_string()))?;
    let mut recipes: Vec<Recipe> = Vec::new();
    for Entry { name, peer, from, preset, set, raw } in study.recipe {
        let unclear =
            || BenchError::Study(format!("{name} must have one of peer, preset and an earlier from"));
        let (origin, mut here) = match (&peer, &from, &preset) {
            (Some(peer), None, None) => {
                let settings =
                    format!("peer = {peer:?}\nscript = {:016x}\n", identity::hash(PEER.as_bytes()));
                let change = "smalldiffusion on PyTorch".into();
                recipes.push(Recipe { name, change, settings, maker: Maker::Peer(peer.clone()) });
                continue;
            }
            (None, Some(from), None) => match recipes.iter().find(|recipe| recipe.name == *from) {
                Some(Recipe { maker: Maker::Here(here), .. }) => (from, here.clone()),
                _ => return Err(unclear()),
            },
            (None, None, Some(preset)) => {
                let config = RunConfig::preset(preset)?;
                (preset, Box::new(Here { config, weights: Weights::Ema, trained_as: String::new() }))
            }
            _ => return Err(unclear()),
        };
        here.config.set_all(set.iter().map(String::as_str))?;
        here.config.preset.clone_from(&name);
        here.config.validate().map_err(RecipeError::from)?;
        let earlier = recipes.iter().find_map(|recipe| match &recipe.maker {
            Maker::Here(earlier) if is_same_training(&here.config, &earlier.config) => {
                Some(&earlier.trained_as)
            }
            _ => None,
        });
        here.trained_as.clone_from(earlier.unwrap_or(&name));
        here.weights = if raw { Weights::Raw } else { Weights::Ema };
        let change = [format!("`{origin}`")].into_iter().chain(set.iter().map(|set| format!("`{set}`")));
        let change = change.chain(raw.then(|| "without average".into())).collect::<Vec<_>>().join(", ");
        let settings = format!("weights = {:?}\n{}", here.weights, here.config.to_toml()?);
        recipes.push(Recipe { name, change, settings, maker: Maker::Here(here) });
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

    /// One that draws in another way is not trained again; what it is, is in its settings all the same.
    #[test]
    fn recipes_share_a_training_where_only_the_drawing_differs() {
        let recipes = all().unwrap();
        let of = |name: &str| recipes.iter().find(|recipe| recipe.name == name).unwrap();
        let trained_as = |name| match &of(name).maker {
            Maker::Here(here) => &here.trained_as[..],
            Maker::Peer(_) => "",
        };
        assert_eq!(["unet-raw", "unet-unipc", "unet-v"].map(trained_as), ["unet", "unet", "unet-v"]);
        assert_eq!(trained_as("unet-guided-10"), "unet-cond");
        // What the study found is what the presets are.
        assert_eq!(
            ["fashion-unet-small", "fashion-unet-cond-small"].map(trained_as),
            ["unet-lr", "unet-cond"]
        );
        assert_ne!(of("unet-raw").settings, of("unet-unipc").settings);
    }
}
