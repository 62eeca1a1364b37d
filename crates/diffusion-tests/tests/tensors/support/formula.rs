//! Weights that follow from their names; `fixtures/make.py` has the same formulas.

/// Hash `i` of `name`: SplitMix64.
pub fn splitmix(name: &str, i: usize) -> u64 {
    let start = (u64::from(crc32fast::hash(name.as_bytes())) << 32) | i as u64;
    let z = start.wrapping_add(0x9E37_79B9_7F4A_7C15);
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
    let weight = |i| {
        let spread = 2.0 * ((splitmix(name, i) >> 11) as f64 * 2f64.powi(-53)) - 1.0;
        if is_scale { 1.0 + 0.3 * spread } else { spread * 3f64.sqrt() * std }
    };
    (0..shape.iter().product()).map(|i| weight(i) as f32).collect()
}
