//! The operands of a pickle's instructions.

use crate::error::{Fault, malformed};
use std::borrow::Cow;

/// What of a pickle is still unread.
pub(super) struct Bytes<'a>(pub &'a [u8]);

/// An integer as far as it is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    /// One that 64 bits hold.
    Small(i64),
    /// A larger one, as in the state of a random generator.
    Large,
}

impl<'a> Bytes<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((bytes, rest)) = self.0.split_first_chunk() else { return cut_off() };
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let split = usize::try_from(count).ok().and_then(|count| self.0.split_at_checked(count));
        let Some((bytes, rest)) = split else { return cut_off() };
        self.0 = rest;
        Ok(bytes)
    }

    /// An unsigned number of `N` bytes, at most 8.
    pub(super) fn unsigned<const N: usize>(&mut self) -> Result<u64, Fault> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A signed integer of 4 bytes.
    pub(super) fn signed(&mut self) -> Result<i64, Fault> {
        Ok(i32::from_le_bytes(self.array()?).into())
    }

    /// A signed integer after its number of bytes, which is a number of `N` bytes itself.
    pub(super) fn long<const N: usize>(&mut self) -> Result<Integer, Fault> {
        let bytes = self.sized::<N>()?;
        if bytes.len() > size_of::<i64>() {
            return Ok(Integer::Large);
        }
        let sign = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
        let mut whole = [sign; size_of::<i64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Integer::Small(i64::from_le_bytes(whole)))
    }

    /// Bytes after their number, which is a number of `N` bytes.
    pub(super) fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Fault> {
        let size = self.unsigned::<N>()?;
        self.take(size)
    }

    /// What stands before the next end of a line.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Fault> {
        let Some(end) = self.0.iter().position(|&byte| byte == b'\n') else { return cut_off() };
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(line)
    }

    /// A string in quotes before the next end of a line, as Python 2 writes one.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let wrong =
            || malformed("its pickle has a string that is not in quotes, or escaped in an unknown way");
        let text = match self.line()? {
            [quote @ (b'\'' | b'"'), text @ .., last] if quote == last => text,
            _ => return wrong(),
        };
        if !text.contains(&b'\\') {
            return Ok(Cow::Borrowed(text));
        }
        let (mut bytes, mut rest) = (Vec::new(), text);
        while let Some((&byte, after)) = rest.split_first() {
            let (byte, after) = match (byte, after) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digits = [high, low].map(|&digit| char::from(digit).to_digit(16));
                    let [Some(high), Some(low)] = digits else { return wrong() };
                    ((16 * high + low) as u8, after)
                }
                (b'\\', [b'n', after @ ..]) => (b'\n', after),
                (b'\\', [b'r', after @ ..]) => (b'\r', after),
                (b'\\', [b't', after @ ..]) => (b'\t', after),
                (b'\\', [byte, after @ ..]) => (*byte, after),
                other => other,
            };
            bytes.push(byte);
            rest = after;
        }
        Ok(Cow::Owned(bytes))
    }

    /// A name before the next end of a line.
    pub(super) fn name(&mut self) -> Result<&'a str, Fault> {
        match std::str::from_utf8(self.line()?) {
            Ok(name) => Ok(name),
            Err(_) => malformed("a name in its pickle is not UTF-8"),
        }
    }
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
            assert_eq!(Bytes(bytes).long::<1>().unwrap(), Integer::Small(expected), "{bytes:?}");
        }
        assert_eq!(Bytes(&[9; 10]).long::<1>().unwrap(), Integer::Large);
        assert_eq!(Bytes(&[0xfe, 0xff, 0xff, 0xff]).signed().unwrap(), -2);
        assert_eq!(Bytes(&[0xfe, 0xff]).unsigned::<2>().unwrap(), 65534);
    }
}
