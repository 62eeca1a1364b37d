//! What a checkpoint says of its run: its settings and its data. A run that goes on with others is another run from
//! there, and says so.

use crate::change::Change;
use crate::config::RunConfig;
use crate::error::RecipeError;
use diffusion::data::{AnyDataset, DataError, Dataset, Fingerprint, TrainingData, ValidationSplit, identity};
use diffusion::train::Checkpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use toml::{Table, Value};

/// What a run is at some moment: all of its settings, and what identifies its data. Every checkpoint holds one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The hash of config.toml.
    checksum: String,
    /// What identifies the data, if they were open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<DataRecord>,
    /// config.toml.
    config: Table,
}

/// What identifies a data set, besides its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataRecord {
    /// The number of examples, those for validation included.
    examples: usize,
    /// The names of the classes, or their numbers where they have no names; none of unlabeled data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    /// The fingerprint's hash of all identities; none of data that are computed from their settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identities: Option<String>,
    /// The fingerprint's hash of some values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<String>,
    /// The limit of the split, if some examples are for validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation_limit: Option<String>,
}

impl DataRecord {
    /// That of `data`, of a run of the configuration `config`.
    pub fn of(data: &TrainingData, config: &RunConfig) -> Result<Self, DataError> {
        // What is computed has the same values wherever its settings are the same, but for a machine's last digits.
        let is_read = config.data.path().is_some();
        let fingerprint = is_read.then(|| Fingerprint::of(&data.all)).transpose()?;
        Ok(Self {
            examples: data.all.len(),
            classes: classes(&data.all),
            identities: fingerprint.map(|fingerprint| hexadecimal(fingerprint.identities)),
            values: fingerprint.map(|fingerprint| hexadecimal(fingerprint.values)),
            validation_limit: data.split.map(|split| hexadecimal(split.limit)),
        })
    }

    /// What is otherwise than it was `before`.
    fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut add =
            |path: &str, what: String| changes.push(Change { path: path.into(), what, decides: true });
        if self.examples != before.examples {
            add("data.examples", arrow(before.examples, self.examples));
        } else if self.identities != before.identities {
            add("data.examples", "are others, or in another order".to_string());
        } else if self.values != before.values {
            add("data.values", "are others in the examples that are compared".to_string());
        }
        // A version that did not know their names had their numbers.
        let is_named = before.classes.len() == self.classes.len()
            && before.classes.iter().enumerate().all(|(number, class)| *class == number.to_string());
        if !is_named && (self.classes.len() > 1 || before.classes.len() > 1) {
            // The one class of a folder without subfolders is called as the folder is.
            let others = |of: &Self, than: &Self| {
                let others = of.classes.iter().filter(|class| !than.classes.contains(class));
                others.map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ")
            };
            for (classes, what) in [(others(self, before), "appeared"), (others(before, self), "vanished")] {
                if !classes.is_empty() {
                    add("data.classes", format!("{classes} {what}"));
                }
            }
        }
        changes
    }
}

fn classes(data: &AnyDataset) -> Vec<String> {
    match data.class_names() {
        Some(names) => names.to_vec(),
        None => (0..data.num_classes().unwrap_or(0)).map(|class| class.to_string()).collect(),
    }
}

fn arrow(before: impl Display, after: impl Display) -> String {
    format!("{before} -> {after}")
}

fn hexadecimal(hash: u64) -> String {
    format!("{hash:016x}")
}

impl RunConfig {
    /// The settings that are otherwise than `before`.
    ///
    /// # Errors
    /// If one of the two cannot be written as TOML.
    ///
    /// ```
    /// # use diffusion_recipe::RunConfig;
    /// let before = RunConfig::preset("swissroll")?;
    /// let mut config = before.clone();
    /// config.set_all(["training.lr=0.5"])?;
    /// assert_eq!(config.changes_since(&before)?[0].path, "training.lr");
    /// # Ok::<(), diffusion_recipe::RecipeError>(())
    /// ```
    pub fn changes_since(&self, before: &Self) -> Result<Vec<Change>, RecipeError> {
        Ok(RunRecord::new(self, None)?.changes_since(&RunRecord::new(before, None)?))
    }
}

