//! The operands of a pickle's instructions.

use crate::error::{Fault, malformed};

/// What of a pickle is still unread.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((bytes, rest)) = self.0.split_first_chunk() else { return cut_off() };
        self.0 = rest;
        Ok(*bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let Some((bytes, rest)) = self.0.split_at_checked(count) else { return cut_off() };
        self.0 = rest;
        Ok(bytes)
    }

    /// An unsigned number of `N` bytes, at most 4.
    pub(super) fn unsigned<const N: usize>(&mut self) -> Result<u32, Fault> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }

    /// A signed integer of 4 bytes.
    pub(super) fn signed(&mut self) -> Result<i64, Fault> {
        Ok(i32::from_le_bytes(self.array()?).into())
    }

    /// A signed integer after its number of bytes, at most 8.
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        let [size] = self.array()?;
        let bytes = self.take(size.into())?;
        if bytes.len() > size_of::<i64>() {
            return malformed(format!("an integer in its pickle has {size} bytes, expected at most 8"));
        }
        let sign = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
        let mut whole = [sign; size_of::<i64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    /// A string after its length of `N` bytes.
    pub(super) fn text<const N: usize>(&mut self) -> Result<&'a str, Fault> {
        let size = self.unsigned::<N>()?;
        utf8(self.take(size as usize)?)
    }

    /// A string up to the next end of a line.
    pub(super) fn line(&mut self) -> Result<&'a str, Fault> {
        let Some(end) = self.0.iter().position(|&byte| byte == b'\n') else { return cut_off() };
        let line = self.take(end)?;
        self.array::<1>()?;
        utf8(line)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).or_else(|_| malformed("a string in its pickle is not UTF-8"))
}

fn cut_off<T>() -> Result<T, Fault> {
    malformed("its pickle is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_the_sign_of_their_last_byte() {
        for (bytes, expected) in [
            (&[0][..], 0),
            (&[1, 0xff], -1),
            (&[1, 0x7f], 127),
            (&[2, 0xff, 0], 255),
            (&[2, 0, 0x80], -32768),
            (&[8, 0, 0, 0, 0, 0, 0, 0, 0x80], i64::MIN),
        ] {
            assert_eq!(Bytes(bytes).long().unwrap(), expected, "{bytes:?}");
        }
        assert_eq!(Bytes(&[0xfe, 0xff, 0xff, 0xff]).signed().unwrap(), -2);
        assert_eq!(Bytes(&[0xfe, 0xff]).unsigned::<2>().unwrap(), 65534);
    }
}
