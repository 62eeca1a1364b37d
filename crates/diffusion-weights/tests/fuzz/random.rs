//! Numbers that follow from a seed.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// A number of any size, those that are near a power of two among them more often.
    pub fn number(&mut self) -> u64 {
        let power = 1u64 << self.below(64);
        match self.below(4) {
            0 => self.below(8) as u64,
            1 => power.wrapping_sub(1),
            2 => power,
            _ => self.next() & (power.wrapping_mul(2).wrapping_sub(1)),
        }
    }

    /// A few changes of bytes, cuts, insertions and repetitions; how far they reach in what is left.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len().max(1));
            match self.below(12) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0..=3 => bytes[at] = self.next() as u8,
                4..=5 => bytes[at] ^= 1 << self.below(8),
                6 => bytes[at] = [0, 0xff, 0x7f, 0x80][self.below(4)],
                7 => {
                    let number = self.number().to_le_bytes();
                    for (byte, new) in bytes[at..].iter_mut().zip(number) {
                        *byte = new;
                    }
                }
                8 if self.one_in(8) => bytes.truncate(at),
                9 => {
                    let end = (at + 1 + self.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
                10 => {
                    let end = (at + 1 + self.below(64)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, part);
                }
                _ => bytes.insert(at, self.next() as u8),
            }
        }
    }
}
