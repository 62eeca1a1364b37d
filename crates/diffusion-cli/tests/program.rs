//! The program as a user meets it: what a run leaves behind, and what bad input is answered with.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn diffusion(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diffusion")).args(arguments).output().unwrap()
}

/// Runs the program, which must succeed.
fn succeed(arguments: &[&str]) -> String {
    let output = diffusion(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail with 1 and say `expected`, without a panic.
fn fail(arguments: &[&str], expected: &str) {
    let output = diffusion(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    assert!(errors.contains(expected), "{arguments:?} says {errors:?}, expected {expected:?}");
    assert!(
        !errors.contains("panicked") && !errors.contains("RUST_BACKTRACE"),
        "{arguments:?} panics: {errors}"
    );
}

/// A folder of its own for each test.
fn folder() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, move |name: &str| path.join(name).to_str().unwrap().to_string())
}

fn train(preset: &str, out: &str, more: &[&str]) {
    succeed(&[&["train", preset, "--out", out][..], more].concat());
}

/// Some numbers of metrics.jsonl.
fn metrics(run: &str) -> Vec<(u64, u64, f64, f64)> {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let number = |name: &str| line[name].as_f64().unwrap();
            assert!(line.get("seconds").is_none(), "metrics depend on the machine's speed");
            (line["step"].as_u64().unwrap(), line["examples"].as_u64().unwrap(), number("loss"), number("lr"))
        })
        .collect()
}

