//! Links between the Markdown documents: the file must be there, and the heading in it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The links of the documents `files` below `root` that lead nowhere, one sentence each.
pub fn broken(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    let mut found = Vec::new();
    for file in files {
        let text = read(&root.join(file));
        for (line, link) in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root.join(file),
                path => root.join(file).parent().map(|folder| folder.join(path)).unwrap_or_default(),
            };
            let is_document = target.extension().is_some_and(|extension| extension == "md");
            if !target.exists() {
                found.push(format!("{}:{line}: there is no file {path}", file.display()));
            } else if !anchor.is_empty()
                && is_document
                && !anchors(&read(&target)).contains(&anchor.to_string())
            {
                found.push(format!("{}:{line}: {link} names no heading", file.display()));
            }
        }
    }
    found
}

/// The relative links of a document, `[text](here)` and `src="here"`, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // What is between backticks is shown, not followed.
        for shown in line.split('`').step_by(2) {
            for (start, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
                let starts = shown.match_indices(start).map(|(at, _)| &shown[at + start.len()..]);
                found.extend(starts.filter_map(|rest| Some((number, rest.split_once(end)?.0))));
            }
        }
        // A link whose text is in backticks ends right behind them.
        for behind in line.split("`](").skip(1) {
            found.extend(behind.split_once(')').map(|(link, _)| (number, link)));
        }
    }
    found.retain(|(_, link)| !link.contains("://") && !link.starts_with("mailto:"));
    found.sort_unstable();
    found.dedup();
    found
}

/// The names by which a document's headings can be linked to, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ';
        // Of a link, only its text.
        let mut words = String::new();
        let mut rest = heading.trim();
        while let Some((before, behind)) = rest.split_once("](") {
            words += before;
            rest = behind.split_once(')').map_or("", |(_, behind)| behind);
        }
        words += rest;
        let name: String = words.to_lowercase().chars().filter(|&c| kept(c)).collect();
        let name = name.replace(' ', "-");
        let times = seen.entry(name.clone()).or_default();
        found.push(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    found
}

/// The lines outside code blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(i, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((i + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_they_can_be_followed() {
        let text =
            "a [b](c.md#d) `[x](y)` [`e`](f.md)\n<img src=\"g.png\">\n```\n[no](h)\n```\n[w](https://x)";
        assert_eq!(links(text), [(1, "c.md#d"), (1, "f.md"), (2, "g.png")]);
    }

    #[test]
    fn headings_are_named_as_github_does() {
        let text = "# A `b`, c!\n## Does this GPU compute?\n## Twice\n## Twice\n#no\n## [x](y) z";
        assert_eq!(anchors(text), ["a-b-c", "does-this-gpu-compute", "twice", "twice-1", "x-z"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(broken(&root, &[]), Vec::<String>::new());
        let folder = std::env::temp_dir().join(format!("xtask-links-{}", std::process::id()));
        let text = "# Here\n[a](#here) [b](#there) [c](gone.md) [d](other.md#x)";
        let written = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("one.md"), text))
            .and_then(|()| fs::write(folder.join("other.md"), "# Y"));
        let found = broken(&folder, &["one.md".into()]);
        assert!(written.and_then(|()| fs::remove_dir_all(&folder)).is_ok());
        let expected = [
            "one.md:2: #there names no heading",
            "one.md:2: there is no file gone.md",
            "one.md:2: other.md#x names no heading",
        ];
        assert_eq!(found, expected);
    }
}
