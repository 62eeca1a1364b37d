//! Pickles of random instructions that mostly mean something.

use crate::array::array;
use crate::random::Random;

/// Functions and classes with modules.
const GLOBALS: &[&str] = &[
    "collections\nOrderedDict",
    "collections\ndefaultdict",
    "collections\nCounter",
    "builtins\nset",
    "builtins\ndict",
    "builtins\nlist",
    "builtins\ntuple",
    "_codecs\nencode",
    "torch\nSize",
    "torch\ndevice",
    "torch\nfloat32",
    "torch\ncomplex64",
    "torch\nuint16",
    "torch\nFloatStorage",
    "torch\nHalfStorage",
    "torch\nLongStorage",
    "torch\nComplexFloatStorage",
    "torch.storage\nUntypedStorage",
    "torch\nTensor",
    "torch.nn.parameter\nParameter",
    "torch._utils\n_rebuild_tensor",
    "torch._utils\n_rebuild_tensor_v2",
    "torch._utils\n_rebuild_tensor_v3",
    "torch._utils\n_rebuild_parameter",
    "torch._utils\n_rebuild_qtensor",
    "torch._utils\n_rebuild_sparse_tensor",
    "torch._utils\n_rebuild_device_tensor_from_cpu_tensor",
    "torch._tensor\n_rebuild_from_type_v2",
    "copy_reg\n_reconstructor",
    "numpy._core.multiarray\n_reconstruct",
    "argparse\nNamespace",
    "os\nsystem",
    "no\nsuch.thing",
    "numpy\ndtype",
    "numpy._core.numeric\n_frombuffer",
];

/// What stands before the pickle of tensors.
const HEAD: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";

/// What stands after it: the keys of two storages.
const TAIL: &[u8] = b".\x80\x02](U\x010U\x011e.";

/// A file as PyTorch before 1.6 wrote it, of random instructions, two storages at its end.
pub fn file(random: &mut Random) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    let begun = bytes.len();
    let mut writer = Writer { random, bytes, depth: 0, height: 0, memo: 0 };
    // Both storages are some tensor's, or the file's end is refused.
    for key in [b"U\x010", b"U\x011"] {
        writer.put(b"(U\x07storagectorch\nFloatStorage\n");
        writer.put(key);
        writer.put(b"U\x03cpuK\x06tQ0");
    }
    if writer.random.one_in(3) {
        for _ in 0..writer.random.below(12) {
            writer.any();
        }
    } else {
        writer.value();
    }
    if !writer.random.one_in(3) {
        writer.put(b"}(U\x01t");
        writer.tensor();
        writer.text();
        writer.value();
        writer.put(b"u");
    }
    bytes = writer.bytes;
    if random.one_in(3) {
        let mut pickle = bytes.split_off(begun);
        random.mutate(&mut pickle);
        bytes.extend(pickle);
    }
    bytes.extend(TAIL);
    let count = if random.one_in(8) { random.number() } else { 6 };
    for count in [count, 6] {
        bytes.extend(count.to_le_bytes());
        bytes.extend([1; 24]);
    }
    bytes
}

/// A dict of lists, names and arrays under the keys `a` and `0`, by itself.
pub fn dict(random: &mut Random) -> Vec<u8> {
    let mut writer = Writer { random, bytes: b"\x80\x04}(".to_vec(), depth: 0, height: 0, memo: 0 };
    for key in [b"U\x01a", b"U\x010"] {
        writer.put(key);
        if writer.random.one_in(2) { writer.array() } else { writer.value() }
    }
    writer.put(b"u.");
    let mut bytes = writer.bytes;
    if random.one_in(3) {
        random.mutate(&mut bytes);
    }
    bytes
}

