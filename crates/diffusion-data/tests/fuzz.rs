//! Damaged and hostile inputs of every reader: none panics, and none takes more memory than its input excuses.
//!
//! Inputs are drawn from a seed, so that a failure comes back. By default some thousands of each kind are tried; the
//! environment variable `FUZZ_INPUTS` sets another number, `FUZZ_SEED` another seed, and `FUZZ_KIND` a part of the names of those tried. See `docs/bad-input.md`.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "for the test harness, which shows it on demand")]
// To count what is allocated, an allocator must be one.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use diffusion_core::{
    random::{Purpose, Stream},
    watch::Watch,
};
use diffusion_data::{
    CaptionedLatents, Cifar10, Cifar100, CifarLabels, DataConfig, DatasaurusDozen, Latents, LatentsConfig,
    MnistLike, ModelInput, Split,
};
use flate2::{Compression, write::GzEncoder};
use safetensors::tensor::{Dtype, TensorView, serialize};

/// Counts the bytes that each thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may free what it holds after these are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that reading an input of `length` bytes may take: buffers of readers, and deflate makes at most some
/// thousand bytes of one. Sizes that are only claimed are millions of times that.
fn room(length: usize) -> isize {
    (4 << 20) + 3000 * length as isize
}

/// What the streams of these tests are for.
const DAMAGE: Purpose = Purpose(u64::MAX);

/// Numbers that follow from a seed.
struct Random(Stream);

impl Random {
    fn next(&mut self) -> u64 {
        let mut half = || self.0.below(1 << 32) as u64;
        half() << 32 | half()
    }

    fn below(&mut self, n: usize) -> usize {
        self.0.below(n.max(1))
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn choose<'a, T: ?Sized>(&mut self, among: &[&'a T]) -> &'a T {
        among[self.below(among.len())]
    }

    /// Small numbers, and those that arithmetic trips over.
    fn number(&mut self) -> u64 {
        let bits = self.below(64) as u32;
        match self.below(4) {
            0 => self.next() % 8,
            1 => (1 << bits) + self.next() % 3 - 1,
            2 => u64::MAX - self.next() % 3,
            _ => self.next() >> bits,
        }
    }

    /// A place in some bytes, mostly near the start or the end, where formats have their structure.
    fn place(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 | 1 => self.below(length.min(200)),
            2 => length - self.below(length.min(100)),
            _ => self.below(length + 1),
        }
        .min(length)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Damages some bytes; `words` are what the format is made of.
