//! Files of a crate know each other in one direction: what two files need of each other belongs into one, or a third.
//!
//! A file *knows* another if its code names an item that is defined there, by whatever path: `crate::a::Item`,
//! `super::Item`, an imported name, or a name that a third file re-exports, which counts as the place of its definition.
//! `mod` and re-exports alone, the table of contents of a parent, are not knowledge; nor is what stands in tests,
//! comments or documentation. Sources are read as tokens, so a name that a macro puts together is not seen.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[test]
fn no_files_know_each_other_in_a_circle() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut found = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let circles = Crate::read(&folder.join("src")).circles();
        found.extend(circles.into_iter().map(|circle| format!("{name}: {}", circle.join(", "))));
    }
    found.sort();
    assert!(fs::exists(crates.join("diffusion-core/src/lib.rs")).unwrap(), "no crate was looked at");
    assert_eq!(found, Vec::<String>::new(), "files know each other in a circle");
}

/// The modules of a crate by their paths, without those of tests.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

/// A module, in a file of its own or within another's.
#[derive(Default)]
struct Module {
    /// Where it stands.
    file: String,
    /// The items that it defines, modules aside.
    items: BTreeSet<String>,
    /// The names that it imports, and what each stands for.
    imports: BTreeMap<String, Vec<String>>,
    /// The modules of which it imports everything.
    globs: Vec<Vec<String>>,
    /// The paths, of one name or more, that its code has; an import is one if it is no re-export.
    paths: BTreeSet<Vec<String>>,
}

impl Crate {
    /// The crate with the sources in `folder`.
    fn read(folder: &Path) -> Self {
        let root = ["lib.rs", "main.rs"].into_iter().find(|root| folder.join(root).exists());
        let mut found = Self::default();
        if let Some(root) = root {
            let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
            found.add_file(root, Vec::new(), &read);
        }
        found
    }

    /// Adds a file and those of its modules.
    fn add_file(&mut self, file: &str, path: Vec<String>, read: &dyn Fn(&str) -> Option<String>) {
        let Some(text) = read(file) else { return };
        let tokens = tokens(&text);
        for child in self.add_module(file, path.clone(), &tokens) {
            let below = child.join("/");
            let (flat, nested) = (format!("{below}.rs"), format!("{below}/mod.rs"));
            let file = if read(&flat).is_some() { flat } else { nested };
            self.add_file(&file, child, read);
        }
    }

    /// Adds the module that `tokens` are, and those within it; returns the modules that are other files.
    fn add_module(&mut self, file: &str, path: Vec<String>, tokens: &[String]) -> Vec<Vec<String>> {
        let mut module = Module { file: file.to_string(), ..Default::default() };
        let mut elsewhere = Vec::new();
        let mut i = 0;
        while i < tokens.len() {
            if is_for_tests(&tokens[i..]) {
                i = end_of_item(tokens, i);
                continue;
            }
            let next = |n: usize| tokens.get(i + n).map_or("", String::as_str);
            match tokens[i].as_str() {
                "mod" if is_name(next(1)) => {
                    let child = [&path[..], &[next(1).to_string()]].concat();
                    let end = end_of_item(tokens, i);
                    if next(2) == "{" {
                        elsewhere.extend(self.add_module(file, child, &tokens[i + 3..end - 1]));
                    } else {
                        elsewhere.push(child);
                    }
                    i = end;
                    continue;
                }
                "use" => {
                    let end = end_of_item(tokens, i);
                    // A module's table of contents, for whomever.
                    let is_reexport = i > 0 && matches!(tokens[i - 1].as_str(), "pub" | ")");
                    let mut leaves = Vec::new();
                    leaves_of(&tokens[i + 1..end - 1], &mut Vec::new(), &mut leaves);
                    for (leaf, name) in leaves {
                        if name == "*" {
                            module.globs.push(leaf);
                        } else {
                            if !is_reexport {
                                module.paths.insert(leaf.clone());
                            }
                            module.imports.insert(name, leaf);
                        }
                    }
                    i = end;
                    continue;
                }
                "macro_rules" if next(1) == "!" => {
                    module.items.insert(next(2).to_string());
                }
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
                    if is_name(next(1)) =>
                {
                    module.items.insert(next(1).to_string());
                }
                name if is_name(name) && (i == 0 || !matches!(tokens[i - 1].as_str(), "." | "::" | "fn")) => {
                    let mut named = vec![name.to_string()];
                    while tokens.get(i + 1).is_some_and(|token| token == "::")
                        && tokens.get(i + 2).is_some_and(|token| is_name(token))
                    {
                        named.push(tokens[i + 2].clone());
                        i += 2;
                    }
                    // Alone, these say for whom something is public.
                    if !matches!(name, "crate" | "super" | "self") || named.len() > 1 {
                        module.paths.insert(named);
                    }
                }
                _ => {}
            }
            i += 1;
        }
        self.modules.insert(path, module);
        elsewhere
    }