/// The same with a few instructions repeated thousands of times, as what takes little in the file and much in memory.
pub fn repeated(random: &mut Random) -> Vec<u8> {
    let mut writer = Writer { random, bytes: HEAD.to_vec(), depth: 0, height: 0, memo: 0 };
    for key in [b"U\x010", b"U\x011"] {
        writer.put(b"(U\x07storagectorch\nFloatStorage\n");
        writer.put(key);
        writer.put(b"U\x03cpuK\x06tQ0");
    }
    if writer.random.one_in(2) {
        writer.collection();
        let mut bytes = writer.bytes;
        bytes.extend(TAIL);
        bytes.extend([6u64.to_le_bytes(), [1; 8], [1; 8], [1; 8]].concat().repeat(2));
        return bytes;
    }
    let first: &[&[u8]] = &[b"}", b"](", b"(", b"}(", b"ccollections\nOrderedDict\n", b"N"];
    writer.one_of(first);
    writer.put(b"q\x00");
    writer.value();
    writer.put(b"q\x01");
    let snippets: &[&[u8]] = &[
        b"K\x01",
        b"N",
        b")",
        b"}",
        b"(",
        b"h\x00",
        b"h\x01",
        b"h\x01h\x01",
        b"h\x00h\x01R",
        b"\x94",
        b"2",
        b"h\x01\x85",
        b"}h\x01s",
        b"ca\nb\n",
        b"]h\x01a",
        b"}K\x00",
        b"U\x01ah\x01",
    ];
    let begun = writer.bytes.len();
    writer.one_of(snippets);
    if writer.random.one_in(2) {
        writer.any();
    }
    let snippet = writer.bytes[begun..].to_vec();
    let most = ((1 << 20) / snippet.len().max(1)).min(1 << 15);
    for _ in 0..writer.random.below(most) {
        writer.put(&snippet);
    }
    let ends: &[&[u8]] = &[b"", b"t", b"u", b"e", b"l", b"d", b"s", b"\x86", b"h\x01"];
    (0..writer.random.below(3)).for_each(|_| writer.one_of(ends));
    writer.put(TAIL);
    let mut bytes = writer.bytes;
    bytes.extend([6u64.to_le_bytes(), [1; 8], [1; 8], [1; 8]].concat().repeat(2));
    bytes
}

