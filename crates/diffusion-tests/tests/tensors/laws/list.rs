//! The list in `main.rs` of what is easily got wrong in pretrained models.

use std::fs;
use std::path::Path;

#[test]
fn what_the_list_names_are_tests() {
    let text = include_str!("../main.rs");
    let list = text.lines().filter(|line| line.starts_with("/// "));
    let words: Vec<&str> = list.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let tests: Vec<_> = words.into_iter().filter_map(|word| word.split_once("::")).collect();
    assert!(tests.len() > 40, "{tests:?}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensors/latent");
    for (file, test) in tests {
        let code = fs::read_to_string(folder.join(file).with_extension("rs")).unwrap();
        assert!(code.contains(&format!("fn {test}")), "there is no test {file}::{test}");
    }
}