    /// The module in which the item that `path` names in the module `from` is defined, if it is in this crate.
    fn home(&self, from: &[String], path: &[String], depth: usize) -> Option<Vec<String>> {
        let up = |module: &[String]| Some(module.split_last()?.1.to_vec());
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            "super" => up(from)?,
            name => self.named(from, name, depth)?,
        };
        while let Some((name, behind)) = rest.split_first() {
            at = match name.as_str() {
                "super" => up(&at)?,
                // What a type has, a variant say, is where the type is.
                name => self.named(&at, name, depth).unwrap_or(at),
            };
            rest = behind;
        }
        Some(at)
    }

    /// The module that `name` is in the module `at`, or in which the item is defined that it names there.
    fn named(&self, at: &[String], name: &str, depth: usize) -> Option<Vec<String>> {
        let child = [at, &[name.to_string()]].concat();
        let module = self.modules.get(at)?;
        if self.modules.contains_key(&child) {
            return Some(child);
        }
        if module.items.contains(name) {
            return Some(at.to_vec());
        }
        // Modules may import everything of each other.
        if depth == 0 {
            return None;
        }
        if let Some(path) = module.imports.get(name) {
            // An import of another crate may have the name that it imports.
            let is_itself = path.first().is_some_and(|first| first == name);
            return if is_itself { None } else { self.home(at, path, depth - 1) };
        }
        module.globs.iter().find_map(|glob| {
            let of = self.home(at, glob, depth - 1)?;
            self.named(&of, name, depth - 1)
        })
    }

    /// Which file knows which.
    fn knowledge(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (at, module) in &self.modules {
            for path in &module.paths {
                // A module's name alone is none to code: it is a field or a variable of the same name.
                let is_module = self.modules.contains_key(&[&at[..], &path[..1]].concat());
                if path.len() == 1 && is_module && !module.items.contains(&path[0]) {
                    continue;
                }
                let home = self.home(at, path, 8).and_then(|home| self.modules.get(&home));
                if let Some(home) = home.filter(|home| home.file != module.file) {
                    found.entry(&module.file).or_default().insert(&home.file);
                }
            }
        }
        found
    }

    /// The largest sets of files each of which knows each other of its set, by way of others of it.
    fn circles(&self) -> Vec<Vec<String>> {
        let knowledge = self.knowledge();
        let reached = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut next = vec![from];
            while let Some(file) = next.pop() {
                for &known in knowledge.get(file).into_iter().flatten() {
                    if seen.insert(known.to_string()) {
                        next.push(known);
                    }
                }
            }
            seen
        };
        let all: BTreeMap<&str, BTreeSet<String>> =
            knowledge.keys().map(|&file| (file, reached(file))).collect();
        let mut found: Vec<Vec<String>> = Vec::new();
        for (&file, known) in &all {
            let back = |other: &&String| all.get(other.as_str()).is_some_and(|known| known.contains(file));
            let circle: Vec<String> = known.iter().filter(back).cloned().collect();
            if !circle.is_empty() && !found.contains(&circle) {
                found.push(circle);
            }
        }
        found
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether an attribute begins here that leaves what follows to tests.
fn is_for_tests(tokens: &[String]) -> bool {
    let begins =
        |start: &[&str]| tokens.iter().map(String::as_str).take(start.len()).eq(start.iter().copied());
    begins(&["#", "[", "cfg", "(", "test", ")"])
        || begins(&["#", "[", "cfg", "(", "all", "(", "test"])
        || begins(&["#", "[", "cfg", "(", "doctest", ")"])
}

/// Where the item ends that begins at `start`, with its attributes: behind its `;` or its `}`.
fn end_of_item(tokens: &[String], start: usize) -> usize {
    let mut depth = 0;
    let is_use = tokens[start] == "use";
    for (i, token) in tokens.iter().enumerate().skip(start) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token == "}" && !is_use {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The paths that a `use` brings in, behind `prefix`, with the name that each has then.
fn leaves_of(tokens: &[String], prefix: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    let length = prefix.len();
    let mut i = 0;
    let mut name = None;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => {
                let mut depth = 0;
                let mut start = i + 1;
                for (j, token) in tokens.iter().enumerate().skip(i) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (depth == 1 && token == ",") || depth == 0 {
                        leaves_of(&tokens[start..j], prefix, found);
                        start = j + 1;
                    }
                }
                prefix.truncate(length);
                return;
            }
            "*" => name = Some("*".to_string()),
            "as" => {
                name = tokens.get(i + 1).cloned();
                break;
            }
            token if is_name(token) => prefix.push(token.to_string()),
            _ => {}
        }
        i += 1;
    }
    if prefix.len() > length {
        if prefix.last().is_some_and(|last| last == "self") && prefix.len() > 1 {
            prefix.pop();
        }
        let name = name.or_else(|| prefix.last().cloned()).unwrap_or_default();
        found.push((prefix.clone(), name));
    } else if let Some(star) = name {
        found.push((prefix.clone(), star));
    }
    prefix.truncate(length);
}

