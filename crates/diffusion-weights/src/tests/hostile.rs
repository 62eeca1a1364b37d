//! Files that are damaged, or made to do harm.

use super::assemble::*;
use super::*;
use crate::error::MAX_HEADER;
use std::fs;
use std::slice::from_ref;
use std::time::{Duration, Instant};

/// What is said of a file, its name left out.
fn refusal(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let error = import(mlp(), file.path()).map(|_| ()).unwrap_err().to_string();
    let name = file.path().display().to_string();
    error.strip_prefix(&name).unwrap_or_else(|| panic!("`{error}` does not name the file")).trim().to_string()
}

#[track_caller]
fn assert_refused(bytes: &[u8], expected: &str) {
    let refusal = refusal(bytes);
    assert!(refusal.contains(expected), "`{refusal}` does not say `{expected}`");
}

/// A network with the weights in the bytes of a file, those under `key`.
fn import_at(bytes: &[u8], key: Option<&str>) -> Result<(Mlp<Flex>, Taken), WeightsError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    import_state_dict_at(mlp(), &names(), &[], file.path(), key)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn exported() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    export(&mlp(), file.path()).unwrap();
    fs::read(file.path()).unwrap()
}

#[test]
fn nothing_is_run() {
    let call = |global: Vec<u8>| torch(&[global, tuple(&[text("true")]), b"R".to_vec()].concat(), &[]);
    assert_refused(&call(global("os", "system")), "would run `os.system`: not a state dict; refused");
    assert_refused(&call(global("builtins", "eval")), "would run `builtins.eval`");
    let named = [text("posix"), text("system"), b"\x93".to_vec()].concat();
    assert_refused(&call(named), "would run `posix.system`");
    // As a dict's value, where nothing else can be meant.
    let good = tensor(1, 0, &[1], &[1]);
    assert_refused(&torch(&dict(&[("a", good.clone()), ("b", evil())]), &[1.0]), "objects of os.system");
    assert_refused(&torch(&dict(&[("model", evil()), ("epoch", int(3))]), &[1.0]), "`os.system`");
    // In the place of a tensor, or of its storage.
    let mut tensors = mlp_tensors();
    tensors[1].1 = evil();
    assert_refused(&torch(&dict(&tensors), &[1.0; 12]), "`net.0.bias` is an object of `os.system`");
    tensors[1].1 = tensor_in("nn.Evil", "0", 12, 0, &[3], &[1]);
    assert_refused(&torch(&dict(&tensors), &[1.0; 12]), "`net.0.bias` is a storage of a class of its own");
    // What `torch.save` writes of a whole model begins with its class; older instructions call by other means.
    let model = [global("torch.nn.modules.flatten", "Flatten"), b")\x81".to_vec()].concat();
    assert_refused(&torch(&model, &[]), "would run `torch.nn.modules.flatten.Flatten`");
    assert_refused(&torch(b"(S'true'\nios\nsystem\n", &[]), "would run `os.system`");
    assert_refused(&torch(b"(ios\nsystem\n", &[]), "would run `os.system`");
    assert_refused(&torch(b"(cos\nsystem\nS'true'\no", &[]), "would run `os.system`");
    let reconstructed = [global("copy_reg", "_reconstructor"), tuple(&[global("my", "Net"), b"N".to_vec()])];
    assert_refused(&torch(&[&reconstructed.concat()[..], b"R"].concat(), &[]), "would run `my.Net`");
}