impl RunRecord {
    /// That of a run of the configuration `config` on `data`.
    pub(crate) fn new(config: &RunConfig, data: Option<DataRecord>) -> Result<Self, RecipeError> {
        let checksum = hexadecimal(identity::hash(config.to_toml()?.as_bytes()));
        let config = Table::try_from(config).map_err(RecipeError::write_toml)?;
        Ok(Self { checksum, data, config })
    }

    /// That of the run which made `checkpoint`; none if it was made by a version that kept none.
    pub fn of(checkpoint: &Checkpoint) -> Option<Self> {
        checkpoint.state().run.clone().try_into().ok()
    }

    /// As a checkpoint holds it.
    pub(crate) fn into_table(self) -> Result<Table, RecipeError> {
        Table::try_from(self).map_err(RecipeError::write_toml)
    }

    /// The split that the run with this seed began with; none if the data were not open.
    pub(crate) fn split(&self, seed: u64) -> Option<Option<ValidationSplit>> {
        let limit = &self.data.as_ref()?.validation_limit;
        let parsed = limit.as_ref().map(|limit| u64::from_str_radix(limit, 16)).transpose().ok()?;
        Some(parsed.map(|limit| ValidationSplit { seed, limit }))
    }

    /// What is otherwise than it was `before`, settings first.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = match self.checksum == before.checksum {
            true => Vec::new(),
            false => self.settings_since(before),
        };
        if let (Some(data), Some(before)) = (&self.data, &before.data) {
            changes.extend(data.changes_since(before));
        }
        changes
    }

    fn settings_since(&self, before: &Self) -> Vec<Change> {
        let (before, after) = (canonical(&before.config), canonical(&self.config));
        let falls_to_the_end = [&before, &after].iter().any(|settings| {
            settings.get("training.lr_schedule.decay.kind").and_then(Value::as_str) == Some("cosine")
        });
        let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
        paths.sort();
        paths.dedup();
        let differs = |path: &&&String| before.get(**path) != after.get(**path);
        let change = |path: &String| {
            let show = |settings: &BTreeMap<String, Value>| {
                settings.get(path).map_or_else(|| "nothing".to_string(), ToString::to_string)
            };
            let what = arrow(show(&before), show(&after));
            Change { path: path.clone(), what, decides: decides(path, falls_to_the_end) }
        };
        paths.iter().filter(differs).map(|path| change(path)).collect()
    }
}

/// Whether the steps that follow depend on a setting. Where the data are is not what they are.
fn decides(path: &str, falls_to_the_end: bool) -> bool {
    let is_below =
        |table: &str| path.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match path {
        "training.steps" => falls_to_the_end,
        _ => !ASIDE.iter().any(|table| is_below(table)),
    }
}

/// Settings and tables of settings on which no step depends.
const ASIDE: [&str; 14] = [
    "preset",
    "checkpoint_every",
    "checkpoint_keep",
    "init_from",
    "init_checkpoint",
    "init_ema",
    "teacher",
    "data.path",
    "data.classes",
    "data.memory_mib",
    "classes",
    "validation",
    "sampling",
    "pictures",
];

/// The settings by their paths. Those of an older version get the defaults of what it did not know.
fn canonical(config: &Table) -> BTreeMap<String, Value> {
    let read = config.clone().try_into::<RunConfig>().ok();
    let filled = read.and_then(|config| Table::try_from(config).ok());
    let mut settings = BTreeMap::new();
    flatten("", filled.as_ref().unwrap_or(config), &mut settings);
    settings
}

