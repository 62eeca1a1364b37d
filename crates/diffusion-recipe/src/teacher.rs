//! The trained run that another learns from.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::folder::RunFolder;
use crate::network::SampledNetwork;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use diffusion::core::{AnyCondition, AnyPrediction, Diffusion, Invalid, Parameterization};
use diffusion::train::{ModelSpec, Teacher, Weights, Which};
use std::sync::Arc;

/// The teacher that `config` names, if it names one: its EMA weights in a copy of `model`, whose own do not matter.
pub(crate) fn teacher<B: Backend, N, const D: usize>(
    config: &RunConfig,
    model: &Diffusion<B, N, AnyPrediction>,
) -> Result<Option<Teacher<B, AnyCondition, D>>, RecipeError>
where
    N: SampledNetwork<B, D> + Module<B> + 'static,
{
    let Some(path) = &config.teacher else { return Ok(None) };
    let (run, taught) = RunFolder::open(path)?;
    let (network, own) = (taught.network.without_place(), config.network.without_place());
    Invalid::unless(network == own, "teacher", || {
        format!(
            "{} has another network than this run, expected the same settings of `network`",
            path.display()
        )
    })?;
    Invalid::unless(taught.prediction.path() == config.prediction.path(), "teacher", || {
        let (found, expected) = (taught.prediction.name(), config.prediction.name());
        format!("{} predicts {found}, which is on another path than {expected}", path.display())
    })?;
    let which = config.teacher_checkpoint.map_or(Which::Latest, Which::Step);
    let checkpoint = run.weights(which, Weights::Ema)?.checkpoint;
    let spec = ModelSpec::new(&network, &taught.prediction, &taught.schedule);
    let teacher = Diffusion::new(model.network.clone(), taught.prediction);
    let teacher = checkpoint.load(teacher, &spec, Weights::Ema)?;
    Ok(Some(Arc::new(move |x: Tensor<B, D>, sigmas: &[f64], condition| {
        teacher.velocity(x, sigmas, condition)
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;
    use burn::backend::Flex;
    use std::path::Path;

    fn config(preset: &str, settings: &[&str]) -> RunConfig {
        let mut config = RunConfig::preset(preset).unwrap();
        let few = ["network.hidden_dims=[8]", "batch_size=8", "training.steps=4"];
        config.set_all(few.into_iter().chain(settings.iter().copied())).unwrap();
        config
    }

    fn built(config: &RunConfig) -> Box<dyn Run> {
        config.build::<Flex>(&Default::default()).unwrap()
    }

    /// A run of a few steps in `folder`.
    fn trained(folder: &Path, config: &RunConfig) {
        let mut run = built(config);
        let place = RunFolder::create(folder, config, false).unwrap();
        crate::train::train(&mut *run, &place, &mut ()).unwrap();
    }

    fn losses(run: &mut dyn Run) -> Vec<u64> {
        std::iter::from_fn(|| run.step().unwrap()).map(|step| step.loss.to_bits()).collect()
    }

    #[test]
    fn a_run_learns_from_the_checkpoint_that_it_names_and_goes_on_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let taught_by = |teacher: &Path| {
            let distilled = ["objective.kind=consistency-distillation", "objective.double_every=2"];
            let mut config = config("swissroll-consistency", &distilled);
            (config.teacher, config.teacher_checkpoint) = (Some(teacher.to_path_buf()), Some(4));
            config
        };
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        trained(&first, &config("swissroll", &["validation.every=100"]));
        trained(&second, &config("swissroll", &["validation.every=100", "training.seed=5"]));
        let config = taught_by(&first);
        let whole = losses(&mut *built(&config));
        assert_eq!(whole.len(), 4);
        assert_ne!(losses(&mut *built(&taught_by(&second))), whole);

        let mut part = built(&config);
        let mut again: Vec<u64> = (0..3).map(|_| part.step().unwrap().unwrap().loss.to_bits()).collect();
        let checkpoint = part.save(&folder.path().join("part"), None).unwrap();
        let mut rest = built(&config);
        rest.resume(&checkpoint).unwrap();
        again.extend(losses(&mut *rest));
        assert_eq!(again, whole);
    }

    #[test]
    fn a_teacher_that_cannot_be_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let setting = |preset: &str, settings: &[&str]| {
            let place = folder.path().join(format!("{preset}{}", settings.len()));
            trained(&place, &config(preset, settings));
            let mut config = config("swissroll-consistency", &["objective.kind=consistency-distillation"]);
            config.teacher = Some(place);
            match built(&config).step() {
                Err(RecipeError::Invalid(invalid)) => invalid.setting,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(setting("swissroll", &["network.hidden_dims=[9]", "validation.every=100"]), "teacher");
        assert_eq!(setting("swissroll-flow", &[]), "teacher");
    }
}
