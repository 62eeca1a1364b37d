//! Which of a file's tensors are a module's: those under a common prefix that have its names.
//!
//! A file names each tensor by the path of keys to it, so a dict in a dict and a prefix in a name are the same thing.

use crate::Dtype;
use crate::file::Beside;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Whether a part of a name is a field in which PyTorch's wrappers keep what they wrap, such as `module`, `_orig_mod` and
/// `_fsdp_wrapped_module`: they stand anywhere in a name and mean nothing.
fn is_wrapper(part: &str) -> bool {
    part == "module" || part.starts_with('_') && (part.ends_with("module") || part.ends_with("_mod"))
}

/// What averages of weights count, in tensors of one element that may be floating-point.
const COUNTERS: [&str; 6] = ["n_averaged", "num_updates", "decay", "step", "initted", "num_batches_tracked"];

/// How many paths may lead to each other.
const MAX_ALIASES: usize = 8;

/// How many paths are named that could have been meant.
const NEAR: usize = 20;

/// What is known of a tensor before its values are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Which of its file's collections holds it.
    pub home: u32,
}

impl Entry {
    /// Whether the values are those of a tensor of this shape: a kernel of one pixel and a matrix are the same.
    pub(crate) fn has_values_of(&self, shape: &[usize]) -> bool {
        let matrix = |shape: &[usize]| match shape {
            &[outputs, inputs, 1, 1] => vec![outputs, inputs],
            shape => shape.to_vec(),
        };
        matrix(&self.shape) == matrix(shape)
    }

    fn is_counter(&self, name: &str) -> bool {
        let is_one = self.shape.iter().all(|&size| size == 1);
        let last = name.rsplit('.').next().unwrap_or(name);
        is_one && (self.dtype.is_integer() || self.dtype == Dtype::Bool || COUNTERS.contains(&last))
    }
}

/// What a file has, and what a module needs.
pub(crate) struct Names<'a> {
    pub entries: &'a BTreeMap<String, Entry>,
    pub expected: &'a BTreeMap<String, Vec<usize>>,
    pub beside: &'a Beside,
}

/// The tensors that are a module's, or would be if they fitted better.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// For each of the module's names that is there, the file's.
    pub names: BTreeMap<String, String>,
    /// The file's names of tensors in their midst that the module has not, and what they are without the prefix.
    pub extra: BTreeMap<String, String>,
    /// What stands in the place of a tensor and is none, by the module's names.
    pub others: BTreeMap<String, String>,
    /// The path that leads to them; empty if the file is nothing else.
    pub key: String,
    /// How many of the module's names are there.
    pub matched: usize,
    /// The paths to others that could have been meant and fit less, and how many of the module's names are there.
    pub less: Vec<(String, usize)>,
}

/// Why no tensors can be chosen.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// Several state dicts fit: their paths, and how many tensors they have.
    Several(Vec<(String, usize)>),
    /// There is nothing under the path that was asked for; what there is.
    NoKey(Vec<(String, usize)>),
}

