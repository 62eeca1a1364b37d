//! What a file is that holds no state dict, by its first bytes or its names.

use super::entry::Entry;
use crate::FileKind;
use std::collections::BTreeMap;

/// What a file begins as that is none of the formats, in the words of an error.
pub(super) fn of_head(head: &[u8]) -> String {
    match FileKind::of(head) {
        Some(kind) => format!("it {kind}"),
        None => {
            let start = &head[..head.len().min(9)];
            format!("it begins with {start:02x?}, expected an archive of torch.save or a safetensors header")
        }
    }
}

/// What a zip archive is that has not one pickle, but `pickles` of them.
pub(super) fn of_archive(files: &BTreeMap<String, Entry>, pickles: usize) -> String {
    let ends = |ending: &str| files.keys().any(|name| name.ends_with(ending));
    let what = if pickles > 0 {
        None
    } else if ends("/archive_format") {
        Some("a program of `torch.export`; in Python, save the `state_dict()` of the model instead")
    } else if ends(".npy") {
        Some("NumPy arrays")
    } else if ends("model.weights.h5") {
        Some("a Keras model")
    } else if ends(".pth") || ends(".pt") || ends(".ckpt") || ends(".safetensors") {
        Some("files of weights; unpack it first")
    } else {
        None
    };
    match what {
        Some(what) => format!("it is a zip archive of {what}"),
        None => format!("it is a zip archive with {pickles} files called data.pkl, expected one"),
    }
}
