//! Files that `torch.save` writes since PyTorch 1.6: a zip archive of a pickle and of the tensors' bytes.

use super::contents::{Contents, Making, contents};
use super::entry::Entry;
use super::pickle::{Pickle, Storage};
use super::view::View;
use super::{kind, zip};
use crate::error::{Fault, malformed, unsupported};
use crate::source::Source;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most bytes of a pickle. Its numbers and strings are in it, but no tensor's values.
pub(super) const MAX_PICKLE: u64 = 64 << 20;

/// How much larger than its tensors a packed storage may be.
const SLACK: u64 = 1 << 20;

/// What is said of bytes in another order.
pub(super) fn big(order: &str) -> String {
    format!(
        "its bytes are in the order {order:?}, expected \"little\"; in Python on this computer, load it and save it \
         again"
    )
}

/// The tensors in an archive, each inside its storage.
pub(super) fn read(source: &Source) -> Result<Contents, Fault> {
    let mut files = zip::read(source)?;
    let is_pickle = |name: &&String| *name == "data.pkl" || name.ends_with("/data.pkl");
    let pickles: Vec<String> = files.keys().filter(is_pickle).cloned().collect();
    let [name] = &pickles[..] else {
        return Err(Fault::NotAStateDict(kind::of_archive(&files, pickles.len())));
    };
    let prefix = name.trim_end_matches("data.pkl").to_string();
    if let Some(order) = files.get(&format!("{prefix}byteorder")) {
        let order = order.read_text(source, 8)?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return unsupported(big(&order));
        }
    }
    let Some(pickle) = files.remove(name) else { return malformed("its pickle is missing") };
    let bytes = pickle.read_text(source, MAX_PICKLE)?;
    let pickle = Pickle::read(&bytes)?;
    let storages = Storages { prefix, files: RefCell::new(files), used: RefCell::default() };
    let contents =
        contents(&pickle, bytes.len(), &|storage, size, view| storages.place(storage, size, view))?;
    storages.check_sizes()?;
    Ok(contents)
}

/// The files of an archive that hold values.
struct Storages {
    prefix: String,
    files: RefCell<BTreeMap<String, Entry>>,
    /// Those that are used, with the bytes of all tensors in them.
    used: RefCell<HashMap<String, (Arc<Entry>, u64)>>,
}

impl Storages {
    /// Checks a tensor, which `view` places in a storage of a start and a count of elements, against its storage, and
    /// that against its file.
    fn place(&self, storage: &Storage<'_>, size: u64, view: &Making<'_>) -> Result<View, Fault> {
        let mut used = self.used.borrow_mut();
        if !used.contains_key(storage.key) {
            let name = format!("{}data/{}", self.prefix, storage.key);
            let Some(entry) = self.files.borrow_mut().remove(&name) else {
                return malformed(format!("the values are missing, expected `data/{}`", storage.key));
            };
            used.insert(storage.key.to_string(), (Arc::new(entry), 0));
        }
        let Some((entry, bytes)) = used.get_mut(storage.key) else {
            return malformed(format!("the values are missing, expected `data/{}`", storage.key));
        };
        let stored = storage.count.checked_mul(storage.size);
        if stored.is_none_or(|stored| stored > entry.size) {
            return malformed(format!(
                "storage `{}` holds {} bytes, expected {} elements of {} bytes",
                storage.key, entry.size, storage.count, storage.size
            ));
        }
        let view = view([0, size, stored.unwrap_or_default() / size.max(1)])?;
        *bytes = bytes.saturating_add(view.bytes());
        Ok(view.within(entry.clone()))
    }

    /// A packed storage is as large as its tensors make it: a few bytes could stand for any number otherwise.
    fn check_sizes(&self) -> Result<(), Fault> {
        for (key, (entry, bytes)) in &*self.used.borrow() {
            if entry.packed < entry.size && entry.size > bytes.saturating_mul(2).saturating_add(SLACK) {
                return malformed(format!(
                    "storage `{key}` has {} bytes unpacked, expected the {bytes} of its tensors",
                    entry.size
                ));
            }
        }
        Ok(())
    }
}
