//! How the program was called.

use std::env;
use std::path::Path;

/// How the program was called, for hints that name a command.
pub fn invocation() -> String {
    env::var("DIFFUSION_INVOCATION").unwrap_or_else(|_| "diffusion".to_string())
}

/// How to go on with the run in the folder `run`.
pub fn go_on(run: &Path) -> String {
    format!("`{}` goes on with it", resume(run))
}

/// The command that goes on with the run in the folder `run`.
pub fn resume(run: &Path) -> String {
    format!("{} train --resume {}", invocation(), word(run))
}

/// A path as a shell takes it for one word that is no option.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = if text.starts_with('-') { format!("./{text}") } else { text.to_string() };
    let is_plain = |c: char| c.is_alphanumeric() || "_./-+=:@%,\\".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) && (cfg!(windows) || !text.contains('\\')) {
        return text;
    }
    if text.chars().any(char::is_control) {
        let escaped: String = text.chars().map(escape).collect();
        return format!("$'{escaped}'");
    }
    if cfg!(windows) { format!("\"{text}\"") } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A character between the quotes of `$'…'`.
fn escape(c: char) -> String {
    match c {
        '\n' => "\\n".to_string(),
        '\t' => "\\t".to_string(),
        '\\' | '\'' => format!("\\{c}"),
        c if c.is_control() && c.is_ascii() => format!("\\{:03o}", c as u32),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_shell_takes_the_word_for_the_path() {
        use std::process::Command;
        let names =
            ["runs/a", "a b", "it's", "$HOME", "a\nb", "-x", "a\\b", "ü", "\u{7f}\t'", "a;b", "*", "~"];
        for name in names {
            let script = format!("printf %s {}", word(Path::new(name)));
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.strip_prefix("./").unwrap_or(&said), name);
        }
    }
}
