//! The places in which the table's rows are typed.

use crate::pretrained::folders::{Folder as Pretrained, write_tensors};
use crate::pretrained::one_file::with_one_file;
use diffusion::weights::{NpyArray, write_npz};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// A folder to be prepared.
pub struct Place {
    /// As the table calls it.
    pub name: &'static str,
    /// Whether this build of the program can be in such a place.
    pub is_here: bool,
    /// Fills the folder; what it returns is held while the row is tried.
    pub prepare: fn(&Path, &Base) -> Option<File>,
}

/// What many places have, made once: `run` and `tree`, two small runs, `out.safetensors`, the weights of the first,
/// `imported`, a run of these, `kept`, one like the first with snapshots, and `pictures`, a run of three images, `model`, a pretrained one, and
/// `latents`, by it of these images; `eight`, a run of latents of eight channels.
pub struct Base(tempfile::TempDir);

impl Base {
    pub fn new() -> Self {
        let base = Self(tempfile::tempdir().unwrap());
        let small = [
            ("steps = 15000", "steps = 4"),
            ("batch_size = 2048", "batch_size = 16"),
            ("checkpoint_every = 5000", "checkpoint_every = 2"),
            ("hidden_dims = [16, 128, 128, 128, 128, 16]", "hidden_dims = [8]"),
            ("count = 2000", "count = 4"),
            ("steps = 20", "steps = 2"),
            ("[validation]\nevery = 5000\nexamples = 1024\nbins = 10\nper_bin = 32\n\n", ""),
        ];
        let labeled = [
            ("steps = 10000", "steps = 1"),
            ("hidden_dims = [16, 128, 256, 128, 16]", "hidden_dims = [8]"),
            ("count = 2000", "count = 4"),
        ];
        let path = base.0.path();
        config("swissroll", path, &small);
        diffusion(&["train", "--config", "config.toml", "--out", "run"], path);
        let snapshots = ["--set", "training.snapshots.every=1"];
        diffusion(&[&["train", "--config", "config.toml", "--out", "kept"], &snapshots[..]].concat(), path);
        diffusion(&["ema", "kept", "--width", "0.07", "--out", "kept/average.safetensors"], path);
        config("tree", path, &labeled);
        diffusion(&["train", "--config", "config.toml", "--out", "tree"], path);
        let undropped = ["--set", "network.labels.dropout=0.0"];
        diffusion(
            &[&["train", "--config", "config.toml", "--out", "undropped"], &undropped[..]].concat(),
            path,
        );
        diffusion(&["export", "run", "--out", "out.safetensors"], path);
        diffusion(&["import", "out.safetensors", "--config", "run/config.toml", "--out", "imported"], path);
        images(path, &["cat/a.png", "cat/b.png", "dog/a.png"]);
        let small = ["network.depth=1", "network.head_dim=4", "training.steps=1", "sampling.count=1"];
        let small = small.iter().flat_map(|setting| ["--set", setting]);
        let train = "train --images data --image-size 8 --network dit --out pictures".split(' ');
        diffusion(&Vec::from_iter(train.chain(small.clone())), path);
        copy(Pretrained::new("sd1").path(), &path.join("model"));
        diffusion(&["encode", "model", "--images", "data", "--size", "8"], path);
        latents(&path.join("other"), &[3, 8, 4, 4]);
        let about = path.join("other/data/encoded.toml");
        fs::copy(path.join("latents/encoded.toml"), &about).unwrap();
        edit_file(&about, "latent_shape = [4, ", "latent_shape = [8, ");
        let train = "train --latents other/data --network dit --out eight".split(' ');
        diffusion(&Vec::from_iter(train.chain(small)), path);
        base
    }

    /// `model`, changed.
    fn model(&self, to: &Path, changes: impl FnOnce(&Path)) -> Option<File> {
        self.copy("model", to);
        changes(&to.join("model"));
        None
    }

    fn copy(&self, name: &str, to: &Path) {
        copy(&self.0.path().join(name), &to.join(name));
    }

    /// A run with snapshots as `run`, changed.
    fn kept(&self, to: &Path, changes: impl FnOnce(&Path)) -> Option<File> {
        self.copy("kept", to);
        fs::rename(to.join("kept"), to.join("run")).unwrap();
        changes(&to.join("run"));
        None
    }

    /// `run`, changed.
    fn run(&self, to: &Path, changes: impl FnOnce(&Path)) -> Option<File> {
        self.copy("run", to);
        changes(&to.join("run"));
        None
    }
}