fn damage(bytes: &mut Vec<u8>, words: &[&[u8]], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let (length, kind) = (bytes.len(), random.below(9));
        let at = random.place(length);
        match kind {
            0 if at < length => bytes[at] ^= 1 << random.below(8),
            1 if at < length => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 | 3 => {
                let (number, width) = (random.number(), [1, 2, 4, 8][random.below(4)]);
                let (big, little) = (number.to_be_bytes(), number.to_le_bytes());
                let word = if kind == 2 { &big[8 - width..] } else { &little[..width] };
                let end = length.min(at + width);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            4 => drop(bytes.splice(at..at, random.choose(words).iter().copied())),
            5 => drop(bytes.drain(at..length.min(at + 1 + random.below(8)))),
            6 => {
                let end = length.min(at + random.below(64));
                let piece = bytes[at..end].to_vec();
                let to = random.place(bytes.len());
                bytes.splice(to..to, piece);
            }
            7 if random.one_in(3) => bytes.truncate(at),
            _ => {
                let n = 1 + random.below(4);
                let new = random.bytes(n);
                bytes.splice(at..at, new);
            }
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A kind of input.
struct Kind {
    name: &'static str,
    /// Valid inputs.
    good: fn() -> Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
    /// Makes an input of the format's parts instead of damaging a good one.
    make: fn(&mut Random) -> Vec<u8>,
    /// Reads the file with the input, and says whether it could.
    read: fn(&Path) -> bool,
    /// Of how many inputs one is compressed, if any.
    gzip: usize,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "IDX images",
        good: || vec![idx(&[0, 0, 8, 3], &[3, 2, 2], &[7; 12])],
        words: IDX,
        make: |random| {
            let dimensions = [random.number() as u32, random.number() as u32, random.number() as u32];
            let n = random.below(64);
            idx(&[0, 0, 8, 3], &dimensions, &random.bytes(n))
        },
        read: |path| MnistLike::from_images(path).is_ok(),
        gzip: 4,
    },
    Kind {
        name: "IDX labels",
        good: || vec![idx(&[0, 0, 8, 1], &[3], &[0, 9, 5]), idx(&[0, 0, 12, 2], &[3, 2], &[1; 24])],
        words: IDX,
        make: |random| {
            let magic = [0, 0, 8 + random.below(7) as u8, 1 + random.below(2) as u8];
            let dimensions = [random.number() as u32, random.number() as u32];
            let n = random.below(64);
            idx(&magic, &dimensions[..magic[3].into()], &random.bytes(n))
        },
        read: |path| {
            let images = path.with_extension("images");
            if !images.exists() {
                fs::write(&images, idx(&[0, 0, 8, 3], &[3, 2, 2], &[7; 12])).unwrap();
            }
            MnistLike::from_files(images, path).is_ok()
        },
        gzip: 4,
    },
    Kind {
        name: "CIFAR binary",
        good: || vec![[&[3], &[7; 3072][..]].concat()],
        words: &[&[0], &[9], &[10]],
        make: |random| {
            let label = random.below(12) as u8;
            [&[label], &vec![5; 3071 + random.below(3)][..]].concat()
        },
        read: |path| Cifar10::from_files(&[path]).is_ok(),
        gzip: 8,
    },
    Kind {
        name: "CIFAR pickle",
        good: || vec![pickle("fine_labels")],
        words: PICKLE,
        make: |random| {
            let mut bytes = b"\x80\x02}(".to_vec();
            for _ in 0..random.below(40) {
                bytes.extend(random.choose(PICKLE));
                if random.one_in(8) {
                    let n = random.below(5);
                    bytes.extend(random.bytes(n));
                }
            }
            bytes.extend(b"u.");
            bytes
        },
        // The file is called as the one with CIFAR-100's training images.
        read: |path| Cifar100::from_folder(path.parent().unwrap(), Split::Train, CifarLabels::Fine).is_ok(),
        gzip: 50,
    },
    Kind {
        name: "CIFAR archive",
        good: || {
            let labels = [&[3, 4], &[7; 3072][..]].concat();
            vec![
                tar(&[("c/train.bin", &labels), ("c/fine_label_names.txt", &b"cat\n".repeat(100))]),
                tar(&[("c/readme", b"text"), ("c/train", &pickle("fine_labels"))]),
            ]
        },
        words: &[b"train.bin", b"ustar", &[0; 512], b"00000006003\0"],
        make: |random| {
            let n = random.below(700);
            let content = random.bytes(n);
            let names = ["train.bin", "a/train", "meta", "other", ""];
            let files: Vec<(&str, &[u8])> =
                (0..random.below(4)).map(|_| (random.choose(&names[..]), &content[..])).collect();
            let mut bytes = tar(&files);
            if random.one_in(2) && bytes.len() > 1024 {
                let length = format!("{:011o}", random.number() >> 31);
                bytes[124..135].copy_from_slice(&length.as_bytes()[..11]);
                seal(&mut bytes[..512]);
            }
            bytes
        },
        read: |path| Cifar100::from_folder(path, Split::Train, CifarLabels::Fine).is_ok(),
        gzip: 8,
    },
    Kind {
        name: "table of points",
        good: || {
            vec![b"dataset\tx\ty\ndino\t55.3846\t97.1795\nstar\t50\t0\n\"dino\"\t-5e1\t96.0256\r\n".to_vec()]
        },
        words: &[b"dino", b"\t", b"\n", b"\"", b"1e400", b"nan", "\u{2028}".as_bytes()],
        make: |random| {
            let mut bytes = b"dataset\tx\ty\n".to_vec();
            let words: &[&[u8]] = &[b"dino", b"\t", b"\t", b"\n", b"1", b"-2.5e1", b"nan", b"\xff", b"\""];
            (0..random.below(40)).for_each(|_| bytes.extend(random.choose(words)));
            bytes
        },
        read: |path| DatasaurusDozen::read(path, "dino").is_ok(),
        gzip: 20,
    },
    Kind {
        name: "latents",
        good: || {
            let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
            let tensors = [
                ("latent_mean", view(Dtype::F16, &[3, 1, 1, 2], &[60; 12])),
                ("label", view(Dtype::U8, &[3], &[7, 0, 255])),
                ("text", view(Dtype::U8, &[3], &[1, 0, 1])),
                ("text_tokens", view(Dtype::F16, &[2, 1, 2], &[60; 8])),
            ];
            vec![serialize(tensors, None).unwrap()]
        },
        words: &[b"\"shape\":[", b"latent_mean", b"18446744073709551615", b"-1", b"{", b"]", b"F16"],
        make: |random| {
            let [n, c, end] = [random.number(), random.number(), random.number()];
            let header = format!(
                "{{\"latent_mean\":{{\"dtype\":\"F16\",\"shape\":[{n},{c},1,1],\"data_offsets\":[0,{end}]}},\
                 \"label\":{{\"dtype\":\"U8\",\"shape\":[{n}],\"data_offsets\":[{end},{end}]}}}}"
            );
            let length = header.len() as u64;
            [&length.to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat()
        },
        read: |path| {
            use diffusion_data::Dataset;
            let latents = Latents::open(path, LatentsConfig::default());
            let texts = CaptionedLatents::open(path, LatentsConfig::default());
            latents.is_ok_and(|latents| latents.first(1).is_ok())
                | texts.is_ok_and(|texts| texts.first(1).is_ok())
        },
        gzip: 0,
    },
    Kind {
        name: "configuration of data",
        good: || CONFIGS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        words: TOML,
        make: |random| {
            let mut text = b"kind = \"tree\"\n".to_vec();
            (0..random.below(12)).for_each(|_| text.extend(random.choose(TOML)));
            text
        },
        read: |path| {
            let Ok(text) = fs::read_to_string(path) else { return false };
            let Ok(config) = toml::from_str::<DataConfig>(&text) else { return false };
            // What is computed is opened too, unless that is meant to take long.
            let numbers = toml::to_string(&config).unwrap_or_default();
            let is_small = !numbers.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() > 3);
            let input = ModelInput { shape: vec![2], num_classes: None, text: None, class_names: Vec::new() };
            config.validate().is_ok()
                && (!is_small
                    || config.path().is_some()
                    || config.open(&input, 5, 0, &Watch::default()).is_ok())
        },
        gzip: 0,
    },
];

const IDX: &[&[u8]] =
    &[&[0, 0, 8, 3], &[0, 0, 8, 1], &[0xff; 4], &[0x7f, 0xff, 0xff, 0xff], &[0x1f, 0x8b, 8]];

const PICKLE: &[&[u8]] = &[
    b"(",
    b")",
    b"}",
    b"]",
    b"t",
    b"l",
    b"d",
    b"e",
    b"a",
    b"s",
    b"u",
    b"R",
    b"b",
    b".",
    b"N",
    b"0",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x88",
    b"\x89",
    b"\x93",
    b"\x94",
    b"q\x01",
    b"h\x01",
    b"h\x00",
    b"K\x01",
    b"M\x00\x0c",
    b"J\xff\xff\xff\xff",
    b"\x8a\x01\xff",
    b"I1\n",
    b"L1L\n",
    b"G\0\0\0\0\0\0\0\0",
    b"U\x04data",
    b"U\x0bfine_labels",
    b"U\x02u1",
    b"U\x01|",
    b"C\x02ab",
    b"X\x03\0\0\0\xc3\xa9a",
    b"T\xff\xff\xff\xff",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
    b"S'a\\x27'\n",
    b"p3\n",
    b"g3\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"c_codecs\nencode\n",
    b"cnumpy._core.numeric\n_frombuffer\n",
    b"ccollections\nOrderedDict\n",
    b"cos\nsystem\n",
];

const CONFIGS: &[&str] = &[
    "kind = \"swissroll\"\ntmin = 1.5\ntmax = 15.7\nn = 100\n",
    "kind = \"tree\"\nbranching_factor = 2\ndepth = 2\nnum_samples_per_path = 5\n",
    "kind = \"datasaurus\"\npath = \"table.tsv\"\nname = \"dino\"\n",
    "kind = \"mnist\"\npath = \"data\"\n",
    "kind = \"cifar\"\npath = \"data\"\nlabels = \"coarse\"\n",
    "kind = \"latents\"\npath = \"data\"\nscale = 0.18215\nshift = 0.0\n",
];

const TOML: &[&[u8]] = &[
    b"branching_factor = 2\n",
    b"depth = 2\n",
    b"depth = 64\n",
    b"depth = 4294967296\n",
    b"num_samples_per_path = 5\n",
    b"branching_factor = 9223372036854775807\n",
    b"n = -1\n",
    b"kind = \"swissroll\"\n",
    b"kind = 7\n",
    b"[a]\n",
    b"[[a]]\n",
    b"x = [1, [2]]\n",
    b"\"\"\"",
    b"= ",
    b"nan",
    b"-inf",
    b"1e400",
    b"0x7f",
    b"1979-05-27T07:32:00Z",
    b"'",
    b"#",
    b"\\u0000",
    b"{ a = 1 }",
    b"\r\n",
    b".",
    b"labels = \"fine\"\n",
];

fn idx(magic: &[u8; 4], dimensions: &[u32], body: &[u8]) -> Vec<u8> {
    let words = dimensions.iter().flat_map(|word| word.to_be_bytes());
    magic.iter().copied().chain(words).chain(body.iter().copied()).collect()
}

/// A file of CIFAR's Python version with one image.
fn pickle(key: &str) -> Vec<u8> {
    [
        b"\x80\x02}q\x01(U",
        &[key.len() as u8][..],
        key.as_bytes(),
        b"](K\x07eU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01K\x01M\0\x0c\x86",
        b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T\0\x0c\0\0",
        &[5; 3072],
        b"tbu.",
    ]
    .concat()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[156] = b'0';
        seal(&mut header);
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Gives a header of an archive its checksum.
fn seal(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// The number of inputs of each kind, and the seed.
fn settings() -> (u64, u64) {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse().unwrap());
    (number("FUZZ_INPUTS").unwrap_or(2000), number("FUZZ_SEED").unwrap_or(0))
}

#[test]
fn no_input_panics_or_takes_memory() {
    let (inputs, seed) = settings();
    let workers = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let only = std::env::var("FUZZ_KIND").unwrap_or_default();
    for (number, kind) in KINDS.iter().enumerate().filter(|(_, kind)| kind.name.contains(&only)) {
        let begun = Instant::now();
        let good = (kind.good)();
        let (read, peak) = thread::scope(|scope| {
            let work = |worker: u64| {
                let good = &good;
                move || {
                    (worker..inputs).step_by(workers as usize).map(|i| (i, i ^ seed << 32)).fold(
                        Worker::new(kind, good, number),
                        |mut worker, (i, seed)| {
                            worker.try_input(i, seed);
                            worker
                        },
                    )
                }
            };
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(work(worker))).collect();
            let workers: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            let read: u64 = workers.iter().map(|worker| worker.read).sum();
            (read, workers.iter().map(|worker| worker.peak).max().unwrap_or(0))
        });
        println!(
            "{}: {inputs} inputs, {read} read, at most {} KiB, {:.1} s",
            kind.name,
            peak >> 10,
            begun.elapsed().as_secs_f64()
        );
        // A reader that reads nothing, or all, has not been tried.
        assert!((inputs / 1000..inputs).contains(&read), "{}: {read} of {inputs} inputs are read", kind.name);
    }
}

/// Tries inputs of a kind in a folder of its own.
struct Worker<'a> {
    kind: &'a Kind,
    good: &'a [Vec<u8>],
    number: usize,
    _folder: tempfile::TempDir,
    path: PathBuf,
    read: u64,
    peak: isize,
}

impl<'a> Worker<'a> {
    fn new(kind: &'a Kind, good: &'a [Vec<u8>], number: usize) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        // As CIFAR-100 calls it.
        let path = folder.path().join("train");
        for good in good {
            fs::write(&path, good).unwrap();
            assert!((kind.read)(&path), "{}: a good input is not read", kind.name);
        }
        Self { kind, good, number, _folder: folder, path, read: 0, peak: 0 }
    }

    fn try_input(&mut self, i: u64, seed: u64) {
        let mut random = Random(Stream::new(seed, DAMAGE, i, self.number as u64));
        let mut input = match random.one_in(4) {
            true => (self.kind.make)(&mut random),
            false => self.good[random.below(self.good.len())].clone(),
        };
        if !random.one_in(20) {
            damage(&mut input, self.kind.words, &mut random);
        }
        if self.kind.name == "CIFAR archive" && input.len() >= 512 && !random.one_in(3) {
            seal(&mut input[..512]);
        }
        if self.kind.gzip > 0 && random.one_in(self.kind.gzip) {
            input = gzip(&input);
            if random.one_in(3) {
                damage(&mut input, self.kind.words, &mut random);
            }
        }
        fs::write(&self.path, &input).unwrap();
        let before = HELD.get();
        PEAK.set(before);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.kind.read)(&self.path)));
        let taken = PEAK.get() - before;
        let name = self.kind.name;
        let read =
            outcome.unwrap_or_else(|_| panic!("{name}: input {i} panics: b\"{}\"", input.escape_ascii()));
        assert!(
            taken <= room(input.len()),
            "{name}: input {i} of {} bytes takes {taken} bytes: b\"{}\"",
            input.len(),
            input.escape_ascii()
        );
        self.read += u64::from(read);
        self.peak = self.peak.max(taken);
    }
}
