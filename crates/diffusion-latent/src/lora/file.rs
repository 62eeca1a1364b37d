//! A file of LoRA.

use super::merge::{Matrices, Merge, Reading, Source};
use super::name::{Found, Layer, LoraPart, Piece, flattened};
use super::settings::Scale;
use crate::error::{LatentError, LoraProblem};
use crate::folder::names;
use crate::original;
use crate::unet::UNet2DConditionModel;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::TensorFile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file of low-rank changes, of one network or of several.
///
/// The names may be those of kohya's scripts, of PEFT, and of diffusers before it had PEFT.
#[derive(Debug)]
pub struct LoraFile {
    file: TensorFile,
    scale: Scale,
    pairs: BTreeMap<Layer, Pair>,
}

/// The names of a layer's tensors in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub down: String,
    pub up: String,
    alpha: String,
}

impl Pair {
    fn place(&mut self, piece: Piece) -> &mut String {
        match piece {
            Piece::Down => &mut self.down,
            Piece::Up => &mut self.up,
            Piece::Alpha => &mut self.alpha,
        }
    }

    /// The names of what there is.
    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.down, &self.up, &self.alpha].into_iter().filter(|name| !name.is_empty())
    }
}

impl LoraFile {
    /// Opens a file, of safetensors or of PyTorch. Of PEFT's own files, α stands in `adapter_config.json` beside them.
    ///
    /// # Errors
    /// If it cannot be read, has nothing of LoRA, or has other tensors than LoRA's: all of them in one error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LatentError> {
        let file = TensorFile::open(path)?;
        let (mut pairs, mut problems) = (BTreeMap::<Layer, Pair>::new(), Vec::new());
        for name in file.names() {
            let name = name.to_string();
            match Found::by_name(&name) {
                Found::Piece(layer, piece) => {
                    let place = pairs.entry(layer).or_default().place(piece);
                    match place.is_empty() {
                        true => *place = name,
                        false => problems.push(LoraProblem::Twice { name }),
                    }
                }
                Found::Other(kind) => problems.push(LoraProblem::Kind { name, kind }),
                Found::Unknown => problems.push(LoraProblem::Unknown { name }),
            }
        }
        let is_unknown = |problem: &LoraProblem| matches!(problem, LoraProblem::Unknown { .. });
        if pairs.is_empty() && problems.iter().all(is_unknown) {
            return Err(LatentError::NoLora {
                path: file.path().to_path_buf(),
                tensors: problems.len(),
                example: file.names().next().unwrap_or_default().to_string(),
            });
        }
        for pair in pairs.values().filter(|pair| pair.down.is_empty() || pair.up.is_empty()) {
            problems.extend(pair.all().map(|name| LoraProblem::Alone { name: name.clone() }));
        }
        let floats = |name: &&str| !file.dtype(name).is_some_and(diffusion_weights::Dtype::is_float);
        problems.extend(file.names().filter(floats).map(|name| LoraProblem::Values { name: name.into() }));
        if !problems.is_empty() {
            return Err(LatentError::Lora { path: file.path().to_path_buf(), of_another: false, problems });
        }
        let scale = Scale::beside(file.path())?;
        Ok(Self { file, scale, pairs })
    }

    /// The parts of a pipeline that the file changes; [`apply`](Self::apply) it to each of them. There are none if the file
    /// does not say it: then it is of the network that it is applied to.
    pub fn parts(&self) -> Vec<LoraPart> {
        let mut parts: Vec<_> = self.pairs.keys().filter_map(|layer| layer.part).collect();
        parts.dedup();
        parts
    }

    /// Refuses changes of other parts than these.
    ///
    /// # Errors
    /// Has all tensors of other parts.
    pub(crate) fn only(&self, parts: &[LoraPart]) -> Result<(), LatentError> {
        let is_other = |layer: &Layer| layer.part.is_some_and(|part| !parts.contains(&part));
        let others = self.pairs.iter().filter(|(layer, _)| is_other(layer)).flat_map(|(_, pair)| pair.all());
        let problems: Vec<_> = others.map(|name| LoraProblem::NoPlace { name: name.clone() }).collect();
        match problems.is_empty() {
            true => Ok(()),
            false => {
                Err(LatentError::Lora { path: self.file.path().to_path_buf(), of_another: true, problems })
            }
        }
    }

    /// The network with `weight` times the changes of the file in its weights; `weight` −1 takes them out again.
    ///
    /// # Errors
    /// If a tensor for this part has no place in the network, or another shape, or values that are not finite: all of them
    /// in one error.
    pub fn apply<B: Backend, M: Module<B>>(
        &self,
        part: LoraPart,
        module: M,
        weight: f64,
    ) -> Result<M, LatentError> {
        self.apply_named(part, module, weight, &|_| None)
    }

    /// As [`apply`](Self::apply), to a U-Net, whose layers may have the names of one-file checkpoints, as kohya's scripts
    /// have them for SDXL.
    ///
    /// # Errors
    /// As there.
    pub fn apply_to_unet<B: Backend>(
        &self,
        unet: UNet2DConditionModel<B>,
        weight: f64,
    ) -> Result<UNet2DConditionModel<B>, LatentError> {
        let config = unet.config.clone();
        self.apply_named(LoraPart::Unet, unet, weight, &|name| original::unet_name(&config, name))
    }

    fn apply_named<B: Backend, M: Module<B>>(
        &self,
        part: LoraPart,
        module: M,
        weight: f64,
        other_name: &dyn Fn(&str) -> Option<String>,
    ) -> Result<M, LatentError> {
        let of_part = |layer: &Layer| layer.part.is_none_or(|found| found == part);
        let pairs: BTreeMap<_, _> = self
            .pairs
            .iter()
            .filter(|(layer, _)| of_part(layer))
            .map(|(layer, pair)| (layer.name.as_str(), pair))
            .collect();
        let start = format!("{}.", part.folder());
        let key = |name: &str| {
            let name = name.strip_prefix(&start).unwrap_or(name);
            let other = || other_name(&format!("{name}.weight"))?.strip_suffix(".weight").map(flattened);
            let own = flattened(name);
            if pairs.contains_key(own.as_str()) { Some(own) } else { other() }
        };
        let source = FileSource { lora: self, pairs: &pairs, key: &key, weight };
        let names = names();
        let mut merge = Merge::new(&names, source);
        let module = module.map(&mut merge);
        let (found, mut problems) = merge.finish()?;
        for (name, pair) in &pairs {
            if !found.contains(*name) {
                problems.extend(pair.all().map(|name| LoraProblem::NoPlace { name: name.clone() }));
            }
        }
        match problems.is_empty() {
            true => Ok(module),
            false => {
                let of_another = is_of_another(&problems, &pairs);
                Err(LatentError::Lora { path: self.file.path().to_path_buf(), of_another, problems })
            }
        }
    }

    /// What the product of a pair is multiplied by.
    fn scale(&self, pair: &Pair, rank: usize) -> Result<f64, Reading> {
        if pair.alpha.is_empty() {
            return Ok(self.scale.of_rank(rank));
        }
        let shape = self.file.shape(&pair.alpha).unwrap_or_default();
        if shape.iter().product::<usize>() != 1 {
            return Err(shape_problem(&pair.alpha, shape, "one number".into()));
        }
        Ok(f64::from(self.read(&pair.alpha)?[0]) / rank as f64)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Reading> {
        let values = self.file.read(name).map_err(|error| Reading::Failure(error.into()))?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Reading::Problem(LoraProblem::Values { name: name.to_string() })),
        }
    }

    fn shape(&self, name: &str) -> &[usize] {
        self.file.shape(name).unwrap_or_default()
    }
}

