//! What can be wrong with a data file: which file, what was found there, and what was expected.

use std::{fmt::Display, io, path::PathBuf};

use thiserror::Error;

/// A file that could not be read as a data set.
///
/// Each message is one sentence that also tells the cause, so that it needs no chain of sources to be understood. What
/// it quotes of a file is shortened, and shown without control characters: the file may come from anywhere.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read, or is not the text that it should be.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The file begins as a gzip file does, but cannot be decompressed.
    #[error("cannot decompress {} as gzip: {source}", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: io::Error,
    },

    /// A folder has none of the files that were looked for.
    #[error("found neither {name} nor {name}.gz in {}", folder.display())]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The name of the file, without `.gz`.
        name: String,
    },

    /// The first four bytes are not those of the expected kind of IDX file.
    #[error("{} begins with the number {found:#010x}, expected {expected:#010x}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// The number that the file begins with.
        found: u32,
        /// The number that marks the kind of file that was expected.
        expected: u32,
    },

    /// The file ends too early.
    #[error("{} ends after {found} bytes, expected {expected}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes, decompressed.
        found: u64,
        /// The length that its header promises, or the length of the header itself where that is cut.
        expected: u128,
    },

    /// The file goes on after its end.
    #[error("{} goes on after {expected} bytes, expected its end there", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// The length that its header promises, in bytes, decompressed.
        expected: u128,
    },

    /// The file is no row of whole records.
    #[error("{} is {found} bytes long, expected whole records of {record} bytes, and at least one", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// Its length in bytes, decompressed.
        found: usize,
        /// The length of a record in bytes.
        record: usize,
    },

    /// The file is longer than any that it could be.
    #[error("{} is longer than {limit} bytes, expected at most so many", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The greatest length that is read, in bytes, decompressed.
        limit: u64,
    },

    /// The file is whole, but holds no pixel.
    #[error("{} holds {images} images of {rows} × {columns} pixels, expected at least one of each", path.display())]
    NoPixels {
        /// The file.
        path: PathBuf,
        /// The number of images.
        images: u32,
        /// Their height in pixels.
        rows: u32,
        /// Their width in pixels.
        columns: u32,
    },

    /// The labels are not as many as the images.
    #[error("{} holds {found} labels, expected {expected}, one for each image in {}", path.display(), images.display())]
    LabelCount {
        /// The file of labels.
        path: PathBuf,
        /// The file of images.
        images: PathBuf,
        /// The number of labels.
        found: usize,
        /// The number of images.
        expected: usize,
    },

    /// A label names no class.
    #[error(
        "{} gives example {index} the label {found}, expected a label {}below {classes}",
        path.display(), if *found < 0 { "of at least 0 and " } else { "" }
    )]
    LabelRange {
        /// The file of labels.
        path: PathBuf,
        /// The example in this file, counted from 0.
        index: usize,
        /// Its label, wide enough for whatever integers a file may hold.
        found: i128,
        /// The number of classes.
        classes: usize,
    },

    /// A table begins with other columns than expected.
    #[error("{} begins with the line {found:?}, expected the columns {expected}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The first line, shortened where it is long.
        found: String,
        /// The columns and what separates them.
        expected: String,
    },

    /// A line of a table has too few or too many columns.
    #[error("{} has {found} columns in line {line}, expected {expected}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The number of columns in it.
        found: usize,
        /// The number of columns in the header.
        expected: usize,
    },

    /// A field of a table is not a finite number.
    #[error("{} has {found:?} as {column} in line {line}, expected a finite number", path.display())]
    Number {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The name of the column.
        column: &'static str,
        /// The field, shortened where it is long.
        found: String,
    },

    /// A table has no rows of the name that was asked for.
    #[error("{} has no data set named {name:?}, expected one of [{}]", path.display(), names.join(", "))]
    UnknownName {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names that the file has, in alphabetical order, no more than the first few of them.
        names: Vec<String>,
    },

    /// A folder has nothing of the kind that was looked for.
    #[error("found no {wanted} in {}", folder.display())]
    NoneInFolder {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },

    /// A folder has images and subfolders side by side, so that it cannot be told what the classes are.
    #[error(
        "{} holds the image {} beside the folder {}, expected only images or only a folder for each class",
        folder.display(), image.display(), subfolder.display()
    )]
    MixedFolder {
        /// The folder.
        folder: PathBuf,
        /// The first of its images.
        image: PathBuf,
        /// The first of its subfolders.
        subfolder: PathBuf,
    },

    /// A folder is a link to one of those that it is in.
    #[error("{} leads back to {}, expected no folder within itself", folder.display(), target.display())]
    FolderLoop {
        /// The folder.
        folder: PathBuf,
        /// Where it leads to.
        target: PathBuf,
    },

    /// The file is named as an image, but does not begin as one.
    #[error("{} begins with the bytes {found:02x?}, expected those of a PNG or JPEG file", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// Its first eight bytes, or all if they are fewer.
        found: Vec<u8>,
    },

    /// A JPEG file ends too early.
    #[error("{} ends after {found} bytes, expected the end-of-image marker of a JPEG file before", path.display())]
    JpegCut {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },

    /// An image is too large to be decoded.
    #[error(
        "{} is an image of {width} × {height} pixels or {found} bytes, expected at most {limit} bytes",
        path.display()
    )]
    ImageTooLarge {
        /// The file.
        path: PathBuf,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The bytes that its pixels would take.
        found: u64,
        /// The bytes that they may take.
        limit: u64,
    },

    /// The file begins as an image does, but cannot be decoded.
    #[error("cannot decode {} as an image: {}", path.display(), said(source))]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The images of a folder take more memory than there is.
    #[error("the {images} images in {} need {bytes} bytes, expected so many to be free", folder.display())]
    Memory {
        /// The folder.
        folder: PathBuf,
        /// The number of images.
        images: usize,
        /// The bytes that they need together.
        bytes: u128,
    },

    /// A safetensors file says that its header is longer than one may be.
    #[error("{} begins with a header of {found} bytes, expected at most {limit}", path.display())]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// The length in bytes that the header is said to have.
        found: u64,
        /// The length that it may have.
        limit: u64,
    },

    /// The header of a file is not that of a safetensors file, or contradicts itself.
    #[error("cannot read the header of {} as that of a safetensors file: {}", path.display(), said(source))]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A file lacks a tensor.
    #[error("{} has the tensors [{}], expected one named {name}", path.display(), names.join(", "))]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        name: &'static str,
        /// The names that the file has, in alphabetical order, no more than the first few of them.
        names: Vec<String>,
    },

    /// A tensor has another shape than expected.
    #[error("{} has the tensor {name} of shape {found:?}, expected {expected}", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        name: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that was expected, and why.
        expected: String,
    },

    /// A tensor has another type than expected.
    #[error("{} has the tensor {name} of type {found}, expected {expected}", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        name: &'static str,
        /// Its type.
        found: String,
        /// The types that can be read.
        expected: &'static str,
    },

    /// Some shards have the latents of mirrored images, and some have not.
    #[error(
        "{} has a tensor {name} and {} has none, expected it in all shards or in none",
        with.display(), without.display()
    )]
    SomeMirrored {
        /// A shard with the tensor.
        with: PathBuf,
        /// A shard without it.
        without: PathBuf,
        /// The name of the tensor.
        name: &'static str,
    },
}

/// The first `n` of some names from a file, in alphabetical order, and an ellipsis if they are more.
pub(crate) fn first_names<'a>(names: impl Iterator<Item = &'a str>, n: usize) -> Vec<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let rest = (names.len() > n).then(|| "…".to_owned());
    names.into_iter().take(n).map(|name| plain(&shorten(name))).chain(rest).collect()
}

/// Enough of a text for an error message, however long the line of a hostile file may be.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(60, text)
}

fn shorten_to(length: usize, text: &str) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without the characters that do something to a terminal instead of being shown there.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What another library says of a file, which may quote the file or end its line.
fn said(source: impl Display) -> String {
    plain(&shorten_to(500, source.to_string().trim_end()))
}
