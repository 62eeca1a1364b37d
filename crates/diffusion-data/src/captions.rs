//! Captions of the images in a folder: each in a text file beside its image, or many of them in `metadata.jsonl`.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use diffusion_core::watch::Watch;
use diffusion_weights::{check_regular, open_regular, read_regular};
use serde_json::{Map, Value};

use crate::{
    error::{DataError, Problem, first_names, shown},
    listing::{Broken, on_all},
};

/// What image folders of Hugging Face's `datasets` call the file of their captions.
const METADATA: &str = "metadata.jsonl";

/// The longest caption in a file of its own, in bytes.
const MAX_CAPTION: u64 = 1 << 16;
/// The longest line of metadata, which may say more than the caption.
const MAX_LINE: u64 = 1 << 20;
/// The longest metadata.
const MAX_METADATA: u64 = 1 << 32;

/// How many lines are read between two looks at the watch.
const LINES: u64 = 1024;

/// Under which keys metadata have a caption; the first comes before the second.
const TEXT: [&str; 2] = ["text", "caption"];

/// How many keys of metadata without captions are named.
const NAMED: usize = 20;

/// The captions of the images in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageCaptions {
    /// The caption of each image, in their order, where it has one.
    pub texts: Vec<Option<String>>,
    /// The files of metadata that name images and have no caption in any line.
    pub untold: Vec<UntoldMetadata>,
}

/// A file of metadata that has no caption in any line: maybe they stand under another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntoldMetadata {
    /// The file.
    pub path: PathBuf,
    /// The first keys in it in alphabetical order, fit to be shown.
    pub keys: Vec<String>,
}

/// The caption of each of the images, which are given by their paths below the folder, where it has one.
///
/// # Errors
/// If a file of captions cannot be read, is too large or not in UTF-8, or is not as it should be; if an image has two
/// captions.
pub(crate) fn read(folder: &Path, images: &[PathBuf], watch: &Watch) -> Result<ImageCaptions, DataError> {
    let mut captions = vec![None; images.len()];
    let broken = Broken::default();
    let jobs = images.iter().map(PathBuf::as_path).zip(captions.iter_mut());
    on_all("reading captions", jobs, watch, &broken, |image, caption| {
        *caption = beside(&folder.join(image))?;
        Ok(())
    })?;
    broken.into_result(folder)?;
    let folders: BTreeSet<&Path> = images.iter().flat_map(|image| image.ancestors().skip(1)).collect();
    let mut metadata = Vec::new();
    for below in folders {
        let path = folder.join(below).join(METADATA);
        match check_regular(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DataError::io(&path)(error)),
            Ok(bytes) if bytes > MAX_METADATA => {
                let found = format!("has {bytes} bytes");
                return Err(Problem::TooLarge { found, limit: Some(MAX_METADATA) }.at(&path));
            }
            Ok(_) => metadata.push(below),
        }
    }
    let mut untold = Vec::new();
    if metadata.is_empty() {
        return Ok(ImageCaptions { texts: captions, untold });
    }
    let numbers = images.iter().enumerate().map(|(number, image)| (image.as_path(), number)).collect();
    for below in metadata {
        let lines = Lines::default();
        untold.extend(
            Metadata { folder, below, numbers: &numbers, captions: &mut captions, lines }.read(watch)?,
        );
    }
    Ok(ImageCaptions { texts: captions, untold })
}

/// The caption in the text file beside an image.
fn beside(image: &Path) -> Result<Option<String>, DataError> {
    let path = image.with_extension("txt");
    if path == image {
        return Ok(None);
    }
    let bytes = match read_regular(&path, MAX_CAPTION) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::io(&path)(error)),
    };
    match std::str::from_utf8(without_mark(&bytes)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Err(Problem::format(format!("has line {line}, which is not in UTF-8"), "a caption").at(&path))
        }
    }
}

/// Without the byte order mark that some editors put before a text.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A file of captions that is being read.
struct Metadata<'a> {
    folder: &'a Path,
    /// The folder below that in which it lies.
    below: &'a Path,
    /// The numbers of the images by their paths.
    numbers: &'a HashMap<&'a Path, usize>,
    captions: &'a mut [Option<String>],
    lines: Lines,
}

/// What the lines of metadata have.
#[derive(Default)]
struct Lines {
    /// Whether one has a caption, or says that there is none.
    told: bool,
    /// The first one of an image that has no key for a caption.
    untold: Option<u64>,
    /// The keys of such lines.
    keys: BTreeSet<String>,
}