fn flatten(above: &str, table: &Table, settings: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            Value::Table(table) => flatten(&path, table, settings),
            value => drop(settings.insert(path, value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(settings: &[&str]) -> RunRecord {
        let mut config = RunConfig::preset("smalldiffusion-dit-small").unwrap();
        config.set_all(settings.iter().copied()).unwrap();
        RunRecord::new(&config, None).unwrap()
    }

    fn data(examples: usize, classes: &[&str], identities: &str, values: &str) -> DataRecord {
        let classes = classes.iter().map(ToString::to_string).collect();
        let [identities, values] = [identities, values].map(|hash| Some(hash.to_string()));
        DataRecord { examples, classes, identities, values, validation_limit: None }
    }

    fn said(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn settings_are_told_by_their_paths() {
        let before = record(&["batch_size=4", "training.lr=0.001"]);
        let after =
            record(&["batch_size=2", "training.lr=0.01", "training.clip_norm=1.0", "sampling.count=3"]);
        let changes = after.changes_since(&before);
        let expected = [
            ("batch_size", true),
            ("sampling.count", false),
            ("training.clip_norm", true),
            ("training.lr", true),
        ];
        assert_eq!(Vec::from_iter(changes.iter().map(|change| (&*change.path, change.decides))), expected);
        assert!(said(&changes).contains(&"batch_size 4 -> 2".to_string()), "{changes:?}");
        assert!(said(&changes).contains(&"training.lr 0.001 -> 0.01".to_string()), "{changes:?}");
        assert_eq!(after.changes_since(&after), []);
    }

    #[test]
    fn the_number_of_steps_matters_where_the_rate_falls_until_the_last() {
        let cosine = "training.lr_schedule.decay.kind=cosine";
        let decides = |settings: &[&str]| {
            let after = record(&[settings, &["training.steps=77"]].concat());
            after.changes_since(&record(settings)).iter().map(|change| change.decides).collect::<Vec<_>>()
        };
        assert_eq!(decides(&[]), [false]);
        assert_eq!(decides(&[cosine]), [true]);
    }

    /// Every other setting is deemed to matter, also one that will be added.
    #[test]
    fn what_does_not_matter_is_listed() {
        for path in [
            "sampling.sampler.mu",
            "pictures.every",
            "validation.every",
            "data.path",
            "preset",
            "checkpoint_every",
        ] {
            assert!(!decides(path, true), "{path}");
        }
        for path in ["flip", "data.kind", "data.scale", "samplings", "training.ema.decay", "validated"] {
            assert!(decides(path, false), "{path}");
        }
    }

    #[test]
    fn data_are_told_by_number_names_and_fingerprint() {
        let before = data(20, &["cat", "dog"], "a", "b");
        let since = |after: DataRecord| said(&after.changes_since(&before));
        assert_eq!(since(data(20, &["cat", "dog"], "a", "b")), [""; 0]);
        assert_eq!(since(data(21, &["cat", "dog"], "c", "d")), ["data.examples 20 -> 21"]);
        let [renamed] = &since(data(20, &["cat", "dog"], "c", "b"))[..] else { panic!("one change") };
        assert!(renamed.starts_with("data.examples "), "{renamed}");
        let [values] = &since(data(20, &["cat", "dog"], "a", "d"))[..] else { panic!("one change") };
        assert!(values.starts_with("data.values "), "{values}");
        let [_, appeared, vanished] = &since(data(20, &["bird", "dog"], "c", "d"))[..] else {
            panic!("three changes")
        };
        assert_eq!(
            (&**appeared, &**vanished),
            ("data.classes `bird` appeared", "data.classes `cat` vanished")
        );
    }

    #[test]
    fn the_name_of_the_only_class_may_change() {
        assert_eq!(data(20, &["new"], "a", "b").changes_since(&data(20, &["old"], "a", "b")), []);
    }

    /// Other examples with such names are other examples.
    #[test]
    fn classes_may_get_names() {
        let named = data(20, &["cat", "dog"], "a", "b");
        assert_eq!(named.changes_since(&data(20, &["0", "1"], "a", "b")), []);
        for others in [
            data(20, &["0", "1"], "c", "b"),
            data(20, &["0", "1", "2"], "a", "b"),
            data(20, &["1", "0"], "a", "b"),
        ] {
            assert_ne!(named.changes_since(&others), [], "{others:?}");
        }
    }

    #[test]
    fn a_record_survives_a_checkpoint() {
        let with_data = RunRecord { data: Some(data(3, &["a", "b"], "c", "d")), ..record(&[]) };
        for record in [record(&[]), with_data] {
            let text = toml::to_string(&record.clone().into_table().unwrap()).unwrap();
            assert_eq!(toml::from_str::<RunRecord>(&text).unwrap(), record);
        }
    }

    /// A setting that a later version adds is no change, nor one that is written in another way.
    #[test]
    fn defaults_that_were_not_known_are_filled_in() {
        let mut before = record(&[]);
        before.checksum = "another".to_string();
        let training = before.config["training"].as_table_mut().unwrap();
        assert!(training.remove("accumulate").is_some());
        assert_eq!(record(&[]).changes_since(&before), []);
    }
}
