//! Which files in a run's folder the run made: nothing else is ever removed or replaced there unasked.

use crate::samples::is_samples;
use diffusion::train::AverageFile;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A PNG file's signature and its first chunk, the header, which always has the same length.
const HEADER: usize = 8 + 25;
/// The text by which a picture says who made it.
const TEXT: &[u8] = b"tEXtSoftware\0diffusion-burn";
/// The comment by which an animation says who made it, as its last block, and the end of the file (GIF89a).
const GIF_TAIL: &[u8] = b"\x21\xfe\x0ediffusion-burn\0;";

/// Lets the PNG file `png` say that this program made it, as a chunk of text behind its header. Bytes that are no PNG
/// file stay as they are.
pub fn mark_png(png: &mut Vec<u8>) {
    if png.len() > HEADER && png.starts_with(b"\x89PNG\r\n\x1a\n") {
        png.splice(HEADER..HEADER, mark());
    }
}

/// Lets the GIF file `gif` say that this program made it, as a comment at its end. Bytes that are no GIF file stay as they
/// are.
pub fn mark_gif(gif: &mut Vec<u8>) {
    if gif.starts_with(b"GIF89a") && gif.last() == Some(&b';') {
        gif.pop();
        gif.extend(GIF_TAIL);
    }
}

/// The chunk: length, type and text, checksum (ISO 15948).
fn mark() -> Vec<u8> {
    let length = (TEXT.len() - 4) as u32;
    [&length.to_be_bytes()[..], TEXT, &crc32fast::hash(TEXT).to_be_bytes()].concat()
}

/// Whether a run made the file `path` in its folder, by its name and, of pictures and samples, by what is in it.
pub(crate) fn is_made(path: &Path) -> bool {
    match path.file_name().and_then(OsStr::to_str) {
        Some("config.toml" | "metrics.jsonl" | "timing.jsonl") => path.is_file() || path.is_symlink(),
        Some(name) if name.starts_with("ema-") => AverageFile::open(path).is_ok(),
        Some(name) if OUTPUTS.iter().any(|output| is_output(name, output)) => is_written_here(path),
        Some(name) => is_partial(name) && path.is_file(),
        None => false,
    }
}

/// Whether `path` is a result of the last step of the run in whose folder it is, or of a step after `step`: what is not drawn
/// from all metrics anew.
pub(crate) fn is_result_after(path: &Path, step: u64) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    // That of a width, after the last step or after the one in its name.
    let average = name.strip_prefix("ema-").and_then(|name| name.strip_suffix(".safetensors"));
    let is_later = |average: &str| match average.rsplit_once("-step-") {
        Some((_, of)) => of.parse::<u64>().is_ok_and(|of| of > step),
        None => true,
    };
    let is_shown = |output: &&str| !CURVES.contains(output) && is_output(name, output);
    (average.is_some_and(is_later) || OUTPUTS.iter().any(is_shown)) && is_made(path)
}

/// What a run draws and samples at its end, by the names without their endings.
const OUTPUTS: [&str; 6] = ["loss", "learning_rate", "val_loss", "val_metrics", "samples", "training"];
/// Those that are of all steps.
const CURVES: [&str; 2] = ["loss", "learning_rate"];

/// Whether `name` is `output` or, where that was taken, `output-N`, with an ending.
fn is_output(name: &str, output: &str) -> bool {
    let rest = name.rsplit_once('.').and_then(|(stem, _)| stem.strip_prefix(output));
    let is_number = |rest: &str| rest.strip_prefix('-').is_some_and(|n| n.parse::<u64>().is_ok());
    rest.is_some_and(|rest| rest.is_empty() || is_number(rest))
}

/// Whether this program wrote the picture or the file of samples `path`, wherever it is.
pub(crate) fn is_written_here(path: &Path) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some("png") => is_marked(path),
        Some("gif") => is_marked_gif(path),
        Some("safetensors") => path.is_file() && is_samples(path),
        _ => false,
    }
}

/// Whether `name` is that of a run's file that was being written, such as `.config.toml.1234-0.partial`. Files that other
/// commands write into the folder meanwhile are none.
pub(crate) fn is_partial(name: &str) -> bool {
    partial_of(name).is_some_and(|file| {
        matches!(file, "config.toml" | "metrics.jsonl" | "timing.jsonl" | "try")
            || file.starts_with("step-")
            || OUTPUTS.iter().any(|output| is_output(file, output))
    })
}

