//! Every example runs, in a short form, and the number that it prints is a sensible one.

use std::io::Write;
use std::process::Command;

/// The number after `name` in what the example prints.
fn number(program: &str, arguments: &[&str], name: &str) -> f64 {
    let output = Command::new(program).args(arguments).output().expect("the example starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} failed:\n{text}{errors}");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the example prints its number");
    line[name.len()..].trim().parse().expect("a number")
}

#[test]
fn toy_swissroll() {
    // An untrained network has a loss of about 1.
    let loss = number(env!("CARGO_BIN_EXE_toy_swissroll"), &["600"], "loss ");
    assert!((0.4..0.8).contains(&loss), "loss {loss}");
}

#[test]
fn tree_guidance() {
    let program = env!("CARGO_BIN_EXE_tree_guidance");
    let distance = number(program, &["600"], "scale 0:");
    // A point of the unit disc is about 0.5 away from a branch that it has nothing to do with.
    assert!((0.0..0.3).contains(&distance), "distance {distance}");
}

#[test]
fn ideal_denoiser() {
    let distance = number(env!("CARGO_BIN_EXE_ideal_denoiser"), &[], "distance ");
    assert!(distance < 1e-3, "distance {distance}");
}

#[test]
fn fashion_dit() {
    let folder = "/usr/share/datasets/fashion-mnist";
    if !std::path::Path::new(folder).exists() {
        // Not `eprintln!`, which the test harness hides when tests pass.
        let _ = writeln!(std::io::stderr(), "fashion_dit is skipped: there is no {folder}");
        return;
    }
    let loss = number(env!("CARGO_BIN_EXE_fashion_dit"), &[folder, "6", "4"], "loss ");
    assert!((0.0..2.0).contains(&loss), "loss {loss}");
}