/// As a value, a key, in a list, as the state of a dict, deep inside: beside weights they are passed over.
#[test]
fn objects_beside_weights_are_named_and_not_run() {
    let weights = dict(&mlp_tensors());
    let class = global("argparse", "Namespace");
    let namespace = [&class[..], b")\x81", &dict(&[("lr", int(3))]), b"b"].concat();
    for (name, body) in [
        ("os.system", dict(&[("model", weights.clone()), ("hook", evil())])),
        ("os.system", [&dict(&mlp_tensors())[..], &text("hook"), &evil(), b"s"].concat()),
        ("os.system", dict(&[("model", weights.clone()), ("list", [b"](", &evil()[..], b"e"].concat())])),
        ("argparse.Namespace", dict(&[("args", namespace), ("model", weights.clone())])),
    ] {
        let (_, taken) = import_at(&torch(&body, &[1.0; 12]), None).unwrap();
        assert_eq!((taken.tensors, &taken.not_run[..]), (6, &[name.to_string()][..]));
    }
    // Where nothing is left of them.
    for body in [
        [&weights[..], &evil(), b"b"].concat(),
        [&b"}"[..], &evil(), &int(1), b"s", &text("model"), &weights, b"s"].concat(),
    ] {
        assert_eq!(import_at(&torch(&body, &[1.0; 12]), None).unwrap().1.tensors, 6);
    }
}