/// The name of the file that is being written under the name `name`, if it is such a name.
pub(crate) fn partial_of(name: &str) -> Option<&str> {
    let numbers = |text: &str| {
        let mut parts = text.split('-');
        let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u64>().is_ok());
        is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
    };
    let (file, unique) = name.strip_prefix('.')?.strip_suffix(".partial")?.rsplit_once('.')?;
    (!file.is_empty() && numbers(unique)).then_some(file)
}

fn is_marked(path: &Path) -> bool {
    let mark = mark();
    let mut found = Vec::new();
    // Not of a pipe, whose first byte may never come.
    let is_read = path.is_file()
        && File::open(path)
            .and_then(|file| file.take((HEADER + mark.len()) as u64).read_to_end(&mut found))
            .is_ok();
    is_read && found.get(HEADER..) == Some(&mark[..])
}

/// Whether a file ends with the mark of [`mark_gif`].
fn is_marked_gif(path: &Path) -> bool {
    let mut found = Vec::new();
    let mut read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-(GIF_TAIL.len() as i64)))?;
        file.take(GIF_TAIL.len() as u64).read_to_end(&mut found)?;
        Ok(())
    };
    path.is_file() && read().is_ok() && found == GIF_TAIL
}

/// Whether a run made the picture `path` in the folder of those that are drawn while it trains.
pub(crate) fn is_picture(path: &Path) -> bool {
    picture_step(path).is_some() && is_written_here(path)
}

/// The step of the picture `step-N.png`, or `step-N-M.png` where the first name was taken.
pub(crate) fn picture_step(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".png")?.strip_prefix("step-")?;
    let (step, number) = stem.split_once('-').map_or((stem, "0"), |(step, number)| (step, number));
    number.parse::<u64>().ok()?;
    step.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn partial_files_have_numbers() {
        for name in
            [".metrics.jsonl.123-0.partial", ".samples.png.1-0.partial", ".step-00000006.png.1-0.partial"]
        {
            assert!(is_partial(name), "{name}");
        }
        for name in [
            "thesis.partial",
            ".partial",
            ".thesis.partial",
            ".thesis.1.partial",
            ".a.1-2-3.partial",
            "a.1-2.partial",
            // Another command may be at work there.
            ".samples-seed-7.png.1-0.partial",
            ".mine.npz.1-0.partial",
            ".ema-0.1.safetensors.1-0.partial",
        ] {
            assert!(!is_partial(name), "{name}");
        }
    }

    #[test]
    fn pictures_of_the_training_have_their_steps() {
        let step = |name: &str| picture_step(Path::new(name));
        assert_eq!([step("step-00000120.png"), step("a/step-7-2.png")], [Some(120), Some(7)]);
        for name in ["step-1.gif", "step-.png", "step-1-.png", "step-a.png", "samples.png", "step-1-2-3.png"]
        {
            assert_eq!(step(name), None, "{name}");
        }
    }

    #[test]
    fn a_picture_is_a_run_s_if_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.png");
        let header = [b"\x89PNG\r\n\x1a\n", &[0; 25][..]].concat();
        let mut png = [&header[..], b"rest"].concat();
        fs::write(&path, &png).unwrap();
        assert!(!is_made(&path));
        mark_png(&mut png);
        fs::write(&path, &png).unwrap();
        assert!(is_made(&path) && png.starts_with(&header) && png.ends_with(b"rest"));
        for (name, expected) in [("samples-2.png", true), ("samples-seed-2.png", false), ("mine.png", false)]
        {
            let copy = folder.path().join(name);
            fs::copy(&path, &copy).unwrap();
            assert_eq!(is_made(&copy), expected, "{name}");
        }
        let path = folder.path().join("training.gif");
        let mut gif = b"GIF89a and so on;".to_vec();
        fs::write(&path, &gif).unwrap();
        assert!(!is_made(&path));
        mark_gif(&mut gif);
        fs::write(&path, &gif).unwrap();
        assert!(is_made(&path) && gif.starts_with(b"GIF89a and so on!") && gif.ends_with(b";"));
        fs::write(&path, "short").unwrap();
        assert!(!is_made(&path));
        let mut letter = b"dear reader".to_vec();
        mark_png(&mut letter);
        mark_gif(&mut letter);
        assert_eq!(letter, b"dear reader");
    }
}
