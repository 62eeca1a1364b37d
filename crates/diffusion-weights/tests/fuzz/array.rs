//! Arrays as NumPy pickles them.

use crate::random::Random;

/// The instructions of an array, made in either of NumPy's two ways, mostly of as many bytes as its shape and type say.
pub fn array(random: &mut Random) -> Vec<u8> {
    let width = [1, 1, 4, 8][random.below(4)];
    let (rows, columns) = (random.below(4), random.below(4));
    let count = if random.one_in(8) { random.below(60) } else { rows * columns * width };
    let kind = random.of(&["u", "i", "f", "O"]);
    let order = random.of(&["<", "|", ">"]);
    let dtype = format!("cnumpy\ndtype\n(U\x02{kind}{width}\u{89}\u{88}tR(K\x03U\x01{order}NNN");
    // The letters above 0x7f are instructions of one byte.
    let mut dtype: Vec<u8> = dtype.chars().map(|letter| letter as u8).collect();
    dtype.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
    let mut bytes = vec![b'C', count as u8];
    bytes.extend((0..count).map(|_| random.next() as u8));
    let mut shape = vec![b'(', b'K', rows as u8, b'K', columns as u8, b't'];
    if columns == 1 {
        shape.drain(3..5);
    }
    if random.one_in(2) {
        let call = b"cnumpy._core.numeric\n_frombuffer\n(";
        [&call[..], &bytes, &dtype, &shape, b"U\x01CtR"].concat()
    } else {
        let blank = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\x01btR(K\x01";
        let by_columns: &[u8] = if random.one_in(8) { b"\x88" } else { b"\x89" };
        [&blank[..], &shape, &dtype, by_columns, &bytes, b"tb"].concat()
    }
}
