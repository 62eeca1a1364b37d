//! Which tensors a pickle holds, each under the path of keys that leads to it.

use super::pickle::{Id, Pickle, Value};
use crate::error::{Fault, malformed, shown};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// How many collections may lie in each other; what is deeper is passed over.
const MAX_DEPTH: usize = 32;

/// A key that is longer leads to no weights.
const MAX_KEY: usize = 1024;

/// The most items of a tuple that is a key, and the most bytes of them together.
const MAX_TUPLE: (usize, usize) = (8, 64);

/// How many bytes the paths may have together, per byte of the pickle, and for small ones. A path takes its own length,
/// while a pickle names a key once.
const PATHS: (usize, usize) = (4, 1 << 16);

/// How many objects are named.
const NAMED: usize = 10;

/// What a pickle holds.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The tensors, those that cannot be read among them: their paths, values, and the numbers of their collections.
    pub tensors: Vec<(String, Id, u32)>,
    pub beside: Beside,
}

/// What a file holds besides tensors.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// What stands in a dict with tensors and is none: its path, and what it is.
    pub others: BTreeMap<String, String>,
    /// Paths to collections that have another path already, with that.
    pub aliases: BTreeMap<String, String>,
    /// Paths to the collections that hold tensors, by their numbers.
    pub homes: BTreeMap<u32, String>,
    /// Collections whose own keys have dots in them: the lengths of the paths to what holds them, and their paths.
    pub dotted: Vec<(usize, String)>,
    /// Classes and functions of objects, which Python would have to run.
    pub objects: Vec<String>,
}

impl Beside {
    /// The keys to the tensor of this name in a collection, as they can be shown.
    pub(super) fn keys_to(&self, name: &str, home: u32) -> String {
        match self.homes.get(&home).filter(|path| !path.is_empty()) {
            Some(path) => {
                let key = name.get(path.len() + 1..).unwrap_or_default();
                format!("`{}` in `{}`", shown(key), shown(path))
            }
            None => format!("`{}`", shown(name)),
        }
    }

    /// What a file of tensors alone has.
    pub(crate) const NOTHING: Self = Self {
        others: BTreeMap::new(),
        aliases: BTreeMap::new(),
        homes: BTreeMap::new(),
        dotted: Vec::new(),
        objects: Vec::new(),
    };
}

/// Walks through all collections, each once.
pub(super) fn walk(pickle: &Pickle<'_>, size: usize) -> Result<Walked, Fault> {
    let mut walk = Walk {
        pickle,
        found: Walked::default(),
        seen: HashMap::new(),
        left: size.saturating_mul(PATHS.0).saturating_add(PATHS.1),
    };
    let mut pending = vec![(pickle.root(), String::new(), 0)];
    while let Some((id, path, depth)) = pending.pop() {
        let home = walk.seen.len() as u32;
        walk.seen.insert(id, path.clone());
        let from = pending.len();
        let (items, is_dict) = walk.items(id);
        walk.leaves(&path, &items, is_dict, home)?;
        for (key, id) in items {
            if depth + 1 < MAX_DEPTH && is_collection(pickle.value(id)) {
                let inner = walk.join(&path, &key)?;
                if key.contains('.') {
                    let again = walk.join(&path, &key)?;
                    walk.found.beside.dotted.push((path.len(), again));
                }
                pending.push((id, inner, depth + 1));
            }
        }
        // The first is looked at first, and what was seen meanwhile is an alias.
        pending[from..].reverse();
        walk.drop_seen(&mut pending)?;
    }
    Ok(walk.found)
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: Walked,
    /// The path of each collection.
    seen: HashMap<Id, String>,
    /// How many bytes of paths there may still be.
    left: usize,
}

