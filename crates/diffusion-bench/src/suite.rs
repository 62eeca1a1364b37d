//! What is measured: the works by their names, what must come out, and the curves.

use crate::work::{DitSizes, Piece, UnetSizes, Work};
use std::path::Path;

/// A work with a name.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The work.
    pub work: Work,
    /// What of it is measured.
    pub measure: Measure,
    /// How many times smalldiffusion's time it may take.
    pub time: Option<f64>,
    /// How many times smalldiffusion's memory it may take.
    pub memory: Option<f64>,
    /// Whether more threads are worth trying: training and sampling.
    pub scales: bool,
}

/// What of a work is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One step, of many in a process that is warm.
    Step,
    /// A fresh process from its start to the end of the first step.
    Start,
}

/// A work that grows along one axis.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What grows, and what stays.
    pub about: &'static str,
    /// What grows, in a word.
    pub axis: &'static str,
    /// The sizes and the works that have them.
    pub points: Vec<(usize, Work)>,
}

/// The MLP of smalldiffusion's toy example.
fn toy(batch: usize) -> Work {
    Work::TrainMlp { hidden_dims: vec![16, 128, 128, 128, 128, 16], batch }
}

/// Everything in the table, in its order.
pub fn entries() -> Vec<Entry> {
    let dit = DitSizes::fashion;
    let entry =
        |name, work| Entry { name, work, measure: Measure::Step, time: None, memory: None, scales: false };
    let loops = |name, work| Entry { scales: true, ..entry(name, work) };
    vec![
        Entry { time: Some(0.5), ..loops("toy-100", toy(100)) },
        Entry { time: Some(1.5), ..loops("toy-2048", toy(2048)) },
        Entry {
            time: Some(2.0),
            memory: Some(1.2),
            ..loops("dit-64", Work::TrainDit { dit: dit(), batch: 64 })
        },
        loops("dit-small-64", Work::TrainDit { dit: DitSizes::fashion_small(), batch: 64 }),
        Entry {
            time: Some(2.5),
            ..loops("unet-16", Work::TrainUnet { unet: UnetSizes::fashion(), batch: 16 })
        },
        Entry {
            time: Some(1.5),
            ..loops("sample-dit", Work::SampleDit { dit: dit(), batch: 16, steps: 20 })
        },
        entry("ideal", Work::Ideal { examples: 10_000, numbers: 784, queries: 64 }),
        entry("checkpoint-save", Work::CheckpointSave { dit: dit() }),
        entry("checkpoint-load", Work::CheckpointLoad { dit: dit() }),
        Entry { measure: Measure::Start, time: Some(0.1), ..entry("start", toy(100)) },
    ]
}

/// Latent diffusion with the networks of a folder, pictures being of 512 × 512 pixels.
pub fn latent(folder: &Path) -> Vec<Entry> {
    let entry = |name, piece| Entry {
        name,
        work: Work::Latent { folder: folder.into(), piece, size: 64 },
        measure: Measure::Step,
        time: Some(1.0),
        memory: Some(1.0),
        scales: false,
    };
    vec![
        entry("latent-open", Piece::Open),
        entry("latent-text", Piece::Text),
        entry("latent-guided", Piece::Guided),
        entry("latent-decode", Piece::Decode),
    ]
}

/// A row of the table that is several others together: their times one after the other, and the largest of their memories.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Its name in the table.
    pub name: &'static str,
    /// What it is the sum of.
    pub of: Vec<&'static str>,
    /// How many times the peer's time it may take.
    pub time: Option<f64>,
    /// How many times the peer's memory it may take.
    pub memory: Option<f64>,
}

/// From a folder to a picture in a single step: all pieces of [`latent`].
pub fn latent_whole() -> Sum {
    let of = latent(Path::new("")).iter().map(|entry| entry.name).collect();
    Sum { name: "latent-whole", of, time: Some(1.0), memory: Some(1.0) }
}

/// All curves, in their order.
pub fn curves() -> Vec<Curve> {
    let train = |dit, batch| Work::TrainDit { dit, batch };
    let patched = |patch_size| DitSizes { patch_size, ..DitSizes::fashion() };
    let wide = |head_dim| DitSizes { head_dim, ..DitSizes::fashion() };
    let tokens = |dit: &DitSizes| (dit.in_dim / dit.patch_size).pow(2);
    vec![
        Curve {
            name: "toy-batch",
            about: "a training step of toy-100 with other batches",
            axis: "batch",
            points: [100, 512, 2048, 8192].map(|batch| (batch, toy(batch))).to_vec(),
        },
        Curve {
            name: "dit-batch",
            about: "a training step of dit-64 with other batches",
            axis: "batch",
            points: [8, 16, 32, 64].map(|batch| (batch, train(DitSizes::fashion(), batch))).to_vec(),
        },
        Curve {
            name: "dit-tokens",
            about: "a training step of dit-64's network with patches of 7, 4 and 2 pixels, batch 16",
            axis: "tokens",
            points: [7, 4, 2].map(patched).map(|dit| (tokens(&dit), train(dit, 16))).to_vec(),
        },
        Curve {
            name: "dit-width",
            about: "a training step of dit-64's network with 16, 32 and 48 numbers per head, batch 16",
            axis: "width",
            points: [16, 32, 48].map(wide).map(|dit| (dit.head_dim * dit.num_heads, train(dit, 16))).to_vec(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<&str> = entries().iter().map(|entry| entry.name).collect();
        names.extend(latent(Path::new("")).iter().map(|entry| entry.name));
        names.push(latent_whole().name);
        names.extend(curves().iter().map(|curve| curve.name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn curves_rise() {
        for Curve { name, points, .. } in curves() {
            assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{name}: {points:?}");
        }
        assert_eq!(curves()[2].points.iter().map(|point| point.0).collect::<Vec<_>>(), [16, 49, 196]);
    }
}
