//! `network.depth=8`: a setting of a run changed by its dotted path.

use super::RunConfig;
use crate::error::RecipeError;
use toml::{Table, Value};

impl RunConfig {
    /// Changes one setting, as `key=value`; see [`set_all`](Self::set_all).
    ///
    /// ```
    /// # use diffusion_recipe::RunConfig;
    /// let mut config = RunConfig::preset("fashion-dit-small")?;
    /// config.set("network.depth=8")?;
    /// assert!(config.to_toml()?.contains("\ndepth = 8\n"));
    /// let error = config.set("network.depht=8").unwrap_err().to_string();
    /// assert!(error.starts_with("network.depht: unknown field `depht`, expected one of"));
    /// # Ok::<(), diffusion_recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// As [`set_all`](Self::set_all).
    pub fn set(&mut self, assignment: &str) -> Result<(), RecipeError> {
        self.set_all([assignment])
    }

    /// Changes settings, each given as `key=value`, where the key is a dotted path and the value is TOML; text needs no
    /// quotation marks. `name[i]` is an element of a list, counted from 0, and the one behind the last is new. `key=` leaves
    /// a setting out. All are applied before the result is read, so several may depend on each other. Another `kind`
    /// forgets the settings of the one before.
    ///
    /// # Errors
    /// If a key is not a setting or a value is not of its type. The configuration is unchanged then.
    pub fn set_all<'a>(&mut self, assignments: impl IntoIterator<Item = &'a str>) -> Result<(), RecipeError> {
        let table = Table::try_from(&*self).map_err(RecipeError::write_toml)?;
        let assignments: Vec<Assignment> =
            assignments.into_iter().map(Assignment::parse).collect::<Result<_, _>>()?;
        let without = |left_out: Option<usize>| -> Result<Result<Self, String>, RecipeError> {
            let mut table = table.clone();
            for (i, assignment) in assignments.iter().enumerate() {
                if Some(i) != left_out {
                    assignment.apply(&mut table)?;
                }
            }
            Ok(table.try_into().map_err(|error: toml::de::Error| error.message().to_string()))
        };
        match without(None)? {
            Ok(changed) => {
                *self = changed;
                Ok(())
            }
            Err(reason) => {
                let is_cause = |i: &usize| without(Some(*i)).is_ok_and(|read| read.is_ok());
                let cause = (0..assignments.len()).find(is_cause);
                let blamed = cause.map_or(&assignments[..], |i| &assignments[i..=i]);
                let keys: Vec<String> = blamed.iter().map(|assignment| assignment.keys.join(".")).collect();
                Err(RecipeError::Setting { key: keys.join(", "), reason })
            }
        }
    }
}

/// One `key=value`.
struct Assignment {
    /// The parts of the dotted path, at least one.
    keys: Vec<String>,
    /// Nothing where the setting is to be left out.
    value: Option<Value>,
}

impl Assignment {
    fn parse(text: &str) -> Result<Self, RecipeError> {
        let bad = |reason: &str| RecipeError::Setting { key: text.to_string(), reason: reason.to_string() };
        let (path, value) = text.split_once('=').ok_or_else(|| bad("expected key=value"))?;
        let keys: Vec<String> = path.split('.').map(|key| key.trim().to_string()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(bad("expected a dotted path before `=`, e.g. network.depth"));
        }
        let value = value.trim();
        // TOML's integers end here, and as text it would be refused for its type.
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        if !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && value.parse::<i64>().is_err()
        {
            let reason = format!("is {value}, expected a whole number from {} to {}", i64::MIN, i64::MAX);
            return Err(RecipeError::Setting { key: keys.join("."), reason });
        }
        Ok(Self { keys, value: (!value.is_empty()).then(|| parse_value(value)) })
    }

    fn apply(&self, table: &mut Table) -> Result<(), RecipeError> {
        let (last, path) = self.keys.split_last().expect("a path has at least one part");
        let bad = |parts: usize, reason: &str| RecipeError::Setting {
            key: self.keys.join("."),
            reason: format!("`{}` {reason}", self.keys[..parts].join(".")),
        };
        let mut table = table;
        for (i, key) in path.iter().enumerate() {
            let entry = entry(table, key).map_err(|reason| bad(i + 1, &reason))?;
            table = entry.as_table_mut().ok_or_else(|| bad(i + 1, "is not a table"))?;
        }
        let Some(value) = &self.value else {
            return table
                .remove(last)
                .map(drop)
                .ok_or_else(|| bad(self.keys.len(), "is no setting that is there"));
        };
        if last == "kind" && table.get(last) != Some(value) {
            table.clear();
        }
        *entry(table, last).map_err(|reason| bad(self.keys.len(), &reason))? = value.clone();
        Ok(())
    }
}

/// The value under a part of a path, `name` or the element `name[i]` of a list, of which the one behind the last is new.
fn entry<'a>(table: &'a mut Table, part: &str) -> Result<&'a mut Value, String> {
    let (name, places) = part.split_once('[').map_or((part, None), |(name, places)| (name, Some(places)));
    let Some(places) = places else {
        return Ok(table.entry(name).or_insert_with(|| Value::Table(Table::new())));
    };
    let mut value = table.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    for place in places.split('[') {
        let number = place.strip_suffix(']').and_then(|number| number.parse::<usize>().ok());
        let number = number.ok_or("is no place in a list, expected e.g. modifiers[0]")?;
        let list = value.as_array_mut().ok_or("is in no list")?;
        let count = list.len();
        if number == count {
            list.push(Value::Table(Table::new()));
        }
        value = list.get_mut(number).ok_or_else(|| format!("is beyond a list of {count}"))?;
    }
    Ok(value)
}