impl<'a> Walk<'_, 'a> {
    /// The keys and values of a collection, and whether it is a dict. Keys that are neither strings, integers, `None`,
    /// bools nor short tuples of strings and integers lead nowhere, as numbers with a fraction do.
    fn items(&self, id: Id) -> (Vec<(Cow<'a, str>, Id)>, bool) {
        let key = |&(key, id): &(Id, Id)| match self.pickle.value(key) {
            &Value::Text(key) if key.len() <= MAX_KEY => Some((Cow::Borrowed(key), id)),
            Value::Int(key) => Some((Cow::Owned(key.to_string()), id)),
            Value::Tuple(items) => Some((Cow::Owned(tuple(self.pickle, items)?), id)),
            Value::Bytes(key) if key.len() <= MAX_TUPLE.1 => {
                Some((Cow::Owned(str::from_utf8(key).ok()?.to_string()), id))
            }
            Value::None => Some((Cow::Borrowed("None"), id)),
            Value::Bool(true) => Some((Cow::Borrowed("True"), id)),
            Value::Bool(false) => Some((Cow::Borrowed("False"), id)),
            _ => None,
        };
        match self.pickle.value(id) {
            Value::Dict(entries) => (entries.iter().filter_map(key).collect(), true),
            Value::List(items) | Value::Tuple(items) => {
                let value = |id: Id| self.pickle.value(id);
                let is_plain = |id: Id| {
                    !is_tensor(value(id))
                        && !is_collection(value(id))
                        && !matches!(value(id), Value::Object(_))
                };
                let numbered = items.iter().enumerate().filter(|(_, id)| !is_plain(**id));
                (numbered.map(|(i, &id)| (Cow::Owned(i.to_string()), id)).collect(), false)
            }
            _ => (Vec::new(), false),
        }
    }

    /// Notes the tensors among the items of a collection and, beside them in a dict, what is none; and objects.
    fn leaves(
        &mut self,
        path: &str,
        items: &[(Cow<'_, str>, Id)],
        is_dict: bool,
        home: u32,
    ) -> Result<(), Fault> {
        let has_tensors: bool = items.iter().any(|(_, id)| is_tensor(self.pickle.value(*id)));
        if has_tensors {
            self.found.beside.homes.insert(home, path.to_string());
        }
        for (key, id) in items {
            let value = self.pickle.value(*id);
            if is_tensor(value) {
                let name = self.join(path, key)?;
                self.found.tensors.push((name, *id, home));
            } else if is_dict && has_tensors && !is_collection(value) {
                let (name, kind) = (self.join(path, key)?, self.kind(value));
                self.found.beside.others.insert(name, kind);
            }
            self.note_object(value);
        }
        Ok(())
    }

    fn note_object(&mut self, value: &Value<'_>) {
        let objects = &mut self.found.beside.objects;
        if objects.len() < NAMED
            && let Value::Object(class) = value
            && let Some(class) = name_of(self.pickle, *class)
            && !objects.contains(&class)
        {
            objects.push(class);
        }
    }

    fn kind(&self, value: &Value<'_>) -> String {
        match value {
            Value::Object(class) => match name_of(self.pickle, *class) {
                Some(class) => format!("an object of `{class}`"),
                None => "an object".to_string(),
            },
            other => other.kind().to_string(),
        }
    }

    fn join(&mut self, path: &str, key: &str) -> Result<String, Fault> {
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        match self.left.checked_sub(path.len()) {
            Some(left) => self.left = left,
            None => return malformed("the paths to its tensors are longer than its pickle allows"),
        }
        Ok(path)
    }

    /// Makes aliases of the collections at the end of those to be looked at that were seen already.
    fn drop_seen(&mut self, pending: &mut Vec<(Id, String, usize)>) -> Result<(), Fault> {
        while let Some((id, _, _)) = pending.last()
            && let Some(first) = self.seen.get(id)
        {
            let Some(left) = self.left.checked_sub(first.len()) else {
                return malformed("the paths to its tensors are longer than its pickle allows");
            };
            self.left = left;
            let first = first.clone();
            if let Some((_, alias, _)) = pending.pop() {
                self.found.beside.aliases.insert(alias, first);
            }
        }
        Ok(())
    }
}

/// The items of a tuple that is a key, with dots between; nothing if it leads nowhere.
fn tuple(pickle: &Pickle<'_>, items: &[Id]) -> Option<String> {
    let mut key = String::new();
    for (i, &item) in items.iter().take(MAX_TUPLE.0 + 1).enumerate() {
        if i > 0 {
            key.push('.');
        }
        match pickle.value(item) {
            &Value::Text(part) if part.len() <= MAX_TUPLE.1 => key.push_str(part),
            Value::Int(part) => key.push_str(&part.to_string()),
            _ => return None,
        }
    }
    (!items.is_empty() && items.len() <= MAX_TUPLE.0 && key.len() <= MAX_TUPLE.1).then_some(key)
}

/// The name of a class or function that is none of the known ones.
pub(super) fn name_of(pickle: &Pickle<'_>, class: Id) -> Option<String> {
    match pickle.value(class) {
        Value::Global(global) => global.other(),
        _ => None,
    }
}

/// What the root of a pickle is that is no collection.
pub(super) fn refusal(pickle: &Pickle<'_>) -> Option<Fault> {
    Some(match pickle.value(pickle.root()) {
        root if is_collection(root) => return None,
        &Value::Object(class) => match name_of(pickle, class) {
            Some(class) => Fault::Refused(class),
            None => Fault::NotAStateDict("it holds an object, expected a dict of tensors".to_string()),
        },
        Value::Global(global) if global.other().is_some() => {
            Fault::Refused(global.other().unwrap_or_default())
        }
        root => Fault::NotAStateDict(format!("it holds {}, expected a dict of tensors", root.kind())),
    })
}

/// Says what a pickle without tensors holds, unless that is an empty dict, whose tensors are all missing.
pub(super) fn check_is_empty(pickle: &Pickle<'_>) -> Result<(), Fault> {
    let entries = match pickle.value(pickle.root()) {
        Value::Dict(entries) if entries.is_empty() => return Ok(()),
        Value::Dict(entries) => entries,
        other => {
            let kind = other.kind();
            return Err(Fault::NotAStateDict(format!(
                "it holds {kind} without tensors, expected a dict of them"
            )));
        }
    };
    let key = |&(key, _): &(Id, Id)| match pickle.value(key) {
        Value::Text(key) => format!("`{}`", shown(key)),
        Value::Int(key) => key.to_string(),
        other => other.kind().to_string(),
    };
    let keys: Vec<String> = entries.iter().take(NAMED).map(key).collect();
    let keys = keys.join(", ");
    if pickle.values().any(is_tensor) {
        return Err(Fault::Unsupported(format!(
            "its tensors are deeper than {MAX_DEPTH} dicts, or under keys that are neither strings nor whole numbers; \
             its keys begin with {keys}"
        )));
    }
    let arrays = match pickle.values().any(|value| matches!(value, Value::Array(_))) {
        true => ", but NumPy arrays",
        false => "",
    };
    Err(Fault::NotAStateDict(format!("it holds no tensors{arrays}; its keys begin with {keys}")))
}

fn is_tensor(value: &Value<'_>) -> bool {
    matches!(value, Value::Tensor(_) | Value::Unread(_))
}

fn is_collection(value: &Value<'_>) -> bool {
    matches!(value, Value::Dict(_) | Value::List(_) | Value::Tuple(_))
}