/// The words and signs of a source, without its comments and texts.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let at = |i: usize| letters.get(i).copied().unwrap_or('\0');
    let (mut found, mut i) = (Vec::new(), 0);
    while i < letters.len() {
        let c = letters[i];
        if c == '/' && at(i + 1) == '/' {
            while i < letters.len() && letters[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            while i < letters.len() && !(letters[i] == '*' && at(i + 1) == '/') {
                i += 1;
            }
            i += 2;
        } else if let Some(marks) = raw_text(&letters, i) {
            // r#"…"#, until a quote that is followed by as many marks.
            i = (i..letters.len()).find(|&j| letters[j] == '"').map_or(letters.len(), |j| j + 1);
            while i < letters.len() && !(letters[i] == '"' && (1..=marks).all(|n| at(i + n) == '#')) {
                i += 1;
            }
            i += 1 + marks;
        } else if c == '"' {
            i += 1;
            while i < letters.len() && letters[i] != '"' {
                i += if letters[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == '\'' {
            // A letter, or the name of a lifetime.
            if at(i + 1) == '\\' {
                i += 3;
                while i < letters.len() && letters[i] != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            let start = i;
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            found.push(letters[start..i].iter().collect());
        } else if c == ':' && at(i + 1) == ':' {
            found.push("::".to_string());
            i += 2;
        } else {
            if !c.is_whitespace() && c != '$' {
                found.push(c.to_string());
            }
            i += 1;
        }
    }
    found
}

/// The number of marks before the quote of the raw text that begins at `i`, if one does.
fn raw_text(letters: &[char], i: usize) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if letters[i] != 'r' || (i > 0 && is_word(letters[i - 1]) && letters[i - 1] != 'b') {
        return None;
    }
    let marks = letters[i + 1..].iter().take_while(|&&c| c == '#').count();
    (letters.get(i + 1 + marks) == Some(&'"')).then_some(marks)
}

/// The circles of a crate that has these files.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let read = |name: &str| {
        let found = files.iter().find(|(file, _)| *file == name);
        found.map(|(_, text)| text.to_string())
    };
    let mut found = Crate::default();
    found.add_file("lib.rs", Vec::new(), &read);
    found.circles()
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::{B, other}; pub struct A;"),
        ("b.rs", "pub struct B; fn f() -> crate::a::A { loop {} }"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}

#[test]
fn a_circle_through_three_files_is_one() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c; use a::A; type T = A;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use super::c; pub fn B() { c::f() }"),
        ("c.rs", "pub fn f() { crate::a::A; }"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs", "c.rs"]]);
}

/// A parent lists what its children have; that a child uses what the parent defines, or a sibling, is no circle.
#[test]
fn a_parents_table_of_contents_is_no_knowledge() {
    let found = circles(&[
        ("lib.rs", "pub mod p; pub use p::{One, Parent};"),
        ("p.rs", "mod one; mod two; pub use one::One; pub use two::*; pub trait Parent {}"),
        ("p/one.rs", "use super::Parent; pub struct One; impl Parent for One {}"),
        ("p/two.rs", "use super::One; use crate::Parent as P; pub struct Two(One); impl P for Two {}"),
    ]);
    assert_eq!(found, Vec::<Vec<String>>::new());
}

/// But if the parent's own code names the child, it knows it, however it came by the name.
#[test]
fn a_parent_that_uses_its_child_knows_it() {
    for code in [
        "pub use one::One; fn f(_: One) {}",
        "use one::One;",
        "fn f() { one::One; }",
        "pub use one::*; type T = One;",
    ] {
        let parent = format!("mod one; pub trait Parent {{}} {code}");
        let child = "pub struct One; impl super::Parent for One {}";
        let found = circles(&[("lib.rs", "mod p;"), ("p.rs", &parent), ("p/one.rs", child)]);
        assert_eq!(found, [["p.rs", "p/one.rs"]], "{code}");
    }
}

#[test]
fn tests_comments_and_texts_know_what_they_like() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b::B;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ]);
    assert_eq!(found, Vec::<Vec<String>>::new());
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "// crate::b::B\n/* crate::b::B */ pub fn a<'b>() { \"crate::b::B\"; r#\"\"crate::b::B\"#; '\"' }",
        ),
        ("b.rs", "use crate::a::a; pub struct B;"),
    ]);
    assert_eq!(found, Vec::<Vec<String>>::new());
}

#[test]
fn a_module_within_a_file_is_part_of_it() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; mod inner { use super::A; use super::super::b::B; }"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}