pub const PLACES: &[Place] = &[
    place("an empty folder", |_, _| None),
    place("a file `letter`", |path, _| write(path, "letter", b"dear reader")),
    place("a folder `mine`", |path, _| write(path, "mine/letter", b"dear reader")),
    place("a run and a folder `mine.png`", |path, base| {
        write(path, "mine.png/letter", b"dear reader");
        base.run(path, |_| ())
    }),
    // Built in or at hand.
    Place { is_here: !cfg!(feature = "wgpu"), ..place("a program without wgpu", |_, _| None) },
    Place { is_here: cfg!(feature = "wgpu"), ..place("a machine without a GPU", |_, _| None) },
    // Configurations. Data are not at hand, so that what is let through fails at once rather than trains.
    place("swissroll's `config.toml`", |path, _| config("swissroll", path, &[])),
    place("tree's `config.toml`", |path, _| config("tree", path, &[])),
    place("datasaurus's `config.toml`", |path, _| config("datasaurus", path, &[])),
    place("smalldiffusion-dit-small's `config.toml`", |path, _| {
        config("smalldiffusion-dit-small", path, &[HERE])
    }),
    place("fashion-dit-cond's `config.toml`", |path, _| config("fashion-dit-cond", path, &[HERE])),
    place("smalldiffusion-unet-small's `config.toml`", |path, _| {
        config("smalldiffusion-unet-small", path, &[HERE])
    }),
    place("smalldiffusion-dit-small's `config.toml` for 1000 × 1000 pixels", |path, _| {
        config("smalldiffusion-dit-small", path, &[HERE, ("in_dim = 28", "in_dim = 1000")])
    }),
    place("imagenet-dit's `config.toml`", |path, _| config("imagenet-dit", path, &[])),
    place("a `config.toml` without `[validation]`", |path, _| {
        let validation = "[validation]\nevery = 5000\nexamples = 1024\nbins = 10\nper_bin = 32\n";
        config("swissroll", path, &[(validation, "")])
    }),
    place("an empty `config.toml`", |path, _| write(path, "config.toml", b"")),
    place("a `config.toml` that is a letter", |path, _| write(path, "config.toml", b"dear reader,\n")),
    place("a `config.toml` that is a picture", |path, _| write(path, "config.toml", b"\x89PNG\r\n\x1a\n")),
    place("a folder `config.toml`", |path, _| write(path, "config.toml/letter", b"dear reader")),
    // Data.
    place("small networks in `cifar-unet.toml` and `imagenet-dit.toml`", |path, _| small(path)),
    place("images without labels", |path, _| {
        idx(path, 28, &[0; 12], &[("train-labels-idx1-ubyte", |_| None)])
    }),
    place("images of 30 × 30 pixels", |path, _| idx(path, 30, &[0; 12], &[])),
    place("images cut short", |path, _| {
        idx(path, 28, &[0; 12], &[("train-images-idx3-ubyte", |bytes| Some(bytes[..5_000].to_vec()))])
    }),
    place("images that go on", |path, _| {
        idx(path, 28, &[0; 12], &[("train-images-idx3-ubyte", |bytes| Some([bytes, b"more"].concat()))])
    }),
    place("images that are labels", |path, _| {
        idx(path, 28, &[0; 12], &[("train-images-idx3-ubyte", |_| Some(vec![0, 0, 8, 1, 0, 0, 0, 0]))])
    }),
    place("a header of 4294967295 images", |path, _| {
        idx(
            path,
            28,
            &[0; 12],
            &[("train-images-idx3-ubyte", |bytes| Some([&bytes[..4], &[255; 4], &bytes[8..]].concat()))],
        )
    }),
    place("labels beyond the classes", |path, _| idx(path, 28, &[0, 1, 10], &[])),
    place("two labels too many", |path, _| {
        idx(
            path,
            28,
            &[0; 12],
            &[("train-labels-idx1-ubyte", |bytes| Some([&bytes[..7], &[14], &bytes[8..], &[0, 0]].concat()))],
        )
    }),
    place("whole images and labels", |path, _| {
        config("fashion-dit-cond", path, &[HERE]);
        idx(path, 28, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[])
    }),
    place("CIFAR-10, a byte too long", |path, _| {
        small(path);
        cifar(path, 3073 * 2 + 1)
    }),
    place("CIFAR-10 with a label 11", |path, _| {
        small(path);
        cifar(path, 3073 * 2);
        let mut bytes = vec![0; 3073 * 2];
        bytes[3073] = 11;
        write(path, "data/data_batch_2.bin", &bytes)
    }),
    place("CIFAR-10 and a gray network", |path, _| {
        config("fashion-dit-small", path, &[HERE, ("kind = \"mnist\"", "kind = \"cifar\"")]);
        cifar(path, 3073 * 2)
    }),
    place("a folder without images", |path, _| {
        small(path);
        write(path, "data/letter", b"dear reader")
    }),
    place("an image that is a letter", |path, _| {
        images(path, &["a.png"]);
        write(path, "data/b.png", b"dear reader")
    }),
    place("an image cut short", |path, _| {
        images(path, &["a.png"]);
        let bytes = fs::read(path.join("data/a.png")).unwrap();
        write(path, "data/b.png", &bytes[..bytes.len() / 2])
    }),
    place("images beside folders", |path, _| images(path, &["a.png", "cats/a.png"])),
    place("images of eleven classes", |path, _| {
        small(path);
        let names: Vec<String> = (0..11).map(|class| format!("class-{class}/a.png")).collect();
        images(path, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }),
    place("images that are broken, and some that are of other formats", |path, _| {
        images(path, &["a.png"]);
        write(path, "data/b.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
        write(path, "data/c.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
        write(path, "data/d.png", b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf");
        write(path, "data/e.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
        write(path, "data/f.webp", b"dear reader")
    }),
    place("what systems put beside images, and no image", |path, _| {
        for name in ["__MACOSX/._a.png", "@eaDir/a.png", ".a.png", "Thumbs.db", "a.txt"] {
            write(path, &format!("data/{name}"), b"dear reader");
        }
        None
    }),
    place("a class of texts alone", |path, _| {
        images(path, &["cat/a.png"]);
        write(path, "data/dog/a.txt", b"dear reader")
    }),
    place("classes without images", |path, _| {
        images(path, &["cat/a.png"]);
        write(path, "data/dog/a.txt", b"dear reader");
        write(path, "data/owl/a.txt", b"dear reader")
    }),
    place("an image, and what came in the place of others", |path, _| {
        images(path, &["a.png", "d.png"]);
        write(path, "data/b.png", LFS);
        write(path, "data/c.jpg", b"<!DOCTYPE html><html>404</html>");
        let whole = fs::read(path.join("data/d.png")).unwrap();
        write(path, "data/d.png", &whole[..whole.len() - 20])
    }),
    place("an archive of images", |path, _| write(path, "data/photos.zip", b"PK\x03\x04")),
    place("images that Git LFS has not fetched", |path, _| {
        write(path, "data/train-images-idx3-ubyte", LFS);
        write(path, "data/data_batch_1.bin", LFS)
    }),
    place("floating-point images", |path, _| {
        write(path, "data/a.tif", include_bytes!("../../../diffusion-data/tests/pillow/float.tif"))
    }),
    place("images of other classes than in `config.toml`", |path, _| {
        images(path, &["bird/a.png", "cat/a.png"]);
        let classes = ("batch_size = ", "classes = [\"cat\", \"dog\"]\nbatch_size = ");
        config("fashion-dit-cond", path, &[HERE, ("kind = \"mnist\"", "kind = \"images\""), classes])
    }),
    place("a table", |path, _| write(path, "table.tsv", b"dataset\tx\ty\naway\t1\t2\nstar\t3\t4\n")),
    place("a table with other columns", |path, _| write(path, "table.tsv", b"name\tx\ty\ndino\t1\t2\n")),
    place("a table with a short line", |path, _| write(path, "table.tsv", b"dataset\tx\ty\ndino\t1\n")),
    place("a table with a word for a number", |path, _| {
        write(path, "table.tsv", b"dataset\tx\ty\ndino\tone\t2\n")
    }),
    place("latents of half the size", |path, _| {
        small(path);
        latents(path, &[3, 4, 16, 16])
    }),
    place("latents cut short", |path, _| {
        small(path);
        latents(path, &[3, 4, 32, 32]);
        let shard = path.join("data/0.safetensors");
        let bytes = fs::read(&shard).unwrap();
        write(path, "data/0.safetensors", &bytes[..bytes.len() / 2])
    }),
    place("a shard that is a letter", |path, _| {
        small(path);
        write(path, "data/0.safetensors", b"dear reader")
    }),
    place("two data sets of EMNIST", |path, _| {
        write(path, "data/emnist-byclass-train-images-idx3-ubyte", b"");
        write(path, "data/emnist-letters-train-images-idx3-ubyte", b"")
    }),
    place("images of FashionMNIST and MNIST, as torchvision keeps them", |path, _| {
        write(path, "data/FashionMNIST/raw/train-images-idx3-ubyte", b"");
        write(path, "data/MNIST/raw/train-images-idx3-ubyte", b"")
    }),
    place("a negative label", |path, _| {
        idx(
            path,
            28,
            &[0; 12],
            &[("train-labels-idx1-ubyte", |bytes| Some([&[0, 0, 9], &bytes[3..19], &[200]].concat()))],
        )
    }),
    Place {
        is_here: cfg!(unix),
        ..place("images that are a pipe", |path, _| {
            small(path);
            pipe(path, "data/train-images-idx3-ubyte")
        })
    },
    Place {
        is_here: cfg!(unix),
        ..place("a shard that is a pipe", |path, _| {
            small(path);
            pipe(path, "data/0.safetensors")
        })
    },
    Place {
        is_here: cfg!(target_os = "linux"),
        ..place("64 GiB without content", |path, _| {
            small(path);
            sparse(path, "data/train-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])
        })
    },
    Place {
        is_here: cfg!(target_os = "linux"),
        ..place("64 GiB of images", |path, _| {
            // 2²⁴ images of 64 × 64 pixels.
            sparse(path, "data/train-images-idx3-ubyte", &[0, 0, 8, 3, 1, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 64])
        })
    },
    place("CIFAR-10 and CIFAR-100", |path, _| {
        small(path);
        write(path, "data/train.bin", &[0; 3074]);
        cifar(path, 3073 * 2)
    }),
    place("CIFAR-10's archive", |path, _| {
        small(path);
        let batches =
            (1..=5).map(|batch| (format!("data_batch_{batch}.bin"), vec![0; 3073])).collect::<Vec<_>>();
        write(path, "data/cifar-10-binary.tar", &tar(&batches))
    }),
    place("CIFAR-10's archive, cut short", |path, _| {
        small(path);
        let archive = tar(&[("data_batch_1.bin".to_string(), vec![0; 3073])]);
        write(path, "data/cifar-10-binary.tar", &archive[..2000])
    }),
    place("CIFAR-10 pickled with a function that deletes files", |path, _| {
        small(path);
        write(path, "data/data_batch_1", b"\x80\x02}U\x04datacshutil\nrmtree\nU\x01.\x85Rs.")
    }),
    place("latents with a value that is not a number", |path, _| {
        small(path);
        latents(path, &[20, 4, 32, 32]);
        let shard = path.join("data/0.safetensors");
        let mut bytes = fs::read(&shard).unwrap();
        // The labels stand first, the widest type before the others; then the latents, mirrored or not.
        let latents = bytes.len() - 2 * 20 * 4 * 4 * 32 * 32;
        let nan = latents + 4 * (17 * 4 * 32 * 32 + 5);
        bytes[nan..nan + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        write(path, "data/0.safetensors", &bytes)
    }),
    // Runs and their checkpoints.
    place("a run", |path, base| {
        base.copy("out.safetensors", path);
        base.run(path, |_| ())
    }),
    place("samples and statistics", |path, _| {
        samples(path, "samples.safetensors", 2, None);
        samples(path, "nan.safetensors", 2, Some(5));
        samples(path, "wide.safetensors", 3, None);
        for (name, d) in [("two.npz", 2), ("three.npz", 3)] {
            let array = |shape: &[usize]| NpyArray {
                shape: shape.to_vec(),
                values: vec![0.0; shape.iter().product()],
            };
            write_npz(path.join(name), &[("mu", &array(&[d])), ("sigma", &array(&[d, d]))]).unwrap();
        }
        let array = NpyArray { shape: vec![1], values: vec![0.0] };
        write_npz(path.join("other.npz"), &[("x", &array)]).unwrap();
        write(path, "letter.npz", b"dear reader")
    }),
    place("a run with snapshots", |path, base| {
        base.copy("out.safetensors", path);
        base.copy("tree", path);
        base.kept(path, |_| ())
    }),
    place("a run with a damaged snapshot", |path, base| {
        base.kept(path, |run| flip(&run.join("snapshots/step-00000004/ema-0.1.safetensors")))
    }),
    place("a run with a snapshot whose metadata are damaged", |path, base| {
        base.kept(path, |run| flip(&run.join("snapshots/step-00000001/state.toml")))
    }),
    place("a run of trees, with labels", |path, base| {
        base.copy("tree", path);
        None
    }),
    place("a run of trees whose labels were never dropped", |path, base| {
        base.copy("undropped", path);
        fs::rename(path.join("undropped"), path.join("tree")).unwrap();
        None
    }),
    place("an imported run", |path, base| {
        base.copy("imported", path);
        None
    }),
    place("a run in which another process works", |path, base| {
        base.run(path, |_| ());
        let lock = File::create(path.join("run/.lock")).unwrap();
        lock.try_lock().unwrap();
        Some(lock)
    }),
    place("a run without checkpoints", |path, base| {
        base.run(path, |run| fs::remove_dir_all(run.join("checkpoints")).unwrap())
    }),
    place("a run from another without checkpoints", |path, base| {
        base.run(path, |run| {
            fs::remove_dir_all(run.join("checkpoints")).unwrap();
            edit(run, "checkpoint_keep = 3", "checkpoint_keep = 3\ninit_from = \"before\"");
        })
    }),
    place("a run without `config.toml`", |path, base| {
        base.run(path, |run| fs::remove_file(run.join("config.toml")).unwrap())
    }),
    place("a run with another run's `config.toml`", |path, base| {
        base.copy("tree", path);
        base.run(path, |run| {
            fs::copy(path.join("tree/config.toml"), run.join("config.toml")).unwrap();
        })
    }),
    place("a run whose `config.toml` has other widths", |path, base| {
        base.run(path, |run| edit(run, "hidden_dims = [8]", "hidden_dims = [9]"))
    }),
    place("a run whose `config.toml` has another prediction", |path, base| {
        base.run(path, |run| edit(run, "prediction = \"eps\"", "prediction = \"v\""))
    }),
    place("a run whose `config.toml` has another schedule", |path, base| {
        base.run(path, |run| edit(run, "sigma_max = 10.0", "sigma_max = 20.0"))
    }),
    place("a run whose `config.toml` has another seed", |path, base| {
        base.run(path, |run| edit(run, "seed = 0", "seed = 1"))
    }),
    place("a run whose `config.toml` has another learning rate", |path, base| {
        base.run(path, |run| edit(run, "lr = 0.001", "lr = 0.01"))
    }),
    place("a run of images, and more of them", |path, base| {
        base.copy("pictures", path);
        images(path, &["cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"])
    }),
    place("a run of images, and samples of another", |path, base| {
        base.copy("pictures", path);
        write(path, "samples/samples.toml", b"seed = 3\nmodel = \"another\"\n[sampling]\n");
        write(path, "samples/000000.png", b"a picture");
        None
    }),
    place("a run of images that are gone", |path, base| {
        base.copy("pictures", path);
        let here = base.0.path().join("data").to_str().unwrap().to_string();
        edit(&path.join("pictures"), &here, "/no/such/folder");
        None
    }),
    place("a byte changed in the newest checkpoint", |path, base| {
        base.run(path, |run| flip(&run.join("checkpoints/step-00000004/ema.safetensors")))
    }),
    place("a byte changed in the only checkpoint", |path, base| {
        base.run(path, |run| {
            only(run);
            flip(&run.join("checkpoints/step-00000004/ema.safetensors"));
        })
    }),
    place("the only checkpoint's weights cut short", |path, base| {
        base.run(path, |run| {
            only(run);
            let weights = run.join("checkpoints/step-00000004/model.safetensors");
            let bytes = fs::read(&weights).unwrap();
            fs::write(weights, &bytes[..100]).unwrap();
        })
    }),
    place("the only checkpoint's weights deleted", |path, base| {
        base.run(path, |run| {
            only(run);
            fs::remove_file(run.join("checkpoints/step-00000004/model.safetensors")).unwrap();
        })
    }),
    place("the only checkpoint's `state.toml` edited", |path, base| {
        base.run(path, |run| {
            only(run);
            let state = run.join("checkpoints/step-00000004/state.toml");
            let text = fs::read_to_string(&state).unwrap();
            fs::write(state, text.replacen("step = 4", "step = 3", 1)).unwrap();
        })
    }),
    place("the only checkpoint's `state.toml` cut short", |path, base| {
        base.run(path, |run| {
            only(run);
            let state = run.join("checkpoints/step-00000004/state.toml");
            let text = fs::read_to_string(&state).unwrap();
            fs::write(state, &text[..text.len() / 2]).unwrap();
        })
    }),
    // Pretrained models.
    place("a pretrained model", |path, base| {
        images(path, &["cat/a.png", "cat/b.png", "dog/a.png"]);
        base.copy("pictures", path);
        base.copy("latents", path);
        base.copy("eight", path);
        base.model(path, |_| ())
    }),
    place("a pretrained model, and weights in a folder `mine`", |path, base| {
        images(path, &["cat/a.png", "cat/b.png", "dog/a.png"]);
        fs::create_dir(path.join("mine")).unwrap();
        fs::copy(base.0.path().join("out.safetensors"), path.join("mine/model.safetensors")).unwrap();
        base.model(path, |_| ())
    }),
    place("a pretrained model without `vae`", |path, base| {
        images(path, &["cat/a.png"]);
        base.model(path, |model| fs::remove_dir_all(model.join("vae")).unwrap())
    }),
    place("a pretrained model without its scheduler", |path, base| {
        base.model(path, |model| fs::remove_dir_all(model.join("scheduler")).unwrap())
    }),
    place("a pretrained model without weights", |path, base| {
        base.model(path, |model| {
            fs::remove_file(model.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
        })
    }),
    place("a pretrained model with weights of another size", |path, base| {
        base.model(path, |model| {
            edit_file(&model.join("vae/config.json"), "\"latent_channels\": 4", "\"latent_channels\": 8");
        })
    }),
    place("a pretrained model of another kind", |path, base| {
        base.model(path, |model| {
            edit_file(&model.join("unet/config.json"), "\"act_fn\": \"silu\"", "\"act_fn\": \"relu\"");
        })
    }),
    place("a pretrained model of classes", |path, _| {
        copy(Pretrained::new("dit").path(), &path.join("model"));
        None
    }),
    place("a pretrained model of classes with names", |path, _| {
        let model = Pretrained::new("dit");
        let named = r#"{"id2label": {"3": "golden retriever", "4": "red fox, Vulpes vulpes"},"#;
        model.edit("model_index.json", |text| text.replacen('{', named, 1));
        copy(model.path(), &path.join("model"));
        None
    }),
    place("a pretrained model in one file", |path, _| {
        copy(with_one_file("sd2").0.path(), &path.join("model"));
        None
    }),
    place("a pretrained model in one file without tensors", |path, _| {
        let (model, file) = with_one_file("sd1");
        let bytes = fs::read(&file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let lost = ["model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.bias"];
        let kept = tensors.iter().filter(|(name, _)| !lost.contains(name));
        let junk = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap();
        let kept = kept.chain([("model.diffusion_model.junk", junk)]);
        safetensors::serialize_to_file(kept, None, &file).unwrap();
        copy(model.path(), &path.join("model"));
        None
    }),
    place("a pretrained model with changes of another", |path, base| {
        let pairs = (0..20).flat_map(|i| {
            let layer = format!("unet.down_blocks.7.attentions.{i}.proj_in");
            ["A", "B"].map(|which| (format!("{layer}.lora_{which}.weight"), vec![2, 2], vec![1.0; 4]))
        });
        write_tensors(&path.join("other.safetensors"), pairs.collect());
        base.model(path, |_| ())
    }),
    place("a pretrained model whose `model_index.json` is a letter", |path, base| {
        base.model(path, |model| drop(write(model, "model_index.json", b"dear reader")))
    }),
    place("a picture of a cat that has a caption", |path, base| captions(path, base, "cat/a.txt", b"a cat")),
    place("a caption of too many words", |path, base| {
        captions(path, base, "cat/a.txt", "cat ".repeat(100).as_bytes())
    }),
    place("a caption in Latin-1", |path, base| captions(path, base, "cat/a.txt", b"a cat\nin a caf\xe9")),
    place("a caption of 100 kB", |path, base| captions(path, base, "cat/a.txt", &[b'a'; 100_000])),
    place("captions that are a letter", |path, base| metadata(path, base, "dear reader")),
    place("captions cut short", |path, base| {
        metadata(path, base, "{\"file_name\": \"a.png\", \"text\": \"a cat\"}\n{\"file_name\": \"b.pn")
    }),
    place("captions without names", |path, base| {
        metadata(path, base, "\n{\"file\": \"a.png\", \"text\": \"a\"}")
    }),
    place("captions that one line lacks", |path, base| {
        metadata(
            path,
            base,
            "{\"file_name\": \"a.png\", \"text\": \"a\"}\n{\"file_name\": \"b.png\", \"txt\": \"b\"}",
        )
    }),
    place("captions under another key", |path, base| {
        metadata(path, base, "{\"file_name\": \"a.png\", \"prompt\": \"a\"}\n{\"file_name\": \"b.png\"}")
    }),
    place("captions that are numbers", |path, base| {
        metadata(path, base, "{\"file_name\": \"a.png\", \"text\": 3}")
    }),
    place("a caption of a picture that is gone", |path, base| {
        metadata(path, base, "{\"file_name\": \"c.png\", \"text\": \"a cat\"}")
    }),
    place("a caption of a picture elsewhere", |path, base| {
        metadata(path, base, "{\"file_name\": \"../dog/a.png\", \"text\": \"a dog\"}")
    }),
    place("two captions of a picture", |path, base| {
        captions(path, base, "cat/a.txt", b"a dog");
        metadata(path, base, "{\"file_name\": \"a.png\", \"text\": \"a cat\"}")
    }),
    place("captions that are a pipe", |path, base| {
        metadata(path, base, "");
        pipe(path, "data/cat/metadata.jsonl")
    }),
    place("captions of 64 GiB", |path, base| {
        metadata(path, base, "");
        vast(path, "data/cat/metadata.jsonl");
        None
    }),
    // Pipes, which are waited for, and files that are all hole.
    place("a run whose `config.toml` is a pipe", |path, base| {
        base.run(path, |run| drop(pipe(run, "config.toml")))
    }),
    place("a run whose `config.toml` has 64 GiB", |path, base| {
        base.run(path, |run| vast(run, "config.toml"))
    }),
    place("a link that leads nowhere", |path, _| {
        std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
        None
    }),
    place("a run whose `.lock` is a pipe", |path, base| base.run(path, |run| drop(pipe(run, ".lock")))),
    place("a run whose `metrics.jsonl` is a pipe", |path, base| {
        base.run(path, |run| drop(pipe(run, "metrics.jsonl")))
    }),
    place("a run whose only `state.toml` is a pipe", |path, base| {
        in_only(path, base, "state.toml", |run, name| drop(pipe(run, name)))
    }),
    place("a run whose only `state.toml` has 64 GiB", |path, base| in_only(path, base, "state.toml", vast)),
    place("a run whose only weights are a pipe", |path, base| {
        in_only(path, base, "ema.safetensors", |run, name| drop(pipe(run, name)))
    }),
    place("a run whose only weights have 64 GiB", |path, base| in_only(path, base, "ema.safetensors", vast)),
    place("weights whose file ends early", |path, base| {
        base.copy("out.safetensors", path);
        let bytes = fs::read(path.join("out.safetensors")).unwrap();
        write(path, "out.safetensors", &bytes[..bytes.len() - 8])
    }),
    place("a byte changed in the only checkpoint's optimizer", |path, base| {
        base.run(path, |run| {
            only(run);
            flip(&run.join("checkpoints/step-00000004/moment_1.safetensors"));
        })
    }),
    place("checkpoints of training scripts", |path, _| {
        for entry in fs::read_dir(WEIGHTS).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("checkpoint-") {
                fs::copy(entry.path(), path.join(name)).unwrap();
            }
        }
        config("swissroll", path, &[MLP])
    }),
    place("weights in whose archive a byte is changed", |path, _| {
        let mut bytes = fs::read(Path::new(WEIGHTS).join("mlp.pth")).unwrap();
        let name = b"mlp/data/4";
        // Behind the local header and its extra field.
        let at = bytes.windows(name.len()).position(|bytes| bytes == name).unwrap();
        let extra = u16::from_le_bytes([bytes[at - 2], bytes[at - 1]]);
        bytes[at + name.len() + usize::from(extra)] ^= 1;
        write(path, "weights.pth", &bytes);
        config("swissroll", path, &[MLP])
    }),
    place("other files in the place of weights", |path, _| {
        write(path, "lfs.pth", LFS);
        write(path, "page.pth", b"<!DOCTYPE html><html>404: not found</html>");
        write(path, "packed.pth.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0");
        write(path, "keras.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0");
        write(path, "zeros.pth", &[0; 4096]);
        write(path, "empty.pth", b"")
    }),
];

/// What Git LFS leaves in the place of a file.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";

/// Where files of weights are that Python wrote.
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../diffusion-weights/tests/data");

/// The sizes of the network in them.
const MLP: (&str, &str) = ("hidden_dims = [16, 128, 128, 128, 128, 16]", "hidden_dims = [3, 4]");
/// Makes a file longer than any memory, though not on the disk.
fn vast(run: &Path, name: &str) {
    File::options().write(true).open(run.join(name)).unwrap().set_len(64 << 30).unwrap();
}

/// Presets of images read from `data`.
const HERE: (&str, &str) = ("path = \"/usr/share/datasets/fashion-mnist\"", "path = \"data\"");

const fn place(name: &'static str, prepare: fn(&Path, &Base) -> Option<File>) -> Place {
    Place { name, is_here: true, prepare }
}

/// Runs the program, which must succeed.
fn diffusion(arguments: &[&str], folder: &Path) -> String {
    let program = Command::new(env!("CARGO_BIN_EXE_diffusion")).args(arguments).current_dir(folder).output();
    let output = program.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The preset's configuration as `config.toml`, with some of its text changed.
fn config(preset: &str, path: &Path, changes: &[(&str, &str)]) -> Option<File> {
    fs::write(path.join("config.toml"), diffusion(&["train", preset, "--print-config"], path)).unwrap();
    changes.iter().for_each(|(from, to)| edit(path, from, to));
    None
}

/// The two presets of large networks, with small ones.
fn small(path: &Path) -> Option<File> {
    config("cifar-unet", path, &[("ch = 128", "ch = 32"), ("ch_mult = [1, 2, 2, 2]", "ch_mult = [1]")]);
    fs::rename(path.join("config.toml"), path.join("cifar-unet.toml")).unwrap();
    config("imagenet-dit", path, &[("depth = 12", "depth = 1"), ("head_dim = 64", "head_dim = 4")]);
    fs::rename(path.join("config.toml"), path.join("imagenet-dit.toml")).unwrap();
    None
}

fn edit(folder: &Path, from: &str, to: &str) {
    edit_file(&folder.join("config.toml"), from, to);
}

fn edit_file(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {}:\n{text}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Pictures, a pretrained model, and a file among the pictures.
fn captions(path: &Path, base: &Base, name: &str, bytes: &[u8]) -> Option<File> {
    images(path, &["cat/a.png", "cat/b.png", "dog/a.png"]);
    base.copy("model", path);
    write(path, &format!("data/{name}"), bytes)
}

/// The same with captions of cats.
fn metadata(path: &Path, base: &Base, text: &str) -> Option<File> {
    captions(path, base, "cat/metadata.jsonl", text.as_bytes())
}

fn write(path: &Path, name: &str, bytes: &[u8]) -> Option<File> {
    let file = path.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
    None
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Changes a byte in the middle.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// Leaves the newest checkpoint alone.
fn only(run: &Path) {
    for old in ["step-00000000", "step-00000002"] {
        fs::remove_dir_all(run.join("checkpoints").join(old)).unwrap();
    }
}

/// A run whose only checkpoint has `change` in the place of its file `name`.
fn in_only(path: &Path, base: &Base, name: &str, change: fn(&Path, &str)) -> Option<File> {
    base.run(path, |run| {
        only(run);
        change(run, &format!("checkpoints/step-00000004/{name}"));
    })
}

/// The bytes that a file is to have instead of those given, if it is to be there.
type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// `data` with square images of `side` pixels and their labels in IDX files, some of them changed.
fn idx(path: &Path, side: u8, labels: &[u8], changes: &[(&str, Change)]) -> Option<File> {
    let n = labels.len() as u8;
    let pixels = vec![128; labels.len() * usize::from(side) * usize::from(side)];
    let images = [&[0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, side, 0, 0, 0, side], &pixels[..]].concat();
    let labels = [&[0, 0, 8, 1, 0, 0, 0, n], labels].concat();
    for (name, bytes) in [("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)] {
        let change = changes.iter().find(|(changed, _)| *changed == name);
        if let Some(bytes) = change.map_or(Some(bytes.clone()), |(_, change)| change(&bytes)) {
            write(path, &format!("data/{name}"), &bytes);
        }
    }
    None
}

/// `data` with CIFAR-10's files for training, each of `length` bytes.
fn cifar(path: &Path, length: usize) -> Option<File> {
    for batch in 1..=5 {
        write(path, &format!("data/data_batch_{batch}.bin"), &vec![0; length]);
    }
    None
}

/// A pipe, to which nobody writes.
fn pipe(path: &Path, name: &str) -> Option<File> {
    write(path, name, b"");
    fs::remove_file(path.join(name)).unwrap();
    assert!(Command::new("mkfifo").arg(path.join(name)).status().unwrap().success());
    None
}

/// A file of 64 GiB and 16 bytes that takes no room on the disk.
fn sparse(path: &Path, name: &str, head: &[u8]) -> Option<File> {
    write(path, name, head);
    File::options().write(true).open(path.join(name)).unwrap().set_len((64 << 30) + 16).unwrap();
    None
}

/// A tar archive of these files.
fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(header);
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive
}

/// `data` with pictures of these names.
fn images(path: &Path, names: &[&str]) -> Option<File> {
    for name in names {
        let file = path.join("data").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        image::RgbImage::from_fn(40, 50, |x, y| image::Rgb([(x * y) as u8, x as u8, y as u8]))
            .save(file)
            .unwrap();
    }
    None
}

/// Eight samples of so many values, as `sample` writes them, of which one is not a number.
fn samples(path: &Path, name: &str, width: usize, nan: Option<usize>) {
    use safetensors::{Dtype, tensor::TensorView};
    let value = |i: usize| if Some(i) == nan { f32::NAN } else { i as f32 };
    let values: Vec<u8> = (0..8 * width).flat_map(|i| value(i).to_le_bytes()).collect();
    let values = TensorView::new(Dtype::F32, vec![8, width], &values).unwrap();
    let tensors = [("samples", values.clone()), ("start", values)];
    write(path, name, &safetensors::serialize(tensors, None).unwrap());
}

/// `data` with a shard of three latents of this shape.
fn latents(path: &Path, shape: &[usize]) -> Option<File> {
    use safetensors::{Dtype, tensor::TensorView};
    let values = vec![0; 4 * shape.iter().product::<usize>()];
    let labels = vec![0; 8 * shape[0]];
    let values = TensorView::new(Dtype::F32, shape.to_vec(), &values).unwrap();
    let labels = TensorView::new(Dtype::I64, vec![shape[0]], &labels).unwrap();
    let tensors = [("latent_mean", values.clone()), ("latent_mean_flip", values), ("label", labels)];
    write(path, "data/0.safetensors", &safetensors::serialize(tensors, None).unwrap())
}
