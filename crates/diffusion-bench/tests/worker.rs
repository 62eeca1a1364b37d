//! The worker, spoken to as the driver does it, with works of which nothing is large.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The answers to `requests`, one line each, after which the worker must end by itself.
fn converse(requests: &[Value]) -> Vec<Value> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_diffusion-bench"))
        .args(["worker", "--backend", "flex"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    let answers = requests.iter().map(|request| {
        writeln!(input, "{request}").unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    });
    let answers = answers.collect();
    drop(input);
    assert!(lines.next().is_none(), "it says more than it was asked for");
    assert!(process.wait().unwrap().success());
    answers
}

/// Prepares `work`, does a step and then two; returns the number of weights that are trained.
fn parameters_of(work: Value) -> u64 {
    let answers = converse(&[
        json!({"prepare": {"work": work, "threads": 1, "gpu": false}}),
        json!({"steps": 1}),
        json!({"steps": 2}),
    ]);
    let [ready, first, others] = &answers[..] else { panic!("{answers:?}") };
    for took in [first, others] {
        assert!(took["took"].as_f64().is_some_and(|seconds| seconds > 0.0), "{work}: {took}");
    }
    assert!(ready["ready"]["versions"].as_str().unwrap().contains("on Burn 0.21.0, flex"), "{ready}");
    ready["ready"]["parameters"].as_u64().unwrap()
}

#[test]
fn every_kind_of_work_is_done() {
    let dit = json!({
        "in_dim": 4, "patch_size": 2, "depth": 1, "head_dim": 4, "num_heads": 1, "scaled": true
    });
    let unet = json!({
        "in_dim": 4, "ch": 32, "ch_mult": [1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.1
    });
    // (2 + 2)·3 + 3 weights and 3·2 + 2.
    let mlp = json!({"kind": "train-mlp", "hidden_dims": [3], "batch": 5});
    assert_eq!(parameters_of(mlp), 23);
    let trained = parameters_of(json!({"kind": "train-dit", "dit": dit, "batch": 2}));
    for work in [
        json!({"kind": "sample-dit", "dit": dit, "batch": 2, "steps": 2}),
        json!({"kind": "checkpoint-save", "dit": dit}),
        json!({"kind": "checkpoint-load", "dit": dit}),
    ] {
        assert_eq!(parameters_of(work), trained);
    }
    assert!(parameters_of(json!({"kind": "train-unet", "unet": unet, "batch": 1})) > 0);
    assert_eq!(parameters_of(json!({"kind": "ideal", "examples": 3, "numbers": 2, "queries": 2})), 0);
}

#[test]
fn what_cannot_be_done_is_answered_with_a_sentence() {
    for (request, part) in [
        (json!({"steps": 1}), "once, before the first step"),
        (
            json!({"prepare": {"work": {"kind": "rest"}, "threads": 1, "gpu": false}}),
            "unknown variant `rest`",
        ),
    ] {
        let answers = converse(&[request]);
        assert!(answers[0]["failed"].as_str().is_some_and(|text| text.contains(part)), "{answers:?}");
    }
}

/// The whole program, with the smallest work of its own.
#[test]
fn the_driver_writes_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let output = Command::new(env!("CARGO_BIN_EXE_diffusion-bench"))
        .args(["--only", "start", "--repeats", "1", "--threads", "1", "--json", json.to_str().unwrap()])
        .output()
        .unwrap();
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    assert!(text.contains("- threads: 1, backend: flex, repeats: 1\n"), "{text}");
    assert!(text.contains("| start | "), "{text}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report["table"][0]["here"]["seconds"].as_array().unwrap().len(), 1);
}

#[test]
fn bad_input_is_answered_with_a_sentence() {
    for (arguments, sentence) in [
        (&["--only", "toy"][..], "error: there is no \"toy\" to measure; there are toy-100, "),
        (&["--only", "dit-batch"], "error: dit-batch is nothing that is measured as asked\nhint: "),
        (&["--only", "start", "--peer", "--python", "no/such/python"], "error: cannot run no/such/python: "),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_diffusion-bench")).args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(sentence), "{arguments:?}: {errors}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}