#[test]
fn other_files_are_told_apart() {
    let mut tar = vec![b'0'; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, expected) in [
        (&b""[..], "is not a state dict: it is empty"),
        (b"GGUF", "it is a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"  \n<html>", "web page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "web page or XML"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (&tar, "tar archive"),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "NumPy array"),
        (b"\x08\x07\x12\x07pytorch\x1a\x032.1", "ONNX model"),
        (b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94.", "a pickle that torch.save has not written"),
        (&[0; 600], "zeros"),
        (b"{\"error\": \"not found\"}", "a text that begins with"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\x01\x02\x03", "it begins with [01, 02, 03], expected an archive of torch.save"),
    ] {
        assert_refused(bytes, expected);
    }
    assert_refused(&zip(&[member("weights.npy", "")]), "a zip archive of NumPy arrays");
    assert_refused(&zip(&[member("model.weights.h5", ""), member("config.json", "")]), "a Keras model");
    assert_refused(&zip(&[member("a/model.pth", "")]), "files of weights; unpack it first");
    assert_refused(&zip(&[member("word/document.xml", "<>")]), "with 0 files called data.pkl, expected one");
    let two = [members(b"}", &[]), vec![member("other/data.pkl", "}.")]].concat();
    assert_refused(&zip(&two), "with 2 files called data.pkl, expected one");
    let mut big = members(b"}", &[]);
    big[1] = member("archive/byteorder", "big");
    assert_refused(&zip(&big), "in the order \"big\", expected \"little\"");
    let folder = tempfile::tempdir().unwrap();
    assert!(import(mlp(), folder.path()).is_err());
}

#[test]
fn only_a_dict_of_tensors_is_a_state_dict() {
    let (good, empty) = (tensor(1, 0, &[1], &[1]), b"}".to_vec());
    let of = |body: &[u8]| torch(body, &[1.0]);
    assert_refused(&of(&good), "it holds a tensor, expected a dict of tensors");
    assert_refused(&of(&int(3)), "it holds an integer, expected a dict of tensors");
    // One that has none of the names is compared with the network.
    let inner = dict(&[("a", good.clone())]);
    let one = dict(&[("epoch", int(3)), ("model", inner), ("optimizer", empty.clone())]);
    assert_refused(&of(&one), "tensor `a` of shape [1] is not in the network");
    let none = dict(&[("epoch", int(3)), ("optimizer", empty.clone())]);
    assert_refused(&of(&none), "it holds no tensors; its keys begin with `epoch`, `optimizer`");
    assert_refused(&of(&empty), "tensor `net.0.bias` of shape [3] is missing");
    assert_refused(
        &of(&dict(&[("a", good.clone()), ("a", good)])),
        "cannot be read: `a` is the name of two tensors",
    );
}

/// Beside the weights they are passed over, as one of them is where both are the same.
#[test]
fn two_tensors_of_one_name_are_told_apart_from_damage() {
    let (first, second) = (tensor(12, 0, &[3], &[1]), tensor(12, 1, &[3], &[1]));
    let pair =
        |first: &Vec<u8>, second: &Vec<u8>| [("a.b", first.clone()), ("a", dict(&[("b", second.clone())]))];
    let weights = ("model", dict(&mlp_tensors()));
    let with = |items: &[(&str, Vec<u8>)]| import_at(&torch(&dict(items), &[1.0; 12]), None);
    assert_eq!(with(&[&pair(&first, &second)[..], from_ref(&weights)].concat()).unwrap().1.tensors, 6);
    let same = [first.clone(), b"q\x09".to_vec()].concat();
    let (_, taken) = with(&[&pair(&same, &b"h\x09".to_vec())[..], from_ref(&weights)].concat()).unwrap();
    assert_eq!((taken.tensors, taken.others), (6, 1));
    match with(&pair(&first, &second)) {
        Err(WeightsError::Unsupported { reason, .. }) => assert!(reason.contains("`b` in `a`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let mut mlp = mlp_tensors();
    mlp.push(("net.0", dict(&[("bias", second)])));
    match with(&mlp) {
        Err(WeightsError::Tensors { problems, .. }) => match &problems[..] {
            [TensorProblem::NotATensor { name, .. }] => assert_eq!(name, "net.0.bias"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    // A tensor beside something else of its name is the tensor.
    let mut mlp = mlp_tensors();
    mlp.push(("net.0", dict(&[("bias", int(3))])));
    assert_eq!(with(&mlp).unwrap().1.tensors, 6);
}

/// A file that is whole and not read is not called damaged.
#[test]
fn what_is_not_read_is_not_damaged() {
    let unsupported = |bytes: &[u8], expected: &str| match import_at(bytes, None) {
        Err(WeightsError::Unsupported { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}, expected {expected}"),
    };
    for (method, flags, expected) in [
        (14, 0, "LZMA"),
        (12, 0, "bzip2"),
        (93, 0, "Zstandard"),
        (9, 0, "Deflate64"),
        (77, 0, "method 77"),
        (99, 1, "encrypted"),
        (99, 0, "encrypted"),
        (8, 1, "encrypted"),
    ] {
        let mut members = members(&dict(&mlp_tensors()), &[1.0; 12]);
        (members[2].method, members[2].flags) = (method, flags);
        unsupported(&zip(&members), expected);
    }
    let mut big = members(b"}", &[]);
    big[1] = member("archive/byteorder", "big");
    unsupported(&zip(&big), "\"big\"");
    let float = [&b"}G"[..], &[0; 8], &tensor(1, 0, &[1], &[1]), b"s"].concat();
    unsupported(&torch(&float, &[1.0]), "begin with a number");
    let named = [&b"}"[..], b"C\x05bytes", &tensor(1, 0, &[1], &[1]), b"sN", &tensor(1, 0, &[1], &[1]), b"s"]
        .concat();
    for name in ["bytes", "None"] {
        assert_refused(
            &torch(&named, &[1.0]),
            &format!("tensor `{name}` of shape [1] is not in the network"),
        );
    }
    let arrays = [&b"}U\x01a"[..], &global("numpy._core.multiarray", "_reconstruct"), b")Rs"].concat();
    assert_refused(&torch(&arrays, &[]), "it holds no tensors, but NumPy arrays");
}

#[test]
fn tensors_must_lie_inside_their_storage() {
    let of = |tensor: Vec<u8>| torch(&dict(&[("net.0.bias", tensor)]), &[1.0; 6]);
    let leaves = "leaves its storage of 6 elements";
    assert_refused(
        &of(tensor(6, -1, &[3], &[1])),
        "the offset Int(-1), expected a storage and a whole number",
    );
    assert_refused(&of(tensor(6, 0, &[-3], &[1])), "a tensor has the size or stride -3, expected at least 0");
    assert_refused(&of(tensor(6, 5, &[3], &[-1])), "a tensor has the size or stride -1, expected at least 0");
    assert_refused(&of(tensor(6, 4, &[3], &[1])), leaves);
    assert_refused(&of(tensor(6, 0, &[3], &[3])), leaves);
    assert_refused(&of(tensor(6, 7, &[0], &[1])), leaves);
    assert_refused(&of(tensor(6, i64::MAX, &[3], &[1])), leaves);
    assert_refused(&of(tensor(6, 0, &[3], &[i64::MAX])), leaves);
    assert_refused(&of(tensor(6, 0, &[i64::MAX, i64::MAX], &[i64::MAX, i64::MAX])), leaves);
    assert_refused(&of(tensor(7, 0, &[3], &[1])), "holds 24 bytes, expected 7 elements of 4 bytes");
    assert_refused(&of(tensor(i64::MAX, 0, &[3], &[1])), "holds 24 bytes");
    assert_refused(&of(tensor(-6, 0, &[3], &[1])), "refers to stored elements in another way");
    assert_refused(&of(tensor(6, 0, &[3], &[1, 1])), "of shape [3] has strides [1, 1]");
    assert_refused(&of(tensor(6, 0, &[1; 9], &[1; 9])), "`net.0.bias` is a tensor of too many axes");
    assert_refused(&of(tensor_in("FloatStorage", "9", 6, 0, &[3], &[1])), "expected `data/9`");
    assert_refused(
        &of(tensor_in("FloatStorage", "../byteorder", 1, 0, &[1], &[1])),
        "expected `data/../byteorder`",
    );
    assert_refused(&of(tensor_in("DoubleStorage", "0", 6, 0, &[3], &[1])), "expected 6 elements of 8 bytes");
    // One number for 2⁴⁰: inside its storage, and refused for its shape before there is room made for it.
    assert_refused(&of(tensor(6, 0, &[1 << 40], &[0])), "has shape [1099511627776], expected [3]");
    assert_refused(
        &of(tensor(6, 0, &[1 << 62, 1 << 62], &[0, 0])),
        "has shape [4611686018427387904, 4611686018427387904]",
    );
    assert_refused(&of(tensor_in("LongStorage", "0", 3, 0, &[3], &[1])), "`net.0.bias` is of type I64");
    assert_refused(&of(tensor(6, 0, &[0], &[1])), "has shape [0], expected [3]");
}

#[test]
fn an_archives_directory_is_not_believed() {
    let good = || members(&dict(&[("a", tensor(1, 0, &[1], &[1]))]), &[1.0]);
    assert_refused(&zip(&good()), "tensor `a` of shape [1] is not in the network");
    let changed = |change: fn(&mut Member)| {
        let mut members = good();
        change(&mut members[2]);
        zip(&members)
    };
    for (file, expected) in [
        (changed(|m| m.method = 12), "`archive/data/0` is compressed by bzip2, method 12"),
        (changed(|m| m.flags = 1), "`archive/data/0` is encrypted"),
        (changed(|m| (m.size, m.compressed) = (5, 5)), "`archive/data/0` has 5 bytes from"), // one is the directory's
        (changed(|m| m.size = 5), "has 4 bytes in the archive, expected 5"),
        (
            changed(|m| (m.size, m.compressed) = (1 << 31, 1 << 31)),
            "`archive/data/0` has 2147483648 bytes from",
        ),
        (changed(|m| (m.size, m.compressed) = (u32::MAX, u32::MAX)), "`archive/data/0` has no 64-bit sizes"),
        (
            changed(|m| {
                (m.size, m.compressed) = (u32::MAX, u32::MAX);
                m.extra = [&[1, 0, 16, 0][..], &[0xff; 16]].concat();
            }),
            "`archive/data/0` has 18446744073709551615 bytes from",
        ),
        (changed(|m| m.offset = Some(1)), "`archive/data/0` is not at byte 1, where its directory has it"),
        (changed(|m| m.offset = Some(u32::MAX - 1)), "it points to 30 bytes at 4294967294"),
        (changed(|m| m.offset = Some(0)), "two of its files overlap"),
        (
            changed(|m| m.name = "archive/byteorder".to_string()),
            "its directory has `archive/byteorder` twice",
        ),
    ] {
        assert_refused(&file, expected);
    }
    // The end: too many files, too few, a directory elsewhere, and none.
    let file = zip(&good());
    let (start, size) =
        (file.len() - 22, |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
    let (length, at) = (size(start + 12), size(start + 16));
    let ending = |count, length, at| [&file[..start], &end(count, length, at)].concat();
    assert_refused(&ending(u16::MAX, length, at), "its directory has 3 files, expected 65535");
    assert_refused(&ending(2, length, at), "its directory has 3 files, expected 2");
    assert_refused(&ending(3, length - 1, at), "its directory is cut off");
    assert_refused(&ending(3, length, at + 1), "its directory is cut off");
    assert_refused(&ending(3, u32::MAX, at), "its directory has 4294967295 bytes, expected at most");
    assert_refused(&ending(3, length, u32::MAX), "expected an end before");
    assert_refused(&file[..start], "its end was not found");
}

/// The 64-bit end of a directory, to which the locator before the 32-bit one points.
#[test]
fn a_64_bit_end_is_not_believed() {
    let file = zip(&members(&dict(&[("a", tensor(1, 0, &[1], &[1]))]), &[1.0]));
    let start = file.len() - 22;
    let size = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (length, at) = (size(start + 12), size(start + 16));
    let locator = |at: u64| [&b"PK\x06\x07\0\0\0\0"[..], &at.to_le_bytes(), &[1, 0, 0, 0]].concat();
    let end64 = |count: u64, size: u64, start: u64| {
        let counts = [count, count, size, start].map(u64::to_le_bytes).concat();
        [&b"PK\x06\x06"[..], &[0; 20], &counts].concat()
    };
    let long = |end64: Vec<u8>, at: u64| [&file[..start], &end64, &locator(at), &end(3, 0, 0)].concat();
    let good = end64(3, length.into(), at.into());
    assert_refused(&long(good.clone(), start as u64), "tensor `a` of shape [1] is not in the network");
    assert_refused(&long(good.clone(), 0), "the 64-bit end of its directory is not where it says");
    assert_refused(&long(good, u64::MAX), "expected an end before");
    assert_refused(
        &long(end64(u64::MAX, length.into(), at.into()), start as u64),
        "has 3 files, expected 184467",
    );
    assert_refused(&long(end64(3, u64::MAX, 1), start as u64), "expected at most");
    assert_refused(&long(end64(3, 46, u64::MAX), start as u64), "expected an end before");
}

#[test]
fn a_pickle_is_bounded_in_size_depth_and_time() {
    let started = Instant::now();
    // Nesting a million deep, of tuples, of marks alone, and of dicts in dicts.
    let deep = 500_000;
    assert_refused(&torch(&[vec![b'('; deep], vec![b't'; deep]].concat(), &[]), "it holds a tuple");
    assert_refused(&torch(&[vec![b')'], [0x85].repeat(deep)].concat(), &[]), "it holds a tuple");
    assert_refused(&torch(&vec![b'('; 1_000_000], &[]), "takes more values than it has");
    assert_refused(&torch(&vec![b'('; 4_200_000], &[]), "holds more than 4194304 values");
    assert_refused(&torch(&b"}K\x00".repeat(400_000), &[]), "it holds an integer");
    let nested = [b"}K\x00".repeat(deep), vec![b'N'], vec![b's'; deep]].concat();
    assert_refused(&torch(&nested, &[]), "it holds no tensors; its keys begin with 0");
    assert_refused(&torch(&vec![b'N'; 4_200_000], &[]), "holds more than 4194304 values");
    assert_refused(
        &torch(&[b"N".to_vec(), vec![0x94; 4_200_000]].concat(), &[]),
        "holds more than 4194304 values",
    );
    assert_refused(
        &torch(&[b"Nq\x00".to_vec(), b"h\x00".repeat(4_200_000)].concat(), &[]),
        "more than 4194304",
    );
    // Each tuple has the one before ten times: 10³⁰ values, were they spelled out.
    let laughs: Vec<u8> =
        (0..30u8).flat_map(|i| [&b"("[..], &[b'h', i].repeat(10), &[b't', b'q', i + 1]].concat()).collect();
    assert_refused(&torch(&[b")q\x00".to_vec(), laughs].concat(), &[]), "it holds a tuple");
    // A hundred thousand keys with the same dict of a hundred thousand times the same tensor.
    let keys = |first: Vec<u8>| -> Vec<u8> {
        let same: Vec<u8> =
            (0..100_000).flat_map(|i| [&text(&i.to_string())[..], b"h\x07"].concat()).collect();
        [&b"}("[..], &text("first"), &first, b"q\x07", &same, b"u"].concat()
    };
    assert_refused(
        &torch(&keys(keys(tensor(1, 0, &[1], &[1]))), &[1.0]),
        "tensor `0` of shape [1] is not in the network",
    );
    // Five bytes each that make the same tensor once more.
    let function = [global("torch._utils", "_rebuild_tensor_v2"), b"q\x01".to_vec()].concat();
    let whole = tensor(1, 0, &[1], &[1]);
    let arguments = [&whole[function.len() - 2..whole.len() - 1], b"q\x02"].concat();
    let again = b"h\x01h\x02R".repeat(10_000);
    assert_refused(&torch(&[function, arguments, again].concat(), &[1.0]), "too short for its tensors");
    // A long line without an end, and strings that claim to be longer than the file.
    assert_refused(&torch(&[b"c".to_vec(), vec![b'x'; 1_000_000]].concat(), &[]), "its pickle is cut off");
    assert_refused(&torch(b"X\xff\xff\xff\xff", &[]), "its pickle is cut off");
    let large = vec![b'N'; 64 << 20];
    assert_refused(&torch(&large, &[]), "has 67108867 bytes, expected at most 67108864");
    // A list of pairs of which ever more dicts are made.
    let pairs = [b"ccollections\nOrderedDict\nq\x00(](", &b"NN\x86".repeat(10_000)[..], b"etq\x01"].concat();
    let copies = [pairs, b"h\x00h\x01R".repeat(10_000)].concat();
    assert_refused(&torch(&copies, &[]), "too short for its tensors");
    // One long key for many dicts: their paths would be many times the file.
    let key = [text(&"k".repeat(1000)), b"q\x00".to_vec()].concat();
    let many = [&b"}("[..], &key, b"}", &b"h\x00}".repeat(20_000), b"u"].concat();
    assert_refused(&torch(&many, &[]), "are longer than its pickle allows");
    assert!(started.elapsed() < Duration::from_secs(60), "took {:?}", started.elapsed());
}

#[test]
fn a_pickle_that_is_none_is_an_error() {
    for (body, expected) in [
        (&b"t"[..], "closes more collections than it opens"),
        (b"", "takes more values than it has"),
        (b"N\x86", "takes more values than it has"),
        (b"N(\x85", "takes more values than it has"),
        (b"}(Nu", "has a key without a value"),
        (b"N(NNu", "sets a key of None, expected a dict"),
        (b"h\x00", "refers to its value 0, which it does not have"),
        (b"NNR", "calls something that is no function"),
        (b"NN\x93", "names a function by something else than two strings"),
        (b"NQ", "refers to stored elements in another way"),
        (b"X\x01\x00\x00\x00\xff", "it holds bytes, expected a dict of tensors"),
        (b"\x8a\x09aaaaaaaaa", "it holds a number, expected a dict of tensors"),
        (b"\x8b\xff\xff\xff\xff", "its pickle is cut off"),
        (b"\x80\x06}", "its pickle is of protocol 6, expected 0 to 5"),
        (b"\xfe", "which is no instruction"),
        (b"NP0\n", "refers to stored elements in another way"),
        (b"N)a", "adds to None, expected a list"),
        (b"(o", "makes an object of no class"),
        (b"cos\nsystem\nNR", "with something else than arguments"),
        (b"}.}", "2 bytes after the end of its pickle, expected none"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "is made of 0 values, expected 4"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR", "a tensor in its pickle has None and the offset"),
    ] {
        assert_refused(&torch(body, &[]), expected);
    }
}

/// A header with this JSON, then `data` bytes.
fn safetensors(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn a_safetensors_header_is_not_believed() {
    let f32 = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let of = |tensors: &[String], data| safetensors(&format!("{{{}}}", tensors.join(",")), data);
    let a = f32("a", "[2]", 0, 8);
    assert_refused(&of(from_ref(&a), 8), "tensor `a` of shape [2] is not in the network");
    let metadata = r#""__metadata__":{"format":"pt"}"#.to_string();
    assert_refused(&of(&[metadata.clone(), a.clone()], 8), "tensor `a` of shape [2] is not in the network");
    for (file, expected) in [
        (of(from_ref(&a), 7), "it holds 7 bytes of tensors, expected 8 after its header"),
        (of(from_ref(&a), 9), "it holds 9 bytes of tensors, expected 8 after its header"),
        (of(&[a.clone(), a.clone()], 8), "`a` stands there twice"),
        (of(&[a.clone(), metadata.clone(), metadata], 8), "`__metadata__` stands there twice"),
        (of(&[a.clone(), f32("b", "[1]", 12, 16)], 16), "invalid offset for tensor `b`"),
        (of(&[a.clone(), f32("b", "[2]", 4, 12)], 12), "invalid offset for tensor `b`"),
        (of(&[f32("a", "[2]", 8, 0)], 8), "invalid offset for tensor `a`"),
        (of(&[f32("a", "[3]", 0, 8)], 8), "invalid shape"),
        (of(&[f32("a", "[4611686018427387904,4]", 0, 0)], 0), "overflow"),
        (of(&[f32("a", "[-1]", 0, 8)], 8), "its header cannot be understood"),
        (of(&[f32("a", "[1e30]", 0, 8)], 8), "its header cannot be understood"),
        (of(&[f32("a", "[0,0,0,0,0,0,0,0,0]", 0, 0)], 0), "tensor `a` has 9 axes, expected at most 8"),
        (of(&[a.replace("F32", "F33")], 8), "its header cannot be understood"),
        (safetensors(&"{\"a\":".repeat(100_000), 0), "its header cannot be understood"),
        (
            safetensors(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0),
            "its header cannot be understood",
        ),
        ([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "has 18446744073709551615 bytes, expected at most 2"),
        ([&3u64.to_le_bytes()[..], b"{}"].concat(), "its header has 3 bytes, expected at most 2"),
        ([&[8, 0, 0, 0, 0, 0, 0, 0][..], b"{\"\xff\":{}}"].concat(), "its header cannot be understood"),
        (safetensors(&format!("{{{}}}", " ".repeat(MAX_HEADER as usize)), 0), "expected at most 8388608"),
    ] {
        assert_refused(&file, expected);
    }
    assert_refused(&safetensors("{}", 0), "tensor `net.0.bias` of shape [3] is missing");
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let files = [(read("mlp.pth"), 1), (exported(), 1), (read("odd.pth"), 7), (read("dit.pth"), 37)];
    for (file, step) in files {
        for end in (0..file.len()).step_by(step) {
            assert!(!refusal(&file[..end]).is_empty());
        }
    }
}

/// Changes up to three bytes, seeded; what comes out may still be a state dict, of other values perhaps.
#[test]
fn changed_bytes_never_panic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut state = 1u64;
    let mut random = |below: usize| {
        // Numerical Recipes' generator; the high bits are good enough to choose bytes.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for good in [read("mlp.pth"), read("odd.pth"), exported()] {
        for _ in 0..1000 {
            let mut bad = good.clone();
            for _ in 0..1 + random(3) {
                let at = random(bad.len());
                bad[at] = [random(256) as u8, bad[at] ^ 1 << random(8), 0, 0xff][random(4)];
            }
            fs::write(file.path(), &bad).unwrap();
            refused += usize::from(import(mlp(), file.path()).is_err());
        }
    }
    assert!((500..3000).contains(&refused), "{refused} of 3000 were refused");
}
