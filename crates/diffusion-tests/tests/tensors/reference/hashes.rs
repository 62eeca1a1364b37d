//! The formulas behind weights and fingerprints that are not stored: both sides must mean the same numbers.

use crate::support::hashed::{Hashed, hashed, sign, splitmix};

#[test]
fn hashes_and_their_weights_match() {
    for expected in Hashed::read().hashes {
        let weights = hashed(&expected.name, &expected.shape);
        assert_eq!(expected.index.len(), 10);
        for ((&i, hash), weight) in expected.index.iter().zip(&expected.hash).zip(&expected.f32) {
            assert_eq!(format!("{:016x}", splitmix(&expected.name, i)), *hash, "{} {i}", expected.name);
            assert_eq!(weights[i].to_bits(), weight.to_bits(), "{} {i}", expected.name);
        }
    }
}

#[test]
fn signs_match() {
    for expected in Hashed::read().signs {
        let signs: Vec<f64> = (0..expected.signs.len()).map(|i| sign(&expected.name, i)).collect();
        assert_eq!(signs, expected.signs, "{}", expected.name);
        assert!(signs.contains(&1.0) && signs.contains(&-1.0), "{}", expected.name);
    }
}