/// The value in TOML, or as text where it is not TOML.
fn parse_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    let value = parsed.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::Interval;

    fn changed(assignments: &[&str]) -> Result<RunConfig, String> {
        let mut config = RunConfig::preset("smalldiffusion-dit-small").unwrap();
        config.set_all(assignments.iter().copied()).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn values_are_toml_or_bare_text() {
        let config = changed(&[
            "training.lr=1",
            "training.clip_norm=0.5",
            "checkpoint_every=10m",
            "data.path=/some where/else",
            "prediction = { edm = { sigma_data = 0.25 } }",
        ])
        .unwrap();
        assert_eq!((config.training.lr, config.training.clip_norm), (1.0, Some(0.5)));
        assert_eq!(config.checkpoint_every, Interval::Minutes(10.0));
        let text = config.to_toml().unwrap();
        assert!(text.contains("path = \"/some where/else\"") && text.contains("sigma_data = 0.25"), "{text}");
    }

    /// As errors name them.
    #[test]
    fn elements_of_lists_have_places() {
        let emas = |more: &[&str]| {
            let set = ["training.emas[0].kind=power", "training.emas[0].width=0.05"];
            let config = changed(&[&set[..], more].concat())?;
            Ok::<_, String>(
                config.training.emas.iter().map(|average| average.ema.width()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(emas(&[]).unwrap(), [Some(0.05)]);
        let second = ["training.emas[1] = { kind = 'power', width = 0.2 }"];
        assert_eq!(emas(&second).unwrap(), [Some(0.05), Some(0.2)]);
        assert_eq!(emas(&["training.emas[0].width=0.1"]).unwrap(), [Some(0.1)]);
        for (bad, key) in [
            ("training.emas[2].width=0.1", "training.emas[2]"),
            ("training.emas[x].width=0.1", "training.emas[x]"),
            ("training.emas[0=1", "training.emas[0"),
            ("training.lr[0]=1", "training.lr[0]"),
            ("training.emas[0].width[0].a=1", "training.emas[0].width[0]"),
            ("training.emas.width=1", "training.emas"),
        ] {
            let error = emas(&[bad]).unwrap_err();
            assert!(error.contains(&format!("`{key}`")), "{bad}: {error}");
        }
        assert!(
            emas(&["training.emas[0].depth=1"]).unwrap_err().starts_with("training.emas[0].depth: unknown")
        );
    }

    #[test]
    fn a_setting_is_left_out() {
        assert_eq!(changed(&["validation="]).unwrap().validation, None);
        assert!(changed(&["network="]).unwrap_err().starts_with("network: missing"));
        for absent in ["sampling.grid=", "training.emas[0]="] {
            assert!(changed(&[absent]).unwrap_err().contains("is no setting that is there"), "{absent}");
        }
    }

    #[test]
    fn a_whole_number_beyond_all_others_is_no_text() {
        for (value, is_named) in
            [("18446744073709551615", true), ("-9223372036854775809", true), ("many", false)]
        {
            let error = changed(&[&format!("training.seed={value}")]).unwrap_err();
            assert!(error.starts_with("training.seed: "), "{error}");
            assert_eq!(error.contains(&i64::MAX.to_string()), is_named, "{error}");
        }
        assert!(changed(&["data.path=18446744073709551615a", "training.seed=9223372036854775807"]).is_ok());
    }

    #[test]
    fn another_kind_forgets_the_settings_of_the_one_before() {
        let config = changed(&["schedule.kind=cosine", "schedule.n=50", "schedule.max_beta=0.9"]).unwrap();
        assert!(config.to_toml().unwrap().contains("kind = \"cosine\"\nn = 50\nmax_beta = 0.9"));
        let same = changed(&["schedule.kind=ddpm", "schedule.n=50"]).unwrap();
        assert!(same.to_toml().unwrap().contains("beta_end = 0.02"));
        let decay = changed(&["training.lr_schedule.decay.kind=cosine"]).unwrap();
        assert!(decay.to_toml().unwrap().contains("floor = 0.0"));
    }

    #[test]
    fn tables_that_are_absent_can_be_set() {
        let config = changed(&["network.labels.num_classes=10"]).unwrap();
        assert_eq!(config.network.classes(), Some(10));
    }

    #[test]
    fn errors_name_the_setting() {
        for (assignments, key, reason) in [
            (&["network.depht=8"][..], "network.depht", "unknown field `depht`"),
            (&["batch_size=3", "training.lr=fast"], "training.lr", "invalid type: string \"fast\""),
            (&["batch_size=many"], "batch_size", "invalid type"),
            (&["flip.flop=1"], "flip.flop", "`flip` is not a table"),
            (&["depth"], "depth", "expected key=value"),
            (&["=3"], "=3", "expected a dotted path"),
            (&["network.=3"], "network.=3", "expected a dotted path"),
            (&["schedule.kind=linear"], "schedule.kind", "unknown variant `linear`"),
        ] {
            let error = changed(assignments).unwrap_err();
            assert!(error.starts_with(&format!("{key}: ")) && error.contains(reason), "{error}");
        }
    }
}
