//! Checkpoints of training scripts, which `tests/data/checkpoints.py` makes.

use super::assemble::*;
use super::*;
use std::fs;

/// What was taken of a file, and the weights.
fn taken(name: &str, key: Option<&str>) -> Result<(StateDict, Taken), WeightsError> {
    let (module, taken) = import_state_dict_at(mlp(), &names(), &[], data(name), key)?;
    Ok((state_dict(&module, &names(), &[]), taken))
}

/// The weights of `mlp.pth`, times `factor`.
fn expected(factor: f32) -> StateDict {
    let dict = state_dict(&import(mlp(), &data("mlp.pth")).unwrap(), &names(), &[]);
    let times = |tensor: TensorData| {
        let values: Vec<f32> = tensor.iter::<f32>().map(|value| factor * value).collect();
        TensorData::new(values, tensor.shape)
    };
    dict.into_iter().map(|(name, tensor)| (name, times(tensor))).collect()
}

#[test]
fn the_one_dict_that_fits_is_taken() {
    for (name, key, others) in [
        ("checkpoint-plain.pth", "model", 14),
        ("checkpoint-plain-4.pth", "model", 1),
        ("checkpoint-objects.pth", "state_dict", 0),
        ("checkpoint-deflated.pth", "model", 18),
        ("checkpoint-legacy.pth", "model", 13),
        ("checkpoint-legacy-4.pth", "", 0),
        ("checkpoint-legacy-1.pth", "", 0),
        ("checkpoint-negative.pth", "", 0),
        ("checkpoint-amid.pth", "", 18),
        ("checkpoint-same.pth", "model", 0),
    ] {
        let (dict, taken) = taken(name, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(dict, expected(1.0), "{name}");
        assert_eq!((&taken.key[..], taken.tensors, taken.others), (key, 6, others), "{name}");
    }
}

#[test]
fn objects_are_named_and_not_run() {
    let (_, taken) = taken("checkpoint-objects.pth", None).unwrap();
    let expected =
        ["argparse.Namespace", "torch.optim.adamw.AdamW", "my_project.models.Net", "functools.partial"];
    assert_eq!(taken.not_run, expected);
    match self::taken("checkpoint-model.pth", None) {
        Err(WeightsError::Refused { global, .. }) => assert_eq!(global, "my_project.models.Net"),
        other => panic!("{other:?}"),
    }
    assert_eq!(self::taken("checkpoint-plain.pth", None).unwrap().1.not_run, [""; 0]);
}

#[test]
fn of_several_that_fit_a_key_chooses() {
    for (name, listed) in [
        ("checkpoint-several.pth", [("state.ema.module", 6), ("state.model", 6)]),
        ("checkpoint-list.pth", [("0", 6), ("3", 6)]),
    ] {
        match taken(name, None) {
            Err(WeightsError::Several { fitting, .. }) => {
                assert_eq!(fitting, listed.map(|(key, count)| (key.to_string(), count)));
            }
            other => panic!("{other:?}"),
        }
    }
    for (name, key, factor) in [
        ("checkpoint-several.pth", "state.model", 1.0),
        ("checkpoint-several.pth", "state.ema", 2.0),
        ("checkpoint-several.pth", "state.ema.module", 2.0),
        ("checkpoint-list.pth", "0", 1.0),
        ("checkpoint-list.pth", "3", 2.0),
        ("checkpoint-same.pth", "best", 1.0),
        ("checkpoint-same.pth", "history.0", 1.0),
        ("checkpoint-amid.pth", ".", 1.0),
    ] {
        let (dict, _) = taken(name, Some(key)).unwrap_or_else(|error| panic!("{name}, {key}: {error}"));
        assert_eq!(dict, expected(factor), "{name}, {key}");
    }
    match taken("checkpoint-several.pth", Some("ema")) {
        Err(WeightsError::NoKey { key, found, .. }) => {
            assert_eq!((&key[..], found.len()), ("ema", 2));
        }
        other => panic!("{other:?}"),
    }
    // A key that leads to several, or to tensors of another make.
    assert!(matches!(taken("checkpoint-several.pth", Some("state")), Err(WeightsError::Several { .. })));
    match taken("checkpoint-several.pth", Some("state.optimizer")) {
        Err(WeightsError::Tensors { problems, .. }) => {
            let missing = problems.iter().filter(|p| matches!(p, TensorProblem::Missing { .. }));
            assert_eq!(missing.count(), 6);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_stands_in_a_tensors_place_is_named() {
    let Err(WeightsError::Tensors { problems, .. }) = taken("checkpoint-odd.pth", None) else { panic!() };
    let bias = |i: usize| format!("net.{i}.bias");
    match &problems[..] {
        [
            TensorProblem::Dtype { name, found, .. },
            TensorProblem::NotATensor { name: other, found: none },
        ] => {
            assert_eq!((name, &found.to_string()[..]), (&bias(0), "a sparse tensor"));
            assert_eq!((other, &none[..]), (&bias(2), "None"));
        }
        other => panic!("{other:?}"),
    }
}

/// A bit that is turned in a file of an archive is found, and the file named; in one that is not needed it is not.
#[test]
fn checksums_of_archives_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mlp.pth", "checkpoint-deflated.pth"] {
        let good = fs::read(data(name)).unwrap();
        let opened = TensorFile::open(data(name)).unwrap();
        let key = if name == "mlp.pth" { "" } else { "model." };
        let path = folder.path().join(name);
        let (mut wrong, mut named) = (0, 0);
        for at in (0..good.len()).step_by(5) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            match import(mlp(), &path) {
                Ok(module) if state_dict(&module, &names(), &[]) == expected(1.0) => {}
                Ok(_) => wrong += 1,
                Err(WeightsError::Malformed { reason, .. }) => named += usize::from(reason.contains("/data")),
                Err(_) => {}
            }
        }
        assert_eq!(wrong, 0, "{name} was imported with other weights");
        let bytes: usize = opened.names().filter(|name| name.starts_with(key)).count();
        assert!(bytes >= 6 && named > 100, "{named} of {} changes in {name} were named", good.len());
    }
}

/// Those of several blocks, from any place of a storage.
#[test]
fn large_tensors_of_archives_are_read_whole() {
    let values: Vec<f32> = (0..20_000).map(|i| i as f32).collect();
    let body = dict(&[("weight", tensor(20_000, 3, &[100, 150], &[150, 1]))]);
    let stored = members(&body, &values);
    let mut deflated = stored.clone();
    deflated[2] = packed("archive/data/0", &stored[2].bytes);
    for members in [stored, deflated] {
        let file = TensorFile::from_bytes("large.pth", zip(&members)).unwrap();
        assert_eq!(file.read("weight").unwrap(), values[3..15_003]);
    }
}

#[test]
fn a_storage_that_unpacks_to_more_than_its_tensors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.pth");
    let body = dict(&mlp_tensors());
    let archive = |data: Member| {
        let mut members = members(&body, &[]);
        members[2] = data;
        fs::write(&path, zip(&members)).unwrap();
        import(mlp(), &path).map(|_| ())
    };
    archive(packed("archive/data/0", &[0; 48])).unwrap();
    archive(packed("archive/data/0", &[0; 1 << 20])).unwrap();
    for (data, expected) in [
        (packed("archive/data/0", &vec![0; 3 << 20]), "unpacked, expected the"),
        (Member { size: 49, ..packed("archive/data/0", &[0; 48]) }, "has 48 bytes, expected 49"),
        (Member { size: 48, ..packed("archive/data/0", &[0; 3000]) }, "has 49 bytes, expected 48"),
        (
            Member { size: u32::MAX - 1, ..packed("archive/data/0", &[0; 48]) },
            "has 4294967294 bytes unpacked",
        ),
        (Member { crc32: Some(1), ..packed("archive/data/0", &[0; 48]) }, "has the checksum"),
        (Member { method: 8, crc32: Some(0), ..member("archive/data/0", vec![7; 48]) }, "cannot be unpacked"),
    ] {
        match archive(data) {
            Err(WeightsError::Malformed { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}, expected {expected}"),
        }
    }
    // A pickle of zeros that are no end.
    let mut files = members(&body, &[0.0; 12]);
    files[0] = packed("archive/data.pkl", &vec![b'N'; 3 << 20]);
    fs::write(&path, zip(&files)).unwrap();
    assert!(matches!(import(mlp(), &path), Err(WeightsError::Malformed { .. })));
}

/// What was compared, what else could have been, and what is wrong.
fn compared(name: &str, key: Option<&str>) -> (String, Vec<(String, usize)>, Vec<TensorProblem>) {
    match taken(name, key) {
        Err(WeightsError::Tensors { key, others, problems, .. }) => (key, others, problems),
        other => panic!("{name}, {key:?}: {other:?}"),
    }
}

#[test]
fn what_is_compared_is_named_with_the_others() {
    for (name, key, compared, others, problems) in [
        ("checkpoint-near.pth", None, "generator", &[("critic", 3)][..], 1),
        ("checkpoint-near.pth", Some("critic"), "critic", &[], 3),
        ("checkpoint-keys.pth", Some("bad"), "bad", &[], 1),
        ("checkpoint-averages.pth", None, "shadow_params", &[], 12),
        ("checkpoint-odd.pth", None, "", &[], 2),
    ] {
        let found = self::compared(name, key);
        let others: Vec<(String, usize)> = others.iter().map(|(key, n)| (key.to_string(), *n)).collect();
        assert_eq!((&found.0[..], found.1, found.2.len()), (compared, others, problems), "{name}, {key:?}");
    }
}

#[test]
fn keys_are_meant_whole_and_may_be_tuples() {
    for (key, factor) in [("model.x", 1.0), ("ema_0.9999", 2.0)] {
        let (dict, taken) = taken("checkpoint-keys.pth", Some(key)).unwrap();
        assert_eq!((dict, &taken.key[..]), (expected(factor), key));
    }
    // A dict of its own, beside one whose key begins so.
    let (key, _, problems) = compared("checkpoint-keys.pth", Some("ema_0"));
    let is_extra = |problem: &&TensorProblem| matches!(problem, TensorProblem::Extra { .. });
    let extra: Vec<&str> = problems.iter().filter(is_extra).map(TensorProblem::name).collect();
    assert_eq!((&key[..], extra), ("ema_0", vec!["other.a"]));
    for key in ["ema", "model.", "mode", "a.b.c", "ema_0.99"] {
        match taken("checkpoint-keys.pth", Some(key)) {
            Ok((_, taken)) => assert_eq!((key, &taken.key[..]), ("model.", "model.x")),
            Err(error) => assert!(matches!(error, WeightsError::NoKey { .. }), "{key}: {error}"),
        }
    }
}
