//! What the public interface promises everywhere: each trait shows how it is used, and every path is `impl AsRef<Path>`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The crates that other programs use: all but the program, the measurements and the tests themselves.
fn sources() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut folders, mut sources) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(crates).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !["diffusion-cli", "diffusion-bench", "diffusion-tests"].contains(&name.as_str()) {
            folders.push(entry.path().join("src"));
        }
    }
    assert!(folders.len() >= 10, "{} crates were found", folders.len());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    sources
}

/// The traits of a file, each with the comment over it.
fn traits(text: &str) -> Vec<(&str, String)> {
    let (mut found, mut doc, mut in_attribute) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("///") {
            doc += said.trim_start();
            doc += "\n";
        } else if in_attribute || line.starts_with("#[") {
            in_attribute = !line.ends_with(']');
        } else {
            if let Some(name) = line.strip_prefix("pub trait ") {
                let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                found.push((&name[..end], std::mem::take(&mut doc)));
            }
            doc.clear();
        }
    }
    found
}

/// Whether a comment has an example that runs.
fn has_example(doc: &str) -> bool {
    let fences = doc.lines().filter_map(|line| line.strip_prefix("```"));
    // Every second fence ends a block.
    fences.step_by(2).any(|language| language.is_empty() || language == "rust")
}

#[test]
fn every_public_trait_has_an_example_that_runs() {
    let sources = sources();
    let traits: Vec<_> = sources
        .iter()
        .flat_map(|(path, text)| traits(text).into_iter().map(move |(name, doc)| (path, name, doc)))
        .collect();
    assert!(traits.len() >= 25, "{} traits were found", traits.len());
    let without: Vec<_> =
        traits.iter().filter(|(.., doc)| !has_example(doc)).map(|(path, name, _)| (name, path)).collect();
    assert!(without.is_empty(), "{without:#?}");
}

/// The functions of a file outside of traits, each with its parameters.
fn functions(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("pub fn ") {
        let rest = &text[at + "pub fn ".len()..];
        let name = &rest[..rest.find(['(', '<']).unwrap()];
        // Generics have no parentheses but those of function types; parameters begin at the first that is outside of <>.
        let mut depth = 0;
        let mut begin = None;
        for (i, c) in rest.char_indices() {
            match c {
                '<' => depth += 1,
                '>' if !rest[..i].ends_with('-') => depth -= 1,
                '(' if depth == 0 => {
                    begin = Some(i + 1);
                    break;
                }
                _ => {}
            }
        }
        let begin = begin.unwrap();
        let mut open = 1;
        let end = rest[begin..].char_indices().find(|(_, c)| {
            open += i32::from(*c == '(') - i32::from(*c == ')');
            open == 0
        });
        found.push((name, &rest[begin..begin + end.unwrap().0]));
    }
    found
}

/// A trait of which there are `dyn` objects, as a run, cannot have generic methods: those keep `&Path`.
#[test]
fn every_path_may_be_given_in_any_form() {
    let sources = sources();
    let mut count = 0;
    let mut strict = Vec::new();
    for (path, text) in &sources {
        // Read by its parent alone.
        if path.ends_with("file/part.rs") {
            continue;
        }
        for (name, parameters) in functions(text) {
            count += usize::from(parameters.contains("AsRef<Path>"));
            if ["&Path", "PathBuf", "&PathBuf"].iter().any(|kind| {
                parameters.split(',').any(|parameter| parameter.trim_end().ends_with(&format!(": {kind}")))
            }) {
                strict.push((name, path));
            }
        }
    }
    assert!(count >= 30, "{count} functions that take a path were found");
    assert!(strict.is_empty(), "{strict:#?}");
}

#[test]
fn what_is_looked_for_is_found() {
    let text = "\
        /// Says nothing.\n#[attribute(\n    more\n)]\npub trait Silent {\n}\n\n\
        /// Shows.\n/// ```\n/// code();\n/// ```\npub trait Shown<T> {}\n\n\
        /// Fails.\n/// ```compile_fail\n/// ```\n/// ```text\n/// ```\npub trait Failing {}\n\
        pub fn read<F: Fn(u8) -> u8>(path: &Path, f: F) -> u8 {}\npub fn write(\n    to: PathBuf,\n) {}\n";
    let found: Vec<_> = traits(text).into_iter().map(|(name, doc)| (name, has_example(&doc))).collect();
    assert_eq!(found, [("Silent", false), ("Shown", true), ("Failing", false)]);
    assert_eq!(functions(text), [("read", "path: &Path, f: F"), ("write", "\n    to: PathBuf,\n")]);
}
