//! Which crate may know which: a crate here exists only to forbid a dependency, so the forbidding is tested.
//!
//! ```text
//!  xtask ··spawns cargo··▶ diffusion-cli, -bench, -tests     examples
//!                                 │      diffusion-doctor, between cli and recipe
//!                         diffusion-recipe
//!                                 │
//!                             diffusion              the package diffusion-burn: re-exports and prelude
//!                ┌────────────────┼────────────────┬────────────────┐
//!         diffusion-train   diffusion-eval   diffusion-data   diffusion-latent
//!                └────────────────┼────────────────┴────────────────┘
//!                 diffusion-core   diffusion-weights
//!                                 │
//!    diffusion-backends   diffusion-kernels
//! ```

#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::Command;

/// The drawing: each crate with those of ours that it may depend on, and why no others.
const DRAWING: &[(&str, &[&str], &str)] = &[
    ("diffusion-kernels", &[], "a fused operation knows numbers and shapes, and no diffusion"),
    ("diffusion-weights", &[], "tensors in files know no network, data set or training"),
    (
        "diffusion-core",
        &["diffusion-kernels"],
        "the mathematics and the networks know no files, data sets or training",
    ),
    (
        "diffusion-data",
        &["diffusion-core", "diffusion-weights"],
        "data sets know nothing of models or training",
    ),
    (
        "diffusion-train",
        &["diffusion-core", "diffusion-kernels", "diffusion-weights"],
        "training takes batches as they come and knows no data set",
    ),
    (
        "diffusion-latent",
        &["diffusion-core", "diffusion-weights"],
        "a pretrained model knows no training, data set or picture in a file",
    ),
    (
        "diffusion-eval",
        &["diffusion-core", "diffusion-weights"],
        "judging a model needs neither its data set nor its training",
    ),
    ("diffusion-backends", &[], "a backend is chosen for whatever is to run on it"),
    (
        "diffusion-burn",
        &[
            "diffusion-core",
            "diffusion-data",
            "diffusion-train",
            "diffusion-eval",
            "diffusion-kernels",
            "diffusion-latent",
            "diffusion-weights",
            "diffusion-backends",
        ],
        "the facade joins the libraries and nothing that uses them",
    ),
    (
        "diffusion-recipe",
        &["diffusion-burn"],
        "a run as data knows no command line, no terminal, no picture and no backend",
    ),
    (
        "diffusion-doctor",
        &["diffusion-burn", "diffusion-recipe"],
        "backends are compared without a command line, a terminal or a choice of them",
    ),
    (
        "diffusion-cli",
        &["diffusion-burn", "diffusion-backends", "diffusion-recipe", "diffusion-doctor"],
        "a program uses what every user has, the facade and what stands on it",
    ),
    (
        "diffusion-bench",
        &["diffusion-burn", "diffusion-backends", "diffusion-recipe"],
        "what is measured is what every user has, the facade and a run as data",
    ),
    (
        "diffusion-examples",
        &["diffusion-burn", "diffusion-recipe"],
        "an example shows what every user has, the facade and a run as data",
    ),
    (
        "diffusion-test-kernels",
        &[],
        "it compiles a backend's functions and must not be compiled anew with ours",
    ),
    (
        "diffusion-tests",
        &["diffusion-burn", "diffusion-backends", "diffusion-test-kernels", "diffusion-recipe"],
        "the tests use what every user has, the facade",
    ),
    ("xtask", &[], "it must build in seconds, so it spawns cargo instead of linking our crates"),
];

/// The crates that choose backends, or, like the kernels, are for one, behind a feature; the others leave it to whoever
/// uses them.
const CHOOSE_BACKENDS: [&str; 3] = ["diffusion-kernels", "diffusion-backends", "diffusion-test-kernels"];

/// Burn's features that bring a backend or belong to one.
const BACKEND_FEATURES: [&str; 17] = [
    "flex",
    "ndarray",
    "wgpu",
    "webgpu",
    "vulkan",
    "metal",
    "cuda",
    "rocm",
    "tch",
    "cpu",
    "candle",
    "router",
    "remote",
    "simd",
    "autotune",
    "fusion",
    "accelerate",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    /// The crate's own features and what they turn on.
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    /// Absent for normal dependencies, else "dev" or "build".
    kind: Option<String>,
    optional: bool,
    features: Vec<String>,
    /// Present for crates of this workspace.
    path: Option<String>,
}