struct Writer<'r> {
    random: &'r mut Random,
    bytes: Vec<u8>,
    depth: usize,
    /// About how many values are on the stack.
    height: usize,
    memo: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn one_of(&mut self, choices: &[&[u8]]) {
        let choice = self.random.of(choices);
        self.put(choice);
    }

    /// Instructions that push one value.
    fn value(&mut self) {
        self.depth += 1;
        self.height += 1;
        match self.random.below(if self.depth > 6 { 9 } else { 20 }) {
            0 => {
                let byte = self.random.next() as u8;
                self.put(&[b'K', byte]);
            }
            1 => self.int(),
            2 => self.one_of(&[b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f"]),
            3 => self.text(),
            4 => self.put(&[b'G', 0, 0, 0, 0, 0, 0, 0, 0]),
            5 => self.global(),
            6 if self.memo > 0 => {
                let key = self.random.below(self.memo) as u8;
                self.put(&[b'h', key]);
            }
            7 => self.one_of(&[b"I01\n", b"L5L\n", b"F1.5\n", b"S'a'\n", b"Va\n", b"B\x01\0\0\0x"]),
            8 => self.put(b"C\x02ab"),
            9..=10 => self.tensor(),
            11..=13 => self.dict(),
            14 => self.list(),
            15 => {
                let n = 1 + self.random.below(3);
                (0..n).for_each(|_| self.value());
                self.put(&[0x84 + n as u8]);
            }
            16 => {
                self.put(b"(");
                (0..self.random.below(4)).for_each(|_| self.value());
                self.put(b"t");
            }
            17 => {
                self.global();
                self.put(b"(");
                (0..self.random.below(4)).for_each(|_| self.value());
                self.put(b"t");
                let call = [&b"R"[..], b"\x81", b"Nb", b"R}b"][self.random.below(4)];
                self.put(call);
            }
            18 => self.array(),
            _ => self.storage(),
        }
        if self.memo < 250 && self.random.one_in(4) {
            let put: &[u8] = if self.random.one_in(2) { &[b'q', self.memo as u8] } else { b"\x94" };
            self.bytes.extend(put);
            self.memo += 1;
        }
        self.depth -= 1;
    }

    fn int(&mut self) {
        let value = self.random.number();
        let size = self.random.below(10) as u8;
        self.put(&[0x8a, size]);
        let bytes = [value.to_le_bytes(), value.to_le_bytes()].concat();
        self.put(&bytes[..size.into()]);
    }

    fn small(&mut self) {
        match self.random.one_in(20) {
            true => self.int(),
            false => {
                let value = self.random.below(4) as u8;
                self.put(&[b'K', value]);
            }
        }
    }

    fn text(&mut self) {
        let text = self.random.of(&[
            "a",
            "net.0.weight",
            "module",
            "model.a",
            "",
            "neg",
            "storage",
            "\u{1f600}",
            "0",
        ]);
        self.put(&[0x8c, text.len() as u8]);
        self.put(text.as_bytes());
    }

    fn global(&mut self) {
        let global = self.random.of(GLOBALS);
        self.put(format!("c{global}\n").as_bytes());
    }

    fn storage(&mut self) {
        let class = self.random.of(&GLOBALS[13..18]);
        self.put(format!("(U\x07storagec{class}\n").as_bytes());
        let key: &[u8] =
            if self.random.one_in(8) { b"U\x012" } else { [&b"U\x010"[..], b"U\x011"][self.random.below(2)] };
        self.put(key);
        self.put(b"U\x03cpu");
        if self.random.one_in(4) {
            self.small()
        } else {
            self.put(b"K\x06")
        }
        if self.random.one_in(4) {
            self.put(b"N")
        }
        self.put(b"tQ");
    }

    fn tensor(&mut self) {
        let version = self.random.below(3);
        let name = ["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"][version];
        self.put(format!("ctorch._utils\n{name}\n(").as_bytes());
        self.storage();
        self.small();
        let rank = self.random.below(4);
        for _ in 0..2 {
            self.put(b"(");
            (0..rank).for_each(|_| self.small());
            self.put(b"t");
        }
        if version > 0 {
            self.put(b"\x89}");
        }
        if version == 2 {
            let dtype = self.random.of(&GLOBALS[10..13]);
            self.put(format!("c{dtype}\n").as_bytes());
        }
        if self.random.one_in(3) {
            self.put(b"}U\x03neg\x88s");
        }
        self.put(b"tR");
    }

    fn array(&mut self) {
        let array = array(self.random);
        self.put(&array);
    }

    fn dict(&mut self) {
        self.put(b"}(");
        for _ in 0..self.random.below(5) {
            if self.random.one_in(4) {
                self.value()
            } else {
                self.text()
            }
            self.value();
        }
        self.put(b"u");
    }

    /// A dict with a tensor and a long collection, which can be read.
    fn collection(&mut self) {
        self.tensor();
        self.put(b"q\x010");
        let items: [(&[u8], &[u8], &[u8]); 8] = [
            (b"](", b"K\x01", b"e"),
            (b"](", b"h\x01", b"e"),
            (b"](", b"}", b"e"),
            (b"(", b"](h\x01K\x02e", b"t"),
            (b"]", b"h\x01a", b""),
            (b"}(", b"J0000}", b"u"),
            (b"}(", b"J0000h\x01", b"u"),
            (b"}(", b"J0000N", b"u"),
        ];
        let (start, item, end) = items[self.random.below(items.len())];
        self.put(start);
        for i in 0..self.random.below(1 << 14) as u32 {
            let at = self.bytes.len();
            self.put(item);
            // Keys are all different.
            if item[0] == b'J' {
                self.bytes[at + 1..at + 5].copy_from_slice(&i.to_le_bytes());
            }
        }
        self.put(end);
        self.put(b"q\x020}(U\x01th\x01U\x01lh\x02u");
    }

    fn list(&mut self) {
        self.put(b"](");
        (0..self.random.below(4)).for_each(|_| self.value());
        self.put(b"e");
    }

    /// Any instruction, whether it can be carried out or not.
    fn any(&mut self) {
        let opcode = match self.random.below(10) {
            0 => self.random.next() as u8,
            1..=4 => return self.value(),
            _ => *self
                .random
                .of(&[
                    b"a", b"s", b"u", b"e", b"t", b"(", b"0", b"1", b"2", b"b", b"R", b"\x81", b"\x92", b"o",
                    b"Q", b"\x90", b"\x91", b"\x85", b"\x93",
                ])
                .first()
                .unwrap(),
        };
        self.put(&[opcode]);
    }
}