impl Names<'_> {
    /// The tensors under the one prefix, or the one that `key` names, under which all are there and have their shapes; if
    /// there is none, those of the prefix that comes closest.
    pub(crate) fn choose(&self, key: Option<&str>) -> Result<Fit, Misfit> {
        let plain = self.plain_names();
        let counts = self.count(&plain);
        let wanted = key.map(|key| self.resolve(key));
        let is_wanted =
            |prefix: &str| wanted.as_ref().is_none_or(|wanted| wanted.has(prefix) && !wanted.is_cut(prefix));
        let complete: Vec<&str> = counts
            .iter()
            .filter(|(_, count)| **count == self.expected.len())
            .map(|(prefix, _)| *prefix)
            .collect();
        let mut fits: Vec<(&str, Fit)> =
            complete.iter().map(|prefix| (*prefix, self.fit(&plain, prefix, &complete))).collect();
        fits.retain(|(_, fit)| self.has_shapes(fit));
        let is_exact = |prefix: &str| wanted.as_ref().is_some_and(|wanted| wanted.is(prefix));
        let exact = fits.iter().position(|(prefix, _)| is_exact(prefix));
        let all = || (0..fits.len()).filter(|&i| is_wanted(fits[i].0)).collect();
        let fitting: Vec<usize> = exact.map_or_else(all, |exact| vec![exact]);
        let listed = |(_, fit): &(&str, Fit)| (fit.shown_key(), fit.names.len());
        match &fitting[..] {
            [] => {}
            [one] => return Ok(fits.swap_remove(*one).1),
            several => return Err(Misfit::Several(several.iter().map(|&i| listed(&fits[i])).collect())),
        }
        let mut near: Vec<(&str, usize)> = counts
            .iter()
            .map(|(prefix, count)| (*prefix, *count))
            .filter(|(prefix, _)| is_wanted(prefix))
            .collect();
        near.sort_by_cached_key(|(prefix, count)| {
            Reverse((*count, is_exact(prefix), self.count_shapes(&plain, prefix)))
        });
        match (&near[..], &wanted) {
            ([(prefix, _), less @ ..], _) => {
                let less =
                    less.iter().map(|(prefix, count)| (self.fit(&plain, prefix, &[]).shown_key(), *count));
                Ok(Fit { less: less.take(NEAR).collect(), ..self.fit(&plain, prefix, &complete) })
            }
            ([], None) => Ok(self.largest(&plain, &complete)),
            ([], Some(wanted)) => match wanted.prefixes.iter().find(|prefix| {
                plain.tensors.keys().any(|name| name.starts_with(*prefix) && !wanted.is_cut(name))
            }) {
                Some(prefix) => {
                    let mut fit = self.fit(&plain, prefix, &complete);
                    fit.extra.retain(|name, _| !wanted.is_cut(name));
                    Ok(fit)
                }
                None if fits.is_empty() => Err(Misfit::NoKey(self.groups())),
                None => Err(Misfit::NoKey(fits.iter().map(listed).collect())),
            },
        }
    }

    /// The file's names by what they are without wrappers. Of two that would be the same then, both keep theirs.
    fn plain_names(&self) -> Plain<'_> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for name in self.entries.keys() {
            *counts.entry(self.plain(name)).or_default() += 1;
        }
        let plain = |name: &String| {
            let plain = self.plain(name);
            if counts[&plain] > 1 { name.clone() } else { plain }
        };
        let tensors = self.entries.keys().map(|name| (plain(name), &name[..])).collect();
        let others = self.beside.others.iter().map(|(name, kind)| (self.plain(name), kind)).collect();
        Plain { tensors, others }
    }

    /// A name without wrappers, but for those that the module has itself.
    fn plain(&self, name: &str) -> String {
        let is_own = |part: &str| self.expected.keys().any(|name| name.split('.').any(|own| own == part));
        let is_kept = |part: &&str| !is_wrapper(part) || is_own(part);
        name.split('.').filter(is_kept).collect::<Vec<_>>().join(".")
    }

    /// For each prefix under which there is a name of the module's, how many there are.
    fn count<'p>(&self, plain: &'p Plain<'_>) -> BTreeMap<&'p str, usize> {
        let mut counts = BTreeMap::new();
        for name in plain.tensors.keys() {
            let starts = name.match_indices('.').map(|(at, _)| at + 1);
            for at in std::iter::once(0).chain(starts) {
                if self.expected.contains_key(&name[at..]) {
                    *counts.entry(&name[..at]).or_default() += 1;
                }
            }
        }
        counts
    }

    /// The tensors under a prefix, `complete` being those under which all are there.
    fn fit(&self, plain: &Plain<'_>, prefix: &str, complete: &[&str]) -> Fit {
        let mut fit = Fit::default();
        let mut homes = BTreeSet::new();
        for name in self.expected.keys() {
            let path = format!("{prefix}{name}");
            if let Some(&source) = plain.tensors.get(&path) {
                homes.extend(self.entries.get(source).map(|entry| entry.home));
                fit.names.insert(name.clone(), source.to_string());
            }
        }
        fit.matched = fit.names.len();
        let inner =
            |name: &str| complete.iter().any(|other| other.len() > prefix.len() && name.starts_with(other));
        let under =
            plain.tensors.range(prefix.to_string()..).take_while(|(name, _)| name.starts_with(prefix));
        for (name, &source) in under {
            let (short, entry) = (&name[prefix.len()..], &self.entries[source]);
            let is_amid = homes.is_empty() || homes.contains(&entry.home);
            if is_amid && !fit.names.contains_key(short) && !entry.is_counter(name) && !inner(name) {
                fit.extra.insert(source.to_string(), short.to_string());
            }
        }
        for name in self.expected.keys().filter(|name| !fit.names.contains_key(*name)) {
            if let Some(kind) = plain.others.get(&format!("{prefix}{name}")) {
                fit.others.insert(name.clone(), (*kind).clone());
            }
        }
        let first = fit.names.iter().next();
        let raw = first.and_then(|(name, source)| source.strip_suffix(name.as_str()));
        fit.key = raw.unwrap_or(prefix).trim_end_matches('.').to_string();
        fit
    }

    fn has_shapes(&self, fit: &Fit) -> bool {
        fit.names.iter().all(|(name, source)| {
            let entry = &self.entries[source];
            entry.dtype.is_float() && self.expected.get(name).is_some_and(|shape| entry.has_values_of(shape))
        })
    }

    /// How many of the module's tensors under a prefix have their shapes.
    fn count_shapes(&self, plain: &Plain<'_>, prefix: &str) -> usize {
        let has_shape = |(name, shape): &(&String, &Vec<usize>)| {
            let source = plain.tensors.get(&format!("{prefix}{name}"));
            source.and_then(|source| self.entries.get(*source)).is_some_and(|entry| entry.shape == **shape)
        };
        self.expected.iter().filter(has_shape).count()
    }

    /// The prefixes that a key can mean.
    fn resolve(&self, key: &str) -> Wanted {
        let mut key = key.trim_matches('.').to_string();
        for _ in 0..MAX_ALIASES {
            let alias = self.beside.aliases.iter().rev().find(|(alias, _)| {
                key.strip_prefix(alias.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            let Some((alias, path)) = alias else { break };
            key = format!("{path}{}", &key[alias.len()..]).trim_matches('.').to_string();
        }
        let mut prefixes = vec![self.plain(&key), key];
        for prefix in &mut prefixes {
            if !prefix.is_empty() {
                prefix.push('.');
            }
        }
        let mut cut = BTreeSet::new();
        for (parent, path) in &self.beside.dotted {
            for (parent, path) in
                [(*parent, path.clone()), (self.plain(&path[..*parent]).len(), self.plain(path))]
            {
                let is_cut = |key: &String| key.len() > parent + 1 && path.starts_with(key);
                if prefixes.iter().any(is_cut) {
                    cut.insert(path + ".");
                }
            }
        }
        Wanted { prefixes, cut }
    }

    /// The tensors of the collection with the most of them, where none have names of the module's.
    fn largest(&self, plain: &Plain<'_>, complete: &[&str]) -> Fit {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.home).or_default() += 1;
        }
        let mut homes: Vec<(&str, usize)> = counts
            .into_iter()
            .filter_map(|(home, count)| Some((self.beside.homes.get(&home)?.as_str(), count)))
            .collect();
        homes.sort_by_key(|(_, count)| Reverse(*count));
        let Some((&(largest, _), less)) = homes.split_first() else {
            return self.fit(plain, "", complete);
        };
        let prefix = if largest.is_empty() { String::new() } else { self.plain(largest) + "." };
        let less = less.iter().take_while(|(_, count)| *count >= self.expected.len()).take(NEAR);
        let less = less.map(|(path, count)| (shown_key(path), *count)).collect();
        Fit { less, ..self.fit(plain, &prefix, complete) }
    }

    /// The first keys, and how many tensors are under each.
    pub(crate) fn groups(&self) -> Vec<(String, usize)> {
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        let dotted: BTreeSet<&str> =
            self.beside.dotted.iter().filter(|(parent, _)| *parent == 0).map(|(_, key)| &key[..]).collect();
        for name in self.entries.keys() {
            let whole = starts(name).map(|start| &name[..start]).find(|start| dotted.contains(start));
            let first = || name.split('.').next().unwrap_or(name);
            *groups.entry(whole.unwrap_or_else(first)).or_default() += 1;
        }
        groups.into_iter().map(|(key, count)| (key.to_string(), count)).collect()
    }
}

impl Fit {
    /// The path as it is asked for.
    fn shown_key(&self) -> String {
        shown_key(&self.key)
    }
}

/// A path as it is asked for.
fn shown_key(path: &str) -> String {
    if path.is_empty() { "." } else { path }.to_string()
}

/// The lengths of what stands before each dot.
fn starts(name: &str) -> impl Iterator<Item = usize> {
    name.match_indices('.').map(|(at, _)| at)
}

/// A file's names without wrappers.
struct Plain<'a> {
    /// Of tensors, with the names that they have.
    tensors: BTreeMap<String, &'a str>,
    /// Of what stands beside them and is none, with what it is.
    others: BTreeMap<String, &'a String>,
}

/// A path that was asked for.
struct Wanted {
    /// With wrappers' names, and without.
    prefixes: Vec<String>,
    /// The prefixes of dicts whose keys have dots in them, at one of which the path ends.
    cut: BTreeSet<String>,
}

impl Wanted {
    /// Whether the prefix is the path's own.
    fn is(&self, prefix: &str) -> bool {
        self.prefixes.iter().any(|wanted| wanted == prefix)
    }

    /// Whether the path leads to a name only as part of a key, as `ema_0` of `ema_0.9999`.
    fn is_cut(&self, name: &str) -> bool {
        !self.cut.is_empty() && starts(name).any(|at| self.cut.contains(&name[..=at]))
    }

    /// Whether the prefix is the path's own or lies under it; under the path to everything lies only itself.
    fn has(&self, prefix: &str) -> bool {
        self.is(prefix) || self.prefixes.iter().any(|wanted| !wanted.is_empty() && prefix.starts_with(wanted))
    }
}
