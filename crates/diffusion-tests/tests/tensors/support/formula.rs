//! Numbers that follow from names; `fixtures/formula.py` has the same formulas.

/// Hash `i` of `name`: SplitMix64.
pub fn splitmix(name: &str, i: usize) -> u64 {
    mixed(crc32fast::hash(name.as_bytes()), i)
}

/// Hash `i` of the name with this checksum.
fn mixed(name: u32, i: usize) -> u64 {
    let z = ((u64::from(name) << 32) | i as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The weights of the parameter `name`, in PyTorch's layout.
pub fn hashed(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let is_scale = shape.len() == 1 && name.ends_with(".weight");
    let std = match shape.len() {
        1 => 0.1,
        _ if name.ends_with("embeddings.weight") => 1.0,
        _ => 1.0 / (fan_in as f64).sqrt(),
    };
    let (checksum, unit, root) = (crc32fast::hash(name.as_bytes()), 2f64.powi(-53), 3f64.sqrt());
    let weight = |i| {
        let spread = 2.0 * ((mixed(checksum, i) >> 11) as f64 * unit) - 1.0;
        if is_scale { 1.0 + 0.3 * spread } else { spread * root * std }
    };
    (0..shape.iter().product()).map(|i| weight(i) as f32).collect()
}

/// Images of 8 bits as values from 0 to 1: a ramp, another one in each image, and noise.
///
/// # Shapes
/// - `shape`: `[batch, channels, height, width]`
pub fn pictures(name: &str, shape: [usize; 4]) -> Vec<f32> {
    let [_, channels, height, width] = shape;
    let value = |i: usize| {
        let (x, y, c, k) =
            (i % width, i / width % height, i / (width * height) % channels, i / (width * height * channels));
        let ramp = ((k + 1) * 3 * y + (2 * k + 1) * 2 * x + 50 * c) % 192;
        ((splitmix(name, i) >> 58) as usize + ramp) as f32 / 255.0
    };
    (0..shape.iter().product()).map(value).collect()
}
