//! Checkpoints that a disk, a copy or a hand has changed: they are refused or read, and nothing panics.

use super::write::write_weights;
use super::*;
use burn::backend::Flex;
use burn::nn::{Linear, LinearConfig};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

/// Inputs of each kind; the environment variable `FUZZ_INPUTS` sets another number. See `docs/bad-input.md`.
fn number() -> u32 {
    std::env::var("FUZZ_INPUTS").map_or(1_000, |number| number.parse().unwrap())
}

/// Tries inputs that are the same at every run.
fn each<S: Strategy>(inputs: S, test: impl Fn(S::Value)) {
    let config = Config { cases: number(), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&inputs, |input| {
        test(input);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Bytes of a text of `length` that are to be others.
fn changes(length: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..length, any::<u8>()), 1..5)
}

fn changed(bytes: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in changes {
        bytes[*at] = *byte;
    }
    bytes
}

fn metadata() -> CheckpointState {
    let model =
        ModelSpec::new(&"TimeInputMlp".to_string(), &"EpsPrediction".to_string(), &"LogLinear".to_string());
    let fewer = BTreeMap::from([("network.net.0.weight".to_string(), 7)]);
    CheckpointState {
        validation: Some(0.25),
        optimizer: Some(OptimizerState {
            updates: 9,
            fewer,
            muon: BTreeSet::from(["network.net.1.weight".to_string()]),
        }),
        files: BTreeMap::from([("ema.safetensors".to_string(), Checksum::of(b"weights"))]),
        ..CheckpointState::new(model, 12, 1200, 5)
    }
}

fn linear() -> Linear<Flex> {
    LinearConfig::new(3, 2).init(&Default::default())
}

#[test]
fn arbitrary_bytes_are_no_metadata() {
    each(prop::collection::vec(any::<u8>(), 0..400), |bytes| {
        assert!(CheckpointState::parse(&bytes).is_err());
    });
    let text = prop::collection::vec(any::<char>(), 0..=64)
        .prop_map(|letters| letters.into_iter().collect::<String>());
    each(text, |text| assert!(CheckpointState::parse(text.as_bytes()).is_err()));
}

#[test]
fn changed_metadata_is_refused() {
    let text = metadata().to_text().unwrap().into_bytes();
    assert_eq!(CheckpointState::parse(&text), Ok(metadata()));
    each(changes(text.len()), |changes| {
        let bytes = changed(&text, &changes);
        assert_eq!(CheckpointState::parse(&bytes).is_ok(), bytes == text);
    });
}

/// Changed and given a new checksum, as only someone who means to would.
#[test]
fn metadata_with_a_new_checksum_does_not_panic() {
    let text = metadata().to_text().unwrap();
    let body = text.rsplit_once(text::CHECKSUM).unwrap().0.as_bytes();
    let good = std::cell::Cell::new(0);
    let values =
        prop::sample::select(vec!["0", "-1", "nan", "18446744073709551615", "1e400", "\"../x\"", "[]"]);
    let lines = body.split(|&byte| byte == b'\n').count();
    each((changes(body.len()), 0..lines, values, any::<bool>()), |(changes, line, value, by_value)| {
        let body = if by_value {
            let replaced = |(i, text): (usize, &str)| match text.split_once(" = ") {
                Some((key, _)) if i == line => format!("{key} = {value}"),
                _ => text.to_string(),
            };
            let text = std::str::from_utf8(body).unwrap();
            text.split('\n').enumerate().map(replaced).collect::<Vec<_>>().join("\n").into_bytes()
        } else {
            changed(body, &changes)
        };
        let checksum = format!("{}{:08x}\n", text::CHECKSUM, crc32fast::hash(&body));
        let parsed = CheckpointState::parse(&[body, checksum.into_bytes()].concat());
        good.set(good.get() + usize::from(parsed.is_ok()));
    });
    // Numbers and names may be others.
    assert!(good.get() > number() as usize / 20, "only {} of {} are read", good.get(), number());
}

/// A file of weights whose checksum was made anew: its header is what it is, and the network's tensors are compared.
#[test]
fn changed_weights_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_weights(&linear(), &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let good = std::cell::Cell::new(0);
    let load = |bytes: Vec<u8>| from_safetensors(linear(), bytes, &path).is_ok();
    assert!(load(bytes.clone()));
    each(changes(header), |changes| {
        good.set(good.get() + usize::from(load(changed(&bytes, &changes))));
    });
    assert!(good.get() < number() as usize / 20, "{} of {} changed headers are read", good.get(), number());
    each(changes(bytes.len()), |changes| {
        let _ = load(changed(&bytes, &changes));
    });
    each(0..bytes.len(), |length| assert!(!load(bytes[..length].to_vec())));

    // As a checkpoint every change is seen.
    let checkpoint = Checkpoint::save(folder.path(), metadata(), &linear(), &linear()).unwrap();
    let model = metadata().model;
    let path = checkpoint.path().join("ema.safetensors");
    let bytes = fs::read(&path).unwrap();
    each(changes(bytes.len()), |changes| {
        let changed = changed(&bytes, &changes);
        fs::write(&path, &changed).unwrap();
        assert_eq!(checkpoint.load(linear(), &model, Weights::Ema).is_ok(), changed == bytes);
    });
}