fn packages() -> Vec<Package> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let arguments =
        ["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path", manifest];
    let output = Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

fn is_burn(name: &str) -> bool {
    name == "burn" || name.starts_with("burn-")
}

/// What breaks the drawing, one sentence each.
fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for (drawn, ..) in DRAWING {
        if !packages.iter().any(|package| package.name == *drawn) {
            found.push(format!("{drawn} is in the drawing, but there is no such crate"));
        }
    }
    found.extend(misuses(packages));
    found
}

/// What the crates of `packages` have and may not have.
fn misuses(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for Package { name, dependencies, features } in packages {
        let Some((_, allowed, reason)) = DRAWING.iter().find(|(drawn, ..)| drawn == name) else {
            found.push(format!("{name} is not in the drawing; a crate is added only to forbid a dependency"));
            continue;
        };
        for (feature, turned_on) in features {
            let mut backends = turned_on.iter().filter_map(|what| Some((what, backend_feature(what)?)));
            if let (false, Some((what, _))) = (CHOOSE_BACKENDS.contains(&name.as_str()), backends.next()) {
                found.push(format!(
                    "{name} turns {what} on in its feature {feature}, but {ONLY} {CHOOSE_BACKENDS:?}"
                ));
            }
        }
        for dependency in dependencies {
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            let edge = format!("{name} has {} as a {kind} dependency", dependency.name);
            if dependency.path.is_some() && !allowed.contains(&dependency.name.as_str()) {
                found.push(format!("{edge}, but {reason}; it may have {allowed:?}"));
            }
            if is_burn(&dependency.name) {
                if name == "xtask" {
                    found.push(format!("{edge}, but it must build in seconds"));
                }
                if dependency.req != "~0.21" {
                    let newest = "0.21 is the newest that is generic over the backend";
                    found.push(format!("{edge} with the requirement {}, but {newest}", dependency.req));
                }
                found.extend(backends_of(name, dependency).map(|what| format!("{edge} {what}")));
            }
        }
    }
    found
}

/// How a dependency on Burn brings a backend to the users of `name`, if it does and may not.
fn backends_of(name: &str, dependency: &Dependency) -> Option<String> {
    if dependency.kind.is_some() || CHOOSE_BACKENDS.contains(&name) {
        return None;
    }
    let backend = dependency.name.strip_prefix("burn-").filter(|name| BACKEND_FEATURES.contains(name));
    let feature = dependency.features.iter().map(String::as_str).find(|f| BACKEND_FEATURES.contains(f));
    let what = backend.or(feature)?;
    let optional = if dependency.optional { ", even optionally" } else { "" };
    Some(format!("with the backend {what}{optional}, but {ONLY} {CHOOSE_BACKENDS:?}"))
}

const ONLY: &str = "backends are chosen for users by these alone:";

/// The backend's feature that `burn/…`, `burn?/…` or `dep:burn-…` turns on.
fn backend_feature(turned_on: &str) -> Option<&str> {
    let (package, feature) = turned_on.split_once('/').or_else(|| turned_on.split_once("dep:burn-"))?;
    let of_burn = package.is_empty() || is_burn(package.trim_end_matches('?'));
    (of_burn && BACKEND_FEATURES.contains(&feature)).then_some(feature)
}

#[test]
fn dependencies_are_as_drawn() {
    let packages = packages();
    let found = violations(&packages);
    assert!(found.is_empty(), "the layout is broken:\n- {}", found.join("\n- "));
}

/// A drawing in which each crate stands below those that it may use has no circle.
#[test]
fn the_drawing_has_no_circle() {
    for (i, (name, allowed, _)) in DRAWING.iter().enumerate() {
        for used in *allowed {
            let at = DRAWING.iter().position(|(drawn, ..)| drawn == used);
            assert!(at.is_some_and(|at| at < i), "{name} uses {used}, which is not drawn before it");
        }
    }
}