fn size_of_picture(path: PathBuf) -> (u32, u32) {
    image::image_dimensions(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_run_leaves_everything_behind() {
    let (_guard, path) = folder();
    let run = path("run");
    train("swissroll", &run, &["--steps", "12", "--lr", "0.002", "--seed", "5"]);
    let metrics = metrics(&run);
    assert_eq!(metrics.len(), 12);
    assert_eq!((metrics[11].0, metrics[11].1, metrics[11].3), (12, 1200, 0.002));
    assert!(metrics.iter().all(|line| (0.2..3.0).contains(&line.2)), "{metrics:?}");
    for picture in ["samples.png", "loss.png"] {
        let (width, height) = size_of_picture(Path::new(&run).join(picture));
        assert!(width >= 400 && height >= 400, "{picture} has {width}×{height} pixels");
    }
    for file in ["model.safetensors", "ema.safetensors", "state.toml"] {
        assert!(Path::new(&run).join("checkpoints/step-00000012").join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn a_configuration_repeats_its_run() {
    let (_guard, path) = folder();
    let (first, again, other) = (path("first"), path("again"), path("other"));
    train("tree", &first, &["--steps", "6", "--seed", "3", "--batch-size", "32"]);
    succeed(&["train", "--config", &path("first/config.toml"), "--out", &again]);
    train("tree", &other, &["--steps", "6", "--seed", "4", "--batch-size", "32"]);
    assert_eq!(metrics(&first), metrics(&again));
    assert_ne!(metrics(&first), metrics(&other));
    let picture = |run| fs::read(Path::new(run).join("samples.png")).unwrap();
    assert!(picture(&first) == picture(&again), "the same run draws another picture");
}

#[test]
fn a_run_can_be_sampled_from() {
    let (_guard, path) = folder();
    let (run, out) = (path("run"), path("out.png"));
    train("tree", &run, &["--steps", "5", "--batch-size", "32"]);
    let arguments = ["sample", &run, "--count", "300", "--steps", "3", "--labels", "0,63", "--out", &out];
    let guided = [&arguments[..], &["--cfg-scale", "1.5", "--overwrite"]].concat();
    succeed(&guided);
    let first = fs::read(&out).unwrap();
    succeed(&guided);
    assert!(fs::read(&out).unwrap() == first, "the same seed draws another picture");
    let variants: [&[&str]; 4] =
        [&["--seed", "9"], &["--no-ema"], &["--sampler", "heun"], &["--sampler", "ddpm"]];
    for variant in variants {
        succeed(&[&guided[..], variant].concat());
        assert!(fs::read(&out).unwrap() != first, "{variant:?} changes nothing");
    }
    let told = succeed(&["sample", &run, "--count", "2", "--seed", "11"]);
    assert!(
        told.contains("samples-seed-11.png") && Path::new(&path("run/samples-seed-11.png")).is_file(),
        "{told}"
    );
}

/// Twelve gray images of 28×28 pixels, labeled 0 to 9 and 0, 1.
fn write_idx(folder: &str) {
    fs::create_dir(folder).unwrap();
    let images: Vec<u8> =
        [&[0, 0, 8, 3, 0, 0, 0, 12, 0, 0, 0, 28, 0, 0, 0, 28][..], &[128; 12 * 784]].concat();
    let labels: Vec<u8> = [&[0, 0, 8, 1, 0, 0, 0, 12][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]].concat();
    fs::write(Path::new(folder).join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(Path::new(folder).join("train-labels-idx1-ubyte"), labels).unwrap();
}

/// The configuration of `preset` with some of its text changed, as a file.
fn changed_config(preset: &str, file: &str, changes: &[(&str, &str)]) {
    let mut text = succeed(&["train", preset, "--print-config"]);
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in the configuration:\n{text}");
        text = text.replacen(from, to, 1);
    }
    fs::write(file, text).unwrap();
}

#[test]
fn images_are_drawn_as_a_grid() {
    let (_guard, path) = folder();
    let (data, run) = (path("data"), path("run"));
    write_idx(&data);
    let more = ["--data", &data, "--steps", "2", "--batch-size", "2"];
    train("fashion-dit-small", &run, &more);
    let (width, height) = size_of_picture(Path::new(&run).join("samples.png"));
    assert!(width == height && width >= 600, "{width}×{height}");
}

#[test]
fn a_folder_is_not_replaced_by_accident() {
    let (_guard, path) = folder();
    let (run, mine) = (path("run"), path("mine"));
    train("swissroll", &run, &["--steps", "2"]);
    fail(&["train", "--out", &run, "--steps", "2"], "exists already");
    assert_eq!(metrics(&run).len(), 2);
    train("swissroll", &run, &["--steps", "3", "--overwrite"]);
    assert_eq!(metrics(&run).len(), 3);
    fs::create_dir(&mine).unwrap();
    fs::write(path("mine/letter"), "dear").unwrap();
    fail(&["train", "--out", &mine, "--steps", "2", "--overwrite"], "run's folder");
    assert_eq!(fs::read_to_string(path("mine/letter")).unwrap(), "dear");
}

#[test]
fn bad_input_is_answered_with_a_sentence() {
    let (_guard, path) = folder();
    let (run, tree, none) = (path("run"), path("tree"), path("none"));
    train("swissroll", &run, &["--steps", "2"]);
    train("tree", &tree, &["--steps", "2", "--batch-size", "8"]);
    let no = |more: &[&str], expected: &str| {
        fail(&[&["train", "--out", &none][..], more].concat(), expected);
        assert!(!Path::new(&none).exists(), "{more:?} leaves a folder");
    };
    no(&["--steps", "0"], "error: training.steps: ");
    no(&["--batch-size", "0"], "error: batch_size: ");
    no(&["--lr", "nan"], "error: training.lr: ");
    no(&["--data", "x"], "makes its own data");
    no(&["fashion-dit-small", "--data", &run], "train-images-idx3-ubyte");
    no(&["datasaurus", "--data", &none], &none);
    no(&["--config", &none], "cannot read");

    fail(&["sample", &none], "run's folder");
    fail(&["sample", &run, "--labels", "1"], "this model has none");
    fail(&["sample", &run, "--cfg-scale", "2"], "error: sampling.guidance: ");
    fail(&["sample", &run, "--set", "sampling.sampler.eta=-1"], "error: sampling.sampler.eta: ");
    fail(&["sample", &run, "--sampler", "heun", "--set", "sampling.sampler.gam=2"], "sampling.sampler.gam: ");
    fail(&["sample", &run, "--count", "0"], "error: sampling.count: ");
    fail(&["sample", &run, "--out", &path("run/config.toml")], "is not the name of a PNG picture");
    fail(&["sample", &run, "--steps", "18446744073709551615"], "error: sampling.steps: ");
    fail(&["sample", &tree, "--labels", "64"], "the classes 0 to 63");
    fail(&["sample", &run, "--out", &path("no/such/folder.png")], "there is no folder");
}

#[test]
fn a_bad_configuration_is_answered_with_a_sentence() {
    let (_guard, path) = folder();
    let (run, none, file) = (path("run"), path("none"), path("config.toml"));
    train("swissroll", &run, &["--steps", "2"]);
    let text = fs::read_to_string(path("run/config.toml")).unwrap();
    for (from, to, expected) in [
        ("preset", "prefix", "unknown field `prefix`"),
        ("n = 200", "n = 200\nm = 3", "unknown field `m`"),
        ("n = 200", "n = 1", "error: schedule.n: "),
        ("\"log-linear\"", "\"linear\"", "unknown variant `linear`"),
        ("prediction = \"eps\"", "prediction = \"flow\"", "error: schedule: "),
        ("dim = 2", "dim = 3", "[3]"),
        ("dim = 2", "dim = 0", "error: network.dim: "),
        ("hidden_dims = [16", "hidden_dims = [0", "error: network.hidden_dims"),
        ("flip = false", "flip = true", "error: flip: "),
        ("hidden_dims = [16", "hidden_dims = [1000000000000", "error: network.hidden_dims"),
        ("n = 200", "n = 1000000000000", "error: schedule.n: "),
        ("n = 100", "n = 1000000000000", "error: data.n: "),
        ("prediction = \"eps\"", "prediction = \"vpred\"", "line 4: "),
        ("warmup_power = 0.6", "warmup_power = -0.6", "error: training.ema.warmup_power: "),
        ("eta = 1.0", "eta = -1.0", "error: sampling.sampler.eta: "),
        ("decay = 0.999", "decay = 1.0", "error: training.ema.decay: "),
        ("kind = \"none\"", "kind = \"classifier-free\"\nscale = 2.0", "error: sampling.guidance: "),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is not in the configuration");
        fs::write(&file, changed).unwrap();
        fail(&["train", "--config", &file, "--out", &none], expected);
        assert!(!Path::new(&none).exists(), "{to} leaves a folder");
    }
}

#[test]
fn a_bad_unet_is_answered_with_a_sentence() {
    let (_guard, path) = folder();
    let (file, none) = (path("config.toml"), path("none"));
    for (from, to, expected) in [
        ("ch = 32", "ch = 48", "error: network.ch: "),
        ("ch = 32", "ch = 0", "error: network.ch: "),
        ("ch = 32", "ch = 1000000", "error: network.ch"),
        ("in_ch = 1", "in_ch = 3", "error: network.out_ch: "),
        ("in_dim = 28", "in_dim = 30", "error: network.in_dim: "),
        ("ch_mult = [1, 2, 2]", "ch_mult = []", "error: network.ch_mult: "),
        ("ch_mult = [1, 2, 2]", "ch_mult = [1, 0]", "error: network.ch_mult"),
        ("num_res_blocks = 1", "num_res_blocks = 0", "error: network.num_res_blocks: "),
        ("dropout = 0.1", "dropout = 1.0", "error: network.dropout: "),
        ("out_ch = 1", "out_ch = 1\nwidth = 3", "unknown field `width`"),
        ("in_dim = 28", "in_dim = 0", "error: network.in_dim: "),
        ("in_dim = 28", "in_dim = 65536", "error: network.in_dim: "),
        ("in_ch = 1", "in_ch = 0", "error: network.in_ch: "),
        ("embed_ch_mult = 4", "embed_ch_mult = 0", "error: network.embed_ch_mult: "),
    ] {
        changed_config("smalldiffusion-unet-small", &file, &[(from, to)]);
        // Without data, so that what is let through fails at once rather than trains.
        fail(&["train", "--config", &file, "--data", &none, "--out", &none], expected);
    }
    let sampling = (
        "[sampling.sampler]",
        "[sampling.schedule]\nkind = \"flow\"\nn = 9\nt_min = 0.1\nt_max = 1.0\n\n[sampling.sampler]",
    );
    changed_config("smalldiffusion-unet-small", &file, &[sampling]);
    fail(&["train", "--config", &file, "--out", &none], "error: sampling.schedule: ");
    assert!(!Path::new(&none).exists());
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let (_guard, path) = folder();
    let run = path("run");
    train("swissroll", &run, &["--steps", "2"]);
    let config = path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[16, 128, 128, 128, 128, 16]", "[16, 64, 16]")).unwrap();
    fail(&["sample", &run], "holds weights for the network `{ dim = 2, hidden_dims = [16, 128");
    fs::write(&config, text.replace("\"eps\"", "\"v\"")).unwrap();
    fail(&["sample", &run], "holds weights for the prediction `eps`, not for `v`");
    fs::write(&config, text.replace("sigma_max = 10.0", "sigma_max = 20.0")).unwrap();
    fail(&["sample", &run], "holds weights for the schedule");
    fs::write(&config, &text).unwrap();
    let weights = path("run/checkpoints/step-00000002/ema.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    // The one from before the first step is whole.
    let output = diffusion(&["sample", &run, "--count", "2"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("ema.safetensors is damaged: it has"), "{errors}");
    fail(&["sample", &run, "--checkpoint", "2", "--overwrite"], "ema.safetensors is damaged: it has");
    fs::remove_dir_all(path("run/checkpoints")).unwrap();
    fail(&["sample", &run, "--overwrite"], "holds no checkpoint");
}

#[test]
fn the_datasaurus_is_read_from_its_table() {
    let (_guard, path) = folder();
    let (table, run) = (path("table.tsv"), path("run"));
    let rows: String = (0..20).map(|i| format!("dino\t{}\t{}\naway\t0\t0\n", 30 + i, 70 - i)).collect();
    fs::write(&table, format!("dataset\tx\ty\n{rows}")).unwrap();
    train("datasaurus", &run, &["--data", &table, "--steps", "3"]);
    // Without the table there is no background, and that is all.
    fs::rename(&table, path("away.tsv")).unwrap();
    succeed(&["sample", &run, "--count", "3", "--steps", "2", "--out", &path("alone.png")]);
    // Twenty points, each fifteen times an epoch.
    assert_eq!(metrics(&run).iter().map(|line| line.1).collect::<Vec<_>>(), [256, 300, 556]);
}

/// Dropout, which draws from the device's generator, included.
#[test]
fn a_unet_s_run_is_repeated_by_its_configuration() {
    let (_guard, path) = folder();
    let (file, data) = (path("small.toml"), path("data"));
    write_idx(&data);
    let (small, steps) = (("ch_mult = [1, 2, 2]", "ch_mult = [1]"), ("steps = 20\n", "steps = 2\n"));
    let few = [small, steps, ("count = 64", "count = 2"), ("batch_size = 32", "batch_size = 2")];
    changed_config("smalldiffusion-unet-small", &file, &few);
    let train = |out: &str, more: &[&str]| {
        let run = path(out);
        let arguments = ["train", "--config", &file, "--data", &data, "--out", &run, "--steps", "3"];
        succeed(&[&arguments[..], more].concat());
        metrics(&run)
    };
    let first = train("first", &[]);
    assert_eq!(first, train("again", &[]));
    assert_ne!(first, train("other", &["--seed", "4"]));
    let without = fs::read_to_string(&file).unwrap().replace("dropout = 0.1", "dropout = 0.0");
    fs::write(&file, without).unwrap();
    assert_ne!(first, train("without", &[]), "dropout changes nothing");
}

#[test]
fn weights_go_out_and_come_back() {
    let (_guard, path) = folder();
    let (run, file, back, further) = (path("run"), path("out.safetensors"), path("back"), path("further"));
    train("tree", &run, &["--steps", "40", "--batch-size", "64"]);
    let told = succeed(&["export", &run, "--out", &file]);
    assert!(
        told.contains("ConditionalMLP(dim=2, hidden_dims=(16, 128, 256, 128, 16), cond_dim=16"),
        "{told}"
    );
    fail(&["export", &run, "--out", &file], "exists already");
    succeed(&["import", &file, "--as", "tree", "--out", &back]);
    let sample = |run: &str, more: &[&str]| {
        let out = path("samples.safetensors");
        let sample = ["sample", run, "--count", "5", "--seed", "2", "--out", &out, "--overwrite"];
        succeed(&[&sample[..], more].concat());
        fs::read(out).unwrap()
    };
    assert!(sample(&run, &[]) == sample(&back, &[]), "the imported weights draw other samples");
    assert!(
        sample(&run, &["--no-ema"]) != sample(&back, &["--no-ema"]),
        "the EMA weights were not what was exported"
    );
    succeed(&["export", &run, "--out", &file, "--overwrite", "--no-ema"]);
    succeed(&["import", &file, "--as", "tree", "--out", &back, "--overwrite"]);
    assert!(sample(&run, &["--no-ema"]) == sample(&back, &[]), "the last step's weights draw other samples");

    succeed(&["train", "--init-from", &back, "--out", &further, "--steps", "2"]);
    // At a rate that changes no weight: the last step's weights are trained on, not their EMA.
    succeed(&["train", "--init-from", &run, "--out", &path("same"), "--steps", "1", "--lr", "1e-30"]);
    assert!(
        sample(&path("same"), &["--no-ema"]) == sample(&run, &["--no-ema"]),
        "other weights are trained on"
    );
    let (begun, continued) = (metrics(&run)[0].2, metrics(&further)[0].2);
    assert!(
        continued < 0.95 * begun,
        "the loss begins at {continued} as if nothing had been learned: {begun}"
    );
    fail(
        &["train", "--init-from", &back, "--out", &back, "--overwrite", "--steps", "1"],
        "which it is made from",
    );
    fail(&["train", "--init-from", &path("none")], "run's folder");
    succeed(&["export", &run, "--overwrite"]);
    let inside = path("run/state_dict.safetensors");
    fail(&["import", &inside, "--as", "tree", "--out", &run, "--overwrite"], "which it is made from");
    fail(&["sample", &run, "--out", &inside], "exists already");
    fail(&["sample", &run, "--out", &inside, "--overwrite"], "holds no samples, so it is not replaced");
    assert!(Path::new(&inside).is_file() && Path::new(&run).join("config.toml").is_file());
}

#[test]
fn foreign_files_are_refused_with_a_sentence() {
    let (_guard, path) = folder();
    let (run, file, out) = (path("run"), path("out.safetensors"), path("imported"));
    train("swissroll", &run, &["--steps", "1"]);
    succeed(&["export", &run, "--out", &file]);
    let bytes = fs::read(&file).unwrap();
    let no = |contents: &[u8], preset: &str, expected: &str| {
        let wrong = path("wrong.pth");
        fs::write(&wrong, contents).unwrap();
        fail(&["import", &wrong, "--as", preset, "--out", &out], expected);
        assert!(!Path::new(&out).exists(), "a folder is left behind");
    };
    no(b"dear reader", "swissroll", "wrong.pth");
    no(b"", "swissroll", "wrong.pth");
    no(&bytes[..bytes.len() / 2], "swissroll", "wrong.pth");
    no(&bytes, "tree", "tensor `cond_embed.embeddings.weight` of shape [65, 16] is missing");
    no(&bytes, "tree", "tensor `net.0.weight` has shape [16, 4], expected [16, 20]");
    no(&bytes, "tree", "tensor `net.12.weight` of shape [2, 16] is not in the network");
    fail(&["import", &path("none.pth"), "--as", "tree", "--out", &out], "none.pth");
}

#[test]
fn the_weights_in_a_checkpoint_are_found_and_the_rest_is_named() {
    let (_guard, path) = folder();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../diffusion-weights/tests/data");
    let config = path("config.toml");
    let text = succeed(&["train", "swissroll", "--print-config"]);
    let sizes = ("hidden_dims = [16, 128, 128, 128, 128, 16]", "hidden_dims = [3, 4]");
    assert!(text.contains(sizes.0), "{text}");
    fs::write(&config, text.replace(sizes.0, sizes.1)).unwrap();
    let import = |name: &str, more: &[&str]| {
        let (file, out) = (format!("{data}/{name}"), path("imported"));
        let arguments = ["import", &file, "--config", &config, "--out", &out, "--overwrite"];
        let output = diffusion(&[&arguments[..], more].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {errors}");
        let weights = fs::read(path("imported/checkpoints/step-00000000/ema.safetensors")).unwrap();
        (String::from_utf8(output.stdout).unwrap() + &errors, weights)
    };
    let (_, expected) = import("mlp.pth", &[]);
    for (name, more, said) in [
        ("checkpoint-plain.pth", &[][..], &["`model`"][..]),
        ("checkpoint-objects.pth", &[], &["`state_dict`", "argparse.Namespace", "my_project.models.Net"]),
        ("checkpoint-legacy.pth", &[], &["`model`"]),
        ("checkpoint-negative.pth", &[], &[]),
        ("checkpoint-deflated.pth", &[], &["`model`", "18 other tensors"]),
        ("checkpoint-several.pth", &["--key", "state.model"], &["`state.model`"]),
        ("checkpoint-list.pth", &["--key", "0"], &["`0`"]),
    ] {
        let (told, weights) = import(name, more);
        assert!(weights == expected, "{name} has other weights");
        assert!(said.iter().all(|said| told.contains(said)), "{told}");
    }
    let (_, ema) = import("checkpoint-several.pth", &["--key", "state.ema"]);
    assert!(ema != expected, "the average's weights are the model's");
}

#[test]
fn color_pictures_are_read_from_cifar_s_files_and_from_folders() {
    let (_guard, path) = folder();
    let (file, run, data) = (path("small.toml"), path("run"), path("cifar"));
    let small = [
        ("ch = 128", "ch = 32"),
        ("ch_mult = [1, 2, 2, 2]", "ch_mult = [1]"),
        ("count = 64", "count = 2"),
        ("batch_size = 256", "batch_size = 2"),
    ];
    changed_config("cifar-unet", &file, &small);
    fs::create_dir(&data).unwrap();
    for batch in 1..=5 {
        let record = |i: usize| [&[i as u8][..], &[40 * i as u8; 3072]].concat();
        fs::write(path(&format!("cifar/data_batch_{batch}.bin")), [record(1), record(5)].concat()).unwrap();
    }
    succeed(&["train", "--config", &file, "--data", &data, "--out", &run, "--steps", "2"]);
    assert_eq!(metrics(&run).len(), 2);
    size_of_picture(Path::new(&run).join("samples.png"));
    let out = path("samples.safetensors");
    succeed(&["sample", &run, "--steps", "1", "--out", &out]);
    let bytes = fs::read(&out).unwrap();
    let start = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("start").map(spread).unwrap();
    assert!((34.0..36.0).contains(&start), "samples start from {start}, not from their own schedule's 35");
    fail(&["train", "--config", &file, "--data", &run, "--out", &path("no")], "data_batch_1.bin");

    let images = path("images");
    for class in ["cats", "dogs"] {
        fs::create_dir_all(path(&format!("images/{class}"))).unwrap();
        image::RgbImage::from_pixel(40, 50, image::Rgb([200, 10, 60]))
            .save(path(&format!("images/{class}/a.png")))
            .unwrap();
    }
    succeed(&["train", "--config", &file, "--images", &images, "--out", &path("folder"), "--steps", "2"]);
    assert_eq!(metrics(&path("folder")).len(), 2);
    fail(&["train", "--config", &file, "--images", &data, "--out", &path("no")], "cifar");
    fs::write(path("images/dogs/b.png"), "a letter").unwrap();
    fail(&["train", "--config", &file, "--images", &images, "--out", &path("no")], "b.png");
}

#[test]
fn latents_are_read_from_shards_and_written_as_tensors() {
    let (_guard, path) = folder();
    let (file, run, shards) = (path("small.toml"), path("run"), path("shards"));
    let small = [
        ("depth = 12", "depth = 1"),
        ("head_dim = 64", "head_dim = 4"),
        ("batch_size = 256", "batch_size = 2"),
    ];
    let few = [("count = 16", "count = 2"), ("steps = 20\n", "steps = 2\n"), ("shift = 0.0", "shift = 2.0")];
    changed_config("imagenet-dit", &file, &[&small[..], &few].concat());
    let bad = path("bad.toml");
    for (from, to) in [("scale = 0.18215", "scale = 1e-50"), ("shift = 0.0", "shift = nan")] {
        changed_config("imagenet-dit", &bad, &[(from, to)]);
        fail(&["train", "--config", &bad, "--data", &shards, "--out", &run], "error: data.");
    }
    fs::create_dir(&shards).unwrap();
    let values: Vec<u8> = (0..3 * 4096).flat_map(|i| (((i * 7) % 11) as f32 - 5.0).to_le_bytes()).collect();
    let labels: Vec<u8> = [7i64, 0, 999].iter().flat_map(|label| label.to_le_bytes()).collect();
    let latents =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![3, 4, 32, 32], &values).unwrap();
    let labels = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![3], &labels).unwrap();
    let shard = path("shards/0.safetensors");
    let plain = [("latent_mean", latents.clone()), ("label", labels.clone())];
    safetensors::serialize_to_file(plain, None, Path::new(&shard)).unwrap();
    let arguments = ["train", "--config", &file, "--data", &shards, "--out", &run, "--steps", "2"];
    fail(&arguments, "error: flip: ");
    let mirrored = [("latent_mean", latents.clone()), ("latent_mean_flip", latents), ("label", labels)];
    safetensors::serialize_to_file(mirrored, None, Path::new(&shard)).unwrap();
    succeed(&arguments);
    size_of_picture(Path::new(&run).join("samples.png"));
    let bytes = fs::read(Path::new(&run).join("samples.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (samples, start) = (tensors.tensor("samples").unwrap(), tensors.tensor("start").unwrap());
    assert_eq!((samples.shape(), start.shape()), (&[2, 4, 32, 32][..], &[2, 4, 32, 32][..]));
    // The untrained network puts out almost 0, so samples are what they start from, as an encoder would have them:
    // with a mean of −2/0.18215 = −11 and a standard deviation of 1/0.18215 = 5.5.
    let (start, samples) = (spread(start), spread(samples));
    assert!((0.9..1.1).contains(&start) && (11.5..13.0).contains(&samples), "{start} {samples}");
    // Of latents scaled to a variance of 0.33 with a mean of 2, noise of variance 1, and an output of 0.
    let loss = metrics(&run)[0].2;
    assert!((4.8..5.9).contains(&loss), "{loss}");
    // What it starts from does not depend on the steps after it.
    let read = |steps| {
        let out = path("again.safetensors");
        succeed(&["sample", &run, "--steps", steps, "--out", &out, "--overwrite"]);
        let bytes = fs::read(out).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        ["samples", "start"].map(|name| tensors.tensor(name).unwrap().data().to_vec())
    };
    let ([some, start], [others, again]) = (read("1"), read("3"));
    assert!(start == again && some != others);
}

/// The root of the mean square.
fn spread(view: safetensors::tensor::TensorView) -> f32 {
    let squares = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).powi(2));
    (squares.sum::<f32>() / (view.data().len() / 4) as f32).sqrt()
}

/// The lines of the doctor's tables that are marked as wrong, without their numbers.
fn wrong_lines(table: &str) -> Vec<&str> {
    let wrong = table.lines().filter(|line| line.ends_with("WRONG"));
    wrong.map(|line| line.split_whitespace().next().unwrap()).collect()
}

/// Against itself, which every build of the tests can do; against another backend below.
#[test]
fn the_doctor_finds_no_fault_but_injected_ones() {
    let doctor = ["doctor", "--backend", "flex", "--reference", "flex"];
    let unknown = ["--preset", "swissroll", "--inject-fault", "net.9"];
    fail(&[&doctor[..], &unknown].concat(), "no layer is called \"net.9\"; there are net.0, net.2, ");
    let told = succeed(&doctor);
    assert!(told.starts_with("device: flex on this machine's processor, "), "{told}");
    for network in ["time-input-mlp", "conditional-mlp", "conditional-dit", "conditional-unet"] {
        assert!(told.lines().any(|line| line.starts_with(network)), "{network} is not in {told}");
    }
    assert_eq!(wrong_lines(&told), [""; 0]);
    assert!(told.contains("\nverdict: every layer agrees (largest error "), "{told}");

    let faulty = ["net.5", "blocks.modules.1.attn", "mid.attn.attn"];
    let output = diffusion(&[&doctor[..], &["--inject-fault", &faulty.join(",")]].concat());
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(wrong_lines(&told), faulty, "{told}");
    assert!(
        told.contains("\nverdict: 3 layers are wrong: net.5 (forward 1.0e-2, tolerance 1e-4) of time"),
        "{told}"
    );
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("error: flex does not compute what flex computes")
    );
}

#[cfg(feature = "ndarray")]
#[test]
fn the_doctor_holds_cpu_backends_against_each_other() {
    for backend in ["flex", "ndarray"] {
        let told = succeed(&["doctor", "--backend", backend, "--preset", "tree"]);
        assert!(told.contains("cond_embed") && wrong_lines(&told).is_empty(), "{told}");
        let other = if backend == "flex" { "ndarray" } else { "flex" };
        assert!(told.contains(&format!("\nreference: {other} on ")), "{told}");
        assert!(!told.contains("largest error 0.0e0"), "nothing was compared: {told}");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn the_doctor_names_the_gpu_and_its_driver() {
    let output = diffusion(&["doctor", "--backend", "wgpu", "--preset", "tree"]);
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let required = std::env::var("DIFFUSION_REQUIRE_WGPU").is_ok_and(|value| value == "1");
    if !required && errors.contains("finds no GPU") {
        return;
    }
    assert!(output.status.success(), "{told}{errors}");
    let device = told.lines().next().unwrap();
    assert!(device.contains(") through ") && device.contains(", driver "), "{device}");
    assert!(told.contains("verdict: every layer agrees"), "{told}");
}

/// Channels, classes, levels and the size of batches follow from the images, and are printed and kept.
#[test]
fn settings_follow_from_a_folder_of_images() {
    let (_guard, path) = folder();
    let images = path("images");
    for (class, brightness) in [("cats", 40), ("dogs", 200)] {
        fs::create_dir_all(path(&format!("images/{class}"))).unwrap();
        for i in 0..3 {
            let gray = image::Luma([brightness + 10 * i]);
            let file = path(&format!("images/{class}/{i}.png"));
            image::GrayImage::from_pixel(20, 30, gray).save(file).unwrap();
        }
    }
    let config = succeed(&["train", "--images", &images, "--image-size", "16", "--print-config"]);
    for line in ["preset = \"images\"", "batch_size = 6", "in_dim = 16", "in_ch = 1", "ch_mult = [1, 2]"] {
        assert!(config.lines().any(|found| found == line), "{line} is not in {config}");
    }
    assert!(config.contains("[network.labels]\nnum_classes = 2\n"), "{config}");

    let run = path("run");
    let small = ["--set", "network.depth=1", "--set", "sampling.steps=2", "--set", "sampling.count=2"];
    let arguments = ["train", "--images", &images, "--image-size", "16", "--network", "dit", "--out", &run];
    let output = diffusion(&[&arguments[..], &small, &["--steps", "2"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("patch_size = 2"), "{errors}");
    let kept = fs::read_to_string(path("run/config.toml")).unwrap();
    assert!(kept.contains("patch_size = 2\ndepth = 1\n") && kept.contains("kind = \"images\""), "{kept}");
    size_of_picture(Path::new(&run).join("samples.png"));

    fail(&["train", "--images", &images, "--image-size", "16x24"], "error: image_size: ");
    fail(&["train", "--images", &path("none"), "--image-size", "16"], "none");
    let output = diffusion(&["train", "--image-size", "16"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Classes have the names of their folders, which a run keeps: other folders are other classes.
#[test]
fn classes_are_known_by_their_names() {
    let (_guard, path) = folder();
    let images = path("images");
    let picture = |name: &str, brightness| {
        fs::create_dir_all(Path::new(&path(name)).parent().unwrap()).unwrap();
        image::GrayImage::from_pixel(16, 16, image::Luma([brightness])).save(path(name)).unwrap();
    };
    for (class, brightness) in [("cat", 40), ("dog", 200)] {
        picture(&format!("images/{class}/a.png"), brightness);
        fs::write(path(&format!("images/{class}/a.txt")), "a picture").unwrap();
    }
    picture("images/@eaDir/a.png", 90);
    let run = path("run");
    let small = [
        "--image-size",
        "16",
        "--network",
        "dit",
        "--set",
        "network.depth=1",
        "--set",
        "sampling.steps=1",
        "--set",
        "sampling.count=1",
    ];
    let output =
        diffusion(&[&["train", "--images", &images, "--out", &run, "--steps", "1"][..], &small].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in ["classes: 0 cat, 1 dog", "left out: 2 .txt files, 1 @eaDir"] {
        assert_eq!(
            errors.lines().filter(|found| *found == line).count(),
            1,
            "{line} is not once in {errors}"
        );
    }
    let kept = fs::read_to_string(path("run/config.toml")).unwrap();
    assert!(kept.contains("classes = [\"cat\", \"dog\"]\n"), "{kept}");

    let drawn = |labels: &str| {
        let out = path(&format!("{labels}.safetensors"));
        let arguments = ["sample", &run, "--labels", labels, "--count", "2", "--steps", "2", "--out", &out];
        succeed(&arguments);
        fs::read(&out).unwrap()
    };
    assert_eq!(drawn("dog,cat"), drawn("1,0"));
    let asked =
        ["sample", &run, "--labels", "dog,0", "--count", "1", "--steps", "1", "--out", &path("asked.png")];
    let errors = diffusion(&asked).stderr;
    assert!(String::from_utf8_lossy(&errors).contains("1 dog, 0 cat"));
    fail(&["sample", &run, "--labels", "bird"], "0 cat, 1 dog");
    fail(&["sample", &run, "--labels", "2"], "0 cat, 1 dog");

    picture("images/bird/a.png", 9);
    fail(&["train", "--resume", &run, "--steps", "2"], "[bird] appeared");
    fs::remove_dir_all(path("images/cat")).unwrap();
    fail(&["train", "--resume", &run, "--steps", "2"], "`bird` appeared; data.classes `cat` vanished");
    picture("images/cat/a.png", 40);
    fs::remove_dir_all(path("images/bird")).unwrap();
    succeed(&["train", "--resume", &run, "--steps", "2"]);
}

#[test]
fn every_setting_can_be_changed_by_its_path() {
    let (_guard, path) = folder();
    let run = path("run");
    let more = ["--steps", "2", "--set", "training.clip_norm=0.5", "--set", "network.hidden_dims=[8, 8]"];
    train("swissroll", &run, &more);
    let config = || fs::read_to_string(path("run/config.toml")).unwrap();
    assert!(
        config().contains("clip_norm = 0.5") && config().contains("hidden_dims = [8, 8]"),
        "{}",
        config()
    );
    succeed(&["train", "--resume", &run, "--steps", "3", "--set", "checkpoint_keep=9"]);
    assert!(config().contains("checkpoint_keep = 9"), "{}", config());
    let out = path("out.png");
    succeed(&[
        "sample",
        &run,
        "--count",
        "2",
        "--set",
        "sampling.schedule.kind=log-linear",
        "--set",
        "sampling.schedule.n=10",
        "--set",
        "sampling.schedule.sigma_min=0.1",
        "--set",
        "sampling.schedule.sigma_max=5",
        "--out",
        &out,
    ]);
    fail(&["train", "--set", "network.depth=3", "--out", &path("no")], "error: network.depth: unknown field");
    fail(&["train", "--set", "training.lr", "--out", &path("no")], "error: training.lr: expected key=value");
    fail(&["train", "--resume", &run, "--set", "network.hidden_dims=[9]"], "holds weights for the network");
}

/// A hint is a command that can be typed where the program was called.
#[test]
fn hints_name_the_program_as_it_was_called() {
    let (_guard, path) = folder();
    let hint = |invocation: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diffusion"));
        command.args(["sample", &path("none")]).env_remove("DIFFUSION_INVOCATION");
        let output = command.envs(invocation.map(|name| ("DIFFUSION_INVOCATION", name))).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(hint(None).contains("`diffusion train`"), "{}", hint(None));
    assert!(hint(Some("cargo xtask")).contains("`cargo xtask train`"));
}

#[test]
fn help_lists_presets_and_defaults() {
    let help = succeed(&["train", "--help"]);
    for text in
        ["- fashion-unet-small:", "Points on a spiral", "[default: flex]", "[default: swissroll", "KEY=VALUE"]
    {
        assert!(help.contains(text), "{text} is not in {help}");
    }
}
