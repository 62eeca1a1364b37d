//! Noise levels for training and sampling: numbers without a backend.

use crate::support::fixture;
use diffusion::core::schedule::{Cosine, Ddpm, Flow, Ldm, LogLinear, Schedule, Sigmoid, trailing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    schedules: Vec<Table>,
    sample_indices: Vec<Indices>,
    flow_sample_sigmas: Vec<Times>,
}

/// Some levels of one schedule, in smalldiffusion's f32 and in f64 after arithmetic of forty digits.
#[derive(Deserialize)]
pub struct Table {
    name: String,
    args: Vec<f64>,
    len: usize,
    index: Vec<usize>,
    pub f32: Vec<f64>,
    pub f64: Vec<f64>,
}

#[derive(Deserialize)]
struct Indices {
    n: usize,
    steps: usize,
    index: Vec<usize>,
}

#[derive(Deserialize)]
struct Times {
    steps: usize,
    sigmas: Vec<f64>,
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(fixture::path("schedules.json")).unwrap()).unwrap()
}

fn levels(table: &Table) -> Vec<f64> {
    let n = table.args[0] as usize;
    let levels = match (table.name.as_str(), &table.args[1..]) {
        ("LogLinear", &[low, high]) => LogLinear::new(n, low, high).levels().to_vec(),
        ("LogLinear", []) => LogLinear::new(n, 0.02, 10.0).levels().to_vec(),
        ("DDPM", []) => Ddpm::new(n, 1e-4, 0.02).levels().to_vec(),
        ("DDPM", &[start, end]) => Ddpm::new(n, start, end).levels().to_vec(),
        ("LDM", []) => Ldm::new(n, 0.00085, 0.012).levels().to_vec(),
        ("LDM", &[start, end]) => Ldm::new(n, start, end).levels().to_vec(),
        ("Sigmoid", []) => Sigmoid::new(n, 1e-4, 0.02).levels().to_vec(),
        ("Sigmoid", &[start, end]) => Sigmoid::new(n, start, end).levels().to_vec(),
        ("Cosine", []) => Cosine::new(n, 0.999).levels().to_vec(),
        ("Flow", []) => Flow::new(n, 0.001, 1.0).levels().to_vec(),
        (name, args) => panic!("there is no schedule {name} with {args:?}"),
    };
    assert_eq!(levels.len(), table.len);
    levels
}

/// Panics unless our levels are those of `column`, each within `tolerance` of itself.
pub fn assert_column(table: &Table, column: &[f64], tolerance: f64) {
    let levels = levels(table);
    assert_eq!(table.index.len(), column.len());
    for (&i, expected) in table.index.iter().zip(column) {
        let deviation = (levels[i] / expected - 1.0).abs();
        assert!(
            deviation <= tolerance,
            "level {i} of {}{:?} is {}, expected {expected}; relative deviation {deviation:.1e}",
            table.name,
            table.args,
            levels[i]
        );
    }
}

#[test]
fn levels_match_the_formulas() {
    for table in expected().schedules {
        assert_column(&table, &table.f64, 1e-11);
    }
}

/// smalldiffusion computes in f32; each tolerance is the deviation from f64 that `make.py` prints, rounded up.
#[test]
fn levels_match_the_reference_as_well_as_it_matches_f64() {
    for table in expected().schedules {
        let tolerance = match (table.name.as_str(), table.len) {
            ("LogLinear", _) => 2.2e-7,
            ("Flow", _) => 1.1e-7,
            ("DDPM", 1000) => 6.5e-5,
            ("DDPM", _) => 3.4e-5,
            ("LDM", _) => 4.4e-5,
            ("Sigmoid", _) => 7.7e-5,
            ("Cosine", 1000) => 9.7e-4,
            ("Cosine", _) => 6.5e-6,
            (name, _) => panic!("there is no schedule {name}"),
        };
        assert_column(&table, &table.f32, tolerance);
    }
}

#[test]
fn defaults_are_the_reference_s() {
    assert_eq!(LogLinear::default(), LogLinear::new(100, 0.02, 10.0));
    assert_eq!(Ddpm::default(), Ddpm::new(1000, 1e-4, 0.02));
    assert_eq!(Ldm::default(), Ldm::new(1000, 0.00085, 0.012));
    assert_eq!(Sigmoid::default(), Sigmoid::new(1000, 1e-4, 0.02));
    assert_eq!(Cosine::default(), Cosine::new(1000, 0.999));
    assert_eq!(Flow::default(), Flow::new(1000, 0.001, 1.0));
}

/// Beyond 2N steps smalldiffusion's last index but one is −1, which Python reads as the largest level; ours is 0.
#[test]
fn sampling_picks_the_reference_s_levels() {
    for Indices { n, steps, mut index } in expected().sample_indices {
        if steps > 2 * n {
            assert_eq!(index[steps - 1], n - 1, "smalldiffusion's slip at {steps} steps of {n}");
            index[steps - 1] = 0;
        }
        assert_eq!(trailing(n, steps), index, "{steps} steps of {n} levels");
        let schedule = LogLinear::new(n, 0.02, 10.0);
        let picked: Vec<f64> = index.iter().map(|&i| schedule.levels()[i]).collect();
        assert_eq!(&schedule.sigmas(steps)[..], picked, "{steps} steps of {n} levels");
    }
}

#[test]
fn flow_sampling_visits_the_reference_s_times() {
    for Times { steps, sigmas } in expected().flow_sample_sigmas {
        let found = Flow::default().sigmas(steps);
        assert_eq!(found.len(), sigmas.len());
        for (i, (found, expected)) in found.iter().zip(&sigmas).enumerate() {
            let deviation = (found - expected).abs();
            assert!(deviation < 1e-15, "time {i} of {steps} is {found}, expected {expected}");
        }
    }
}