/// The guard itself notices what it is there for.
#[test]
fn broken_layouts_are_noticed() {
    let package = |name: &str, dependency: Dependency| Package {
        name: name.into(),
        dependencies: vec![dependency],
        features: BTreeMap::new(),
    };
    let with_feature = |name: &str, turned_on: &str| Package {
        name: name.into(),
        dependencies: Vec::new(),
        features: BTreeMap::from([("fast".to_string(), vec![turned_on.to_string()])]),
    };
    let ours = |name: &str, kind: Option<&str>| Dependency {
        name: name.into(),
        req: "^0.1.0".into(),
        kind: kind.map(str::to_string),
        optional: false,
        features: Vec::new(),
        path: Some("here".into()),
    };
    let burn = |name: &str, req: &str, kind: Option<&str>, features: &[&str]| Dependency {
        name: name.into(),
        req: req.into(),
        path: None,
        features: features.iter().map(|f| f.to_string()).collect(),
        ..ours(name, kind)
    };
    for (package, expected) in [
        (
            package("diffusion-core", ours("diffusion-data", Some("dev"))),
            "diffusion-core has diffusion-data as a dev",
        ),
        (package("diffusion-train", ours("diffusion-data", None)), "knows no data set"),
        (
            package("diffusion-cli", ours("diffusion-core", None)),
            "the facade and what stands on it; it may have [\"diffusion-burn\"",
        ),
        (package("xtask", ours("diffusion-burn", None)), "spawns cargo"),
        (package("xtask", burn("burn", "~0.21", None, &[])), "must build in seconds"),
        (package("diffusion-new", ours("diffusion-burn", None)), "is not in the drawing"),
        (package("diffusion-core", burn("burn", "^0.21.0", None, &[])), "with the requirement ^0.21.0"),
        (package("diffusion-core", burn("burn", "~0.21", None, &["std", "wgpu"])), "with the backend wgpu"),
        (package("diffusion-train", burn("burn-flex", "~0.21", None, &[])), "with the backend flex"),
        (with_feature("diffusion-core", "burn/vulkan"), "turns burn/vulkan on in its feature fast"),
        (with_feature("diffusion-burn", "dep:burn-ndarray"), "turns dep:burn-ndarray on"),
        (with_feature("diffusion-cli", "burn/wgpu"), "turns burn/wgpu on"),
    ] {
        let found = misuses(&[package]);
        assert!(found.iter().any(|sentence| sentence.contains(expected)), "{expected}: {found:?}");
    }
    let allowed = [
        package("diffusion-core", burn("burn", "~0.21", Some("dev"), &["flex"])),
        package("diffusion-backends", burn("burn-flex", "~0.21", None, &[])),
        package("diffusion-train", ours("diffusion-core", Some("dev"))),
        with_feature("diffusion-backends", "burn/wgpu"),
        with_feature("diffusion-train", "burn/std"),
    ];
    assert_eq!(misuses(&allowed), Vec::<String>::new());
    let lacking = violations(&allowed);
    assert!(
        lacking.contains(&"xtask is in the drawing, but there is no such crate".to_string()),
        "{lacking:?}"
    );
}

/// `cargo xtask COMMAND` runs every command of the program, and its usage names each.
#[test]
fn every_command_of_the_program_is_a_task() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (args, xtask) = (read("crates/diffusion-cli/src/args.rs"), read("xtask/src/main.rs"));
    let commands = args.split("pub enum Command {").nth(1).unwrap().split("\n}").next().unwrap();
    let variants = commands.lines().filter_map(|line| line.trim().split_once('('));
    let names: Vec<String> =
        variants.filter(|(name, _)| !name.starts_with("//")).map(|(name, _)| name.to_lowercase()).collect();
    assert!(names.len() >= 8 && names.contains(&"generate".to_string()), "{names:?}");
    for name in names {
        assert!(xtask.contains(&format!("\"{name}\"")), "xtask does not know {name}");
        assert!(xtask.contains(&format!("cargo xtask {name} ")), "its usage does not name {name}");
    }
}