impl Metadata<'_> {
    /// Takes all captions; what is returned has none.
    fn read(mut self, watch: &Watch) -> Result<Option<UntoldMetadata>, DataError> {
        let path = self.folder.join(self.below).join(METADATA);
        let failed = DataError::io(&path);
        let mut file = BufReader::new(open_regular(&path).map_err(&failed)?);
        let mut line = Vec::new();
        for number in 1.. {
            if number % LINES == 0 {
                watch.check()?;
            }
            line.clear();
            if file.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(&failed)? == 0 {
                break;
            }
            self.take(&line, number).map_err(|problem| problem.at(&path))?;
        }
        let Lines { told, untold, keys } = self.lines;
        match untold {
            Some(number) if told => {
                let found = format!("has neither text nor caption in line {number}");
                let expected = "one of them in each line where any line has one, be it null";
                Err(Problem::format(found, expected).at(&path))
            }
            Some(_) => {
                let keys = first_names(keys.iter().map(String::as_str), NAMED);
                Ok(Some(UntoldMetadata { path: path.clone(), keys }))
            }
            None => Ok(None),
        }
    }

    /// Takes the caption of a line.
    fn take(&mut self, line: &[u8], number: u64) -> Result<(), Problem> {
        if line.len() as u64 > MAX_LINE {
            let found = format!("has line {number}, which is longer than {MAX_LINE} bytes");
            return Err(Problem::TooLarge { found, limit: Some(MAX_LINE) });
        }
        let line = if number == 1 { without_mark(line) } else { line };
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let expected = "a JSON object with file_name and text in each line";
        let object: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            // Which ends in a place within the line.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            Problem::format(format!("has line {number}, which is none ({})", shown(reason)), expected)
        })?;
        let name = object.get("file_name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| Problem::format(format!("has no file_name in line {number}"), expected))?;
        let image = self.image(name, number)?;
        if TEXT.iter().any(|key| object.contains_key(*key)) {
            self.lines.told = true;
        } else if image.is_some() {
            self.lines.untold.get_or_insert(number);
            // One more than are named, which shows that there are more.
            let room = (NAMED + 1).saturating_sub(self.lines.keys.len());
            self.lines.keys.extend(object.keys().take(room).cloned());
        }
        let text = TEXT.iter().filter_map(|key| object.get(*key)).find(|text| !text.is_null());
        let text = match text {
            None => return Ok(()),
            Some(Value::String(text)) => text.trim(),
            Some(_) => {
                return Err(Problem::format(
                    format!("has a text in line {number} that is no string"),
                    expected,
                ));
            }
        };
        let Some(image) = image else { return Ok(()) };
        match &mut self.captions[image] {
            Some(other) if other != text => {
                let found = format!("has another caption for {} in line {number}", shown(name));
                Err(Problem::format(found, "one for each image, here or in a text file beside it"))
            }
            caption => {
                *caption = Some(text.to_owned());
                Ok(())
            }
        }
    }

    /// The number of the image of a line; none of a file that is there and is no image.
    fn image(&self, name: &str, number: u64) -> Result<Option<usize>, Problem> {
        let mut path = self.below.to_path_buf();
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => {
                    let found = format!("names {} in line {number}", shown(name));
                    return Err(Problem::format(found, "files below its own folder"));
                }
            }
        }
        match self.numbers.get(path.as_path()) {
            Some(&image) => Ok(Some(image)),
            None if fs::symlink_metadata(self.folder.join(&path)).is_ok() => Ok(None),
            None => {
                let found = format!("names {} in line {number}, which is not there", shown(name));
                Err(Problem::format(found, "images of its folder"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const IMAGES: [&str; 4] = ["cat/a.png", "cat/deep/b.jpg", "dog/a.png", "dog/c.d.png"];

    /// A folder with these files, and with the images, whatever is in them.
    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let images = IMAGES.map(|image| (image, &b"an image"[..]));
        for (name, bytes) in images.iter().chain(files) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn captions(folder: &TempDir) -> Result<ImageCaptions, DataError> {
        read(folder.path(), &IMAGES.map(PathBuf::from), &Watch::default())
    }

    #[track_caller]
    fn assert_captions(files: &[(&str, &[u8])], expected: [Option<&str>; 4]) {
        let found = captions(&folder(files)).unwrap();
        assert_eq!(found.texts, expected.map(|text| text.map(str::to_owned)));
        assert_eq!(found.untold, []);
    }

    /// Below the folder, where an error is, and what it says.
    #[track_caller]
    fn error(files: &[(&str, &[u8])]) -> (String, String) {
        let folder = folder(files);
        let error = captions(&folder).expect_err("a caption is not as it should be");
        let path = error.path.clone().expect("a file is not as it should be");
        let below = path.strip_prefix(folder.path()).unwrap().display().to_string();
        (below, error.to_string().replace(&path.display().to_string(), "…"))
    }

    #[test]
    fn captions_stand_beside_images() {
        assert_captions(&[], [None; 4]);
        let files: [(&str, &[u8]); 5] = [
            ("cat/a.txt", "\u{feff} a süß cat\nby 🦊 \r\n".as_bytes()),
            ("cat/deep/b.txt", b""),
            ("dog/c.d.txt", b"c"),
            // Not of the image c.d.png, and of none.
            ("dog/c.txt", b"no"),
            ("a.txt", b"no"),
        ];
        assert_captions(&files, [Some("a süß cat\nby 🦊"), Some(""), None, Some("c")]);
    }

    #[test]
    fn metadata_tell_captions_of_images_below_them() {
        let all: &[u8] =
            b"\xef\xbb\xbf{\"file_name\": \"cat/a.png\", \"text\": \" one \", \"width\": [1, {}]}\n\n  \r\n\
            {\"caption\": \"two\", \"file_name\": \"./cat/deep/b.jpg\"}\r\n\
            {\"file_name\": \"dog/a.png\", \"text\": null, \"caption\": \"three\"}\n\
            {\"file_name\": \"dog/c.d.png\", \"text\": null}\n\
            {\"file_name\": \"notes.md\"}";
        let notes: (&str, &[u8]) = ("notes.md", b"");
        assert_captions(&[("metadata.jsonl", all), notes], [Some("one"), Some("two"), Some("three"), None]);
        // Of two, text is meant; names are those below the file's own folder.
        let cats: &[u8] = b"{\"file_name\":\"deep/b.jpg\",\"text\":\"t\",\"caption\":\"c\"}\n\
            {\"file_name\":\"a.png\",\"text\":\"cat\"}\n{\"file_name\":\"a.png\",\"text\":\"cat\"}";
        assert_captions(&[("cat/metadata.jsonl", cats)], [Some("cat"), Some("t"), None, None]);
        // Several files, and what stands beside an image as well.
        let files: [(&str, &[u8]); 3] =
            [("metadata.jsonl", all), ("dog/c.d.txt", b"four"), ("cat/deep/b.txt", b"two\n")];
        let expected = ["one", "two", "three", "four"].map(Some);
        assert_captions(&[&files[..], &[notes]].concat(), expected);
    }

    #[test]
    fn what_is_no_caption_is_named_with_its_line() {
        let file = "metadata.jsonl";
        let line = |second: &str| format!("{{\"file_name\": \"cat/a.png\", \"text\": \"a\"}}\n{second}\n");
        for (second, expected) in [
            ("{\"file_name\": \"dog/a.png\"", "has line 2, which is none (EOF while parsing an object)"),
            (
                "[\"dog/a.png\", \"text\"]",
                "has line 2, which is none (invalid type: sequence, expected a map)",
            ),
            ("\u{1b}[31m", "has line 2, which is none (expected value)"),
            ("{}", "has no file_name in line 2"),
            ("{\"file_name\": 3, \"text\": \"a\"}", "has no file_name in line 2"),
            ("{\"file_name\": \"\", \"text\": \"a\"}", "has no file_name in line 2"),
            ("{\"file_name\": \"dog/a.png\", \"txt\": \"a\"}", "has neither text nor caption in line 2"),
            ("{\"file_name\": \"a.png\"}", "names a.png in line 2, which is not there"),
            ("{\"file_name\": \"../a.png\"}", "names ../a.png in line 2, expected files below"),
            (
                "{\"file_name\": \"cat/../cat/a.png\"}",
                "names cat/../cat/a.png in line 2, expected files below",
            ),
            ("{\"file_name\": \"/etc/passwd\"}", "names /etc/passwd in line 2, expected files below"),
            ("{\"file_name\": \"dog/a.png\", \"text\": [\"a\"]}", "has a text in line 2 that is no string"),
            ("{\"file_name\": \"dog/a.png\", \"caption\": 1}", "has a text in line 2 that is no string"),
            (
                "{\"file_name\": \"cat/a.png\", \"text\": \"b\"}",
                "has another caption for cat/a.png in line 2",
            ),
        ] {
            let found = error(&[(file, line(second).as_bytes())]);
            assert!(found.0 == file && found.1.contains(expected), "{second}: {found:?}");
        }
        let found = error(&[("dog/metadata.jsonl", b"\n{\"file_name\": \"\xff\"}")]);
        assert!(found.0 == "dog/metadata.jsonl" && found.1.contains("line 2, which is none"), "{found:?}");
        let found = error(&[("cat/a.txt", b"b"), (file, line("").as_bytes())]);
        assert!(found.0 == file && found.1.contains("another caption for cat/a.png in line 1"), "{found:?}");

        let found = error(&[("dog/a.txt", b"one\ntwo\nthr\xe9e\n")]);
        assert!(found.0 == "dog/a.txt" && found.1.contains("has line 3, which is not in UTF-8"), "{found:?}");
    }

    /// They may be of something else; or of captions under another key, which is for the user to see.
    #[test]
    fn metadata_without_any_caption_are_named_with_their_keys() {
        let folder = folder(&[
            (
                "cat/metadata.jsonl",
                b"{\"file_name\":\"a.png\",\"prompt\":\"a\"}\n{\"file_name\":\"deep/b.jpg\",\"\x7f\":1}",
            ),
            ("dog/metadata.jsonl", b"{\"file_name\":\"a.png\",\"text\":\"a dog\"}"),
        ]);
        let found = captions(&folder).unwrap();
        assert_eq!(found.texts, [None, None, Some("a dog".to_owned()), None]);
        let path = folder.path().join("cat/metadata.jsonl");
        let keys = ["file_name", "prompt", "\u{fffd}"].map(str::to_owned).to_vec();
        assert_eq!(found.untold, [UntoldMetadata { path, keys }]);

        let many: String = (0..100).map(|i| format!(",\"k{i:02}\":0")).collect();
        let line = format!("{{\"file_name\":\"cat/a.png\"{many}}}");
        let found = captions(&self::folder(&[("metadata.jsonl", line.as_bytes())])).unwrap();
        assert_eq!(found.untold[0].keys.len(), NAMED + 1);
        assert_eq!(found.untold[0].keys[NAMED], "…");
    }

    #[test]
    fn captions_have_a_length() {
        let long = |length: u64| vec![b'a'; length as usize];
        assert!(captions(&folder(&[("cat/a.txt", &long(MAX_CAPTION))])).is_ok());
        let found = error(&[("cat/a.txt", &long(MAX_CAPTION + 1))]);
        assert!(found.0 == "cat/a.txt" && found.1.contains("it has 65537 bytes"), "{found:?}");

        let line = |length: u64| {
            let name = "\n{\"file_name\":\"cat/a.png\",\"other\":\"";
            [name.as_bytes(), &long(length - name.len() as u64 - 1), b"\"}\n"].concat()
        };
        assert!(captions(&folder(&[("metadata.jsonl", &line(MAX_LINE - 1))])).is_ok());
        let found = error(&[("metadata.jsonl", &line(MAX_LINE))]);
        assert!(found.0 == "metadata.jsonl" && found.1.contains("has line 2, which is longer"), "{found:?}");

        let folder = folder(&[]);
        let path = folder.path().join("metadata.jsonl");
        fs::File::create(&path).unwrap().set_len(MAX_METADATA + 1).unwrap();
        let error = captions(&folder).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLarge { .. }) && error.path == Some(path), "{error}");
    }

    /// Nothing is waited for, and a folder is no text.
    #[test]
    fn what_is_no_file_is_an_error() {
        for name in ["cat/a.txt", "metadata.jsonl"] {
            let folder = folder(&[]);
            fs::create_dir(folder.path().join(name)).unwrap();
            let error = captions(&folder).unwrap_err();
            assert!(matches!(error.problem, Problem::Io(_)), "{error}");
            assert_eq!(error.path, Some(folder.path().join(name)));
        }
        let watch = Watch::default();
        watch.stop();
        let error = read(folder(&[]).path(), &IMAGES.map(PathBuf::from), &watch).unwrap_err();
        assert!(matches!(error.problem, Problem::Stopped), "{error}");
    }
}