/// Whether more than half of several pairs have no place in a network, or another shape.
fn is_of_another(problems: &[LoraProblem], pairs: &BTreeMap<&str, &Pair>) -> bool {
    let misfits: BTreeSet<&str> = problems
        .iter()
        .filter_map(|problem| match problem {
            LoraProblem::NoPlace { name } | LoraProblem::Shape { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let is_misfit = |pair: &&&Pair| pair.all().any(|name| misfits.contains(name.as_str()));
    pairs.len() > 1 && 2 * pairs.values().filter(is_misfit).count() > pairs.len()
}

fn shape_problem(name: &str, found: &[usize], expected: String) -> Reading {
    Reading::Problem(LoraProblem::Shape { name: name.to_string(), found: found.to_vec(), expected })
}

/// The shape without ones behind the first two axes: a matrix and a kernel of one pixel are the same.
fn trimmed(shape: &[usize]) -> &[usize] {
    let kept = shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
    &shape[..kept.max(2).min(shape.len())]
}

/// The pairs of a file for one network.
pub(super) struct FileSource<'a> {
    lora: &'a LoraFile,
    pairs: &'a BTreeMap<&'a str, &'a Pair>,
    key: &'a dyn Fn(&str) -> Option<String>,
    weight: f64,
}

impl Source for FileSource<'_> {
    fn key(&self, layer: &str) -> Option<String> {
        (self.key)(layer).filter(|key| self.pairs.contains_key(key.as_str()))
    }

    fn read(&self, key: &str, shape: &[usize]) -> Result<Matrices, Reading> {
        let (lora, pair) = (self.lora, self.pairs[key]);
        let (down, up) = (lora.shape(&pair.down), lora.shape(&pair.up));
        let rank = down.first().copied().unwrap_or_default();
        let expected = [&[rank][..], &shape[1..]].concat();
        if rank == 0 || down.len() < 2 || trimmed(down) != trimmed(&expected) {
            let expected =
                format!("[rank, {}]", shape[1..].iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
            return Err(shape_problem(&pair.down, down, expected));
        }
        if trimmed(up) != [shape[0], rank] {
            return Err(shape_problem(&pair.up, up, format!("[{}, {rank}]", shape[0])));
        }
        let scale = (self.weight * lora.scale(pair, rank)?) as f32;
        let inputs = shape[1..].iter().product();
        let mut down = lora.read(&pair.down)?;
        down.iter_mut().for_each(|value| *value *= scale);
        Ok([(down, [rank, inputs]), (lora.read(&pair.up)?, [shape[0], rank])])
    }
}
