//! Names of parameters in another library, from the paths of fields that lead to them here.

use std::collections::{BTreeMap, BTreeSet};

/// How another library calls what a module has: a name for each pair of a type and one of its fields.
///
/// Each field is translated by itself, so that modules made of the same layers in any order get the names that the other
/// library's would have. A field that is not in the table keeps its own name.
///
/// ```
/// use diffusion_weights::NameTable;
///
/// // A block that PyTorch has as a `Sequential` of a linear layer, an activation and a linear layer.
/// let names = NameTable::pytorch().with("Block", &[("input", "mlp.0"), ("output", "mlp.2")]);
/// let path = [("Net", "blocks"), ("Vec", "3"), ("Block", "output"), ("Linear", "weight")];
/// assert_eq!(names.name_of(path), "blocks.3.mlp.2.weight");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    names: BTreeMap<(&'static str, &'static str), &'static str>,
    /// By how much the numbers of a list's items are multiplied.
    spaced: BTreeMap<(&'static str, &'static str), usize>,
    transposed: BTreeSet<(&'static str, &'static str)>,
    /// Whether the variants of enums are no level of a name.
    hides_variants: bool,
}

impl NameTable {
    /// The paths of the fields as they are, nothing transposed: what a checkpoint has.
    pub fn own_paths() -> Self {
        Self::default()
    }

    /// PyTorch's layers: norms have a `weight` and a `bias`, a linear layer's weight is `[out, in]`, and an enum is no
    /// level of a name.
    pub fn pytorch() -> Self {
        let norm = [("gamma", "weight"), ("beta", "bias")];
        Self { hides_variants: true, ..Self::default() }
            .with("GroupNorm", &norm)
            .with("LayerNorm", &norm)
            .transposed("Linear", "weight")
    }

    /// Names for fields of the type `container`; one may have several levels, as `mlp.0`, or none, if it is empty.
    pub fn with(mut self, container: &'static str, names: &[(&'static str, &'static str)]) -> Self {
        self.names.extend(names.iter().map(|&(field, name)| ((container, field), name)));
        self
    }

    /// The items of the list `field` of `container` are numbered 0, `step`, 2 · `step`, …, as PyTorch numbers layers
    /// with activations between them.
    pub fn spaced(mut self, container: &'static str, field: &'static str, step: usize) -> Self {
        self.spaced.insert((container, field), step);
        self
    }

    /// The other library has the transpose of the matrix `field` of `container`.
    pub fn transposed(mut self, container: &'static str, field: &'static str) -> Self {
        self.transposed.insert((container, field));
        self
    }

    /// The name of what a path leads to, which is of types, as Burn writes them or without its `Struct:`, and a field of
    /// each.
    pub fn name_of<'a>(&self, path: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut place = Place::new(self);
        path.into_iter().for_each(|(container, field)| place.enter(field, container));
        place.name
    }
}

/// Where a walk through a module is, in the names of a table: for visitors and mappers of your own.
///
/// Burn tells a visitor each field that it enters and the type that holds it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    table: &'a NameTable,
    name: String,
    /// The pairs entered so far, each with the length of the name before it.
    entered: Vec<(String, String, usize)>,
}

impl<'a> Place<'a> {
    /// At the module itself, whose name is empty.
    pub fn new(table: &'a NameTable) -> Self {
        Self { table, name: String::new(), entered: Vec::new() }
    }

    /// One level down, into `field` of a `container` as Burn writes it: "Struct:Linear", "Enum:SigmaEmbedder", "Vec".
    pub fn enter(&mut self, field: &str, container: &str) {
        let length = self.name.len();
        let step = self.translate(field, container);
        if !step.is_empty() {
            if length > 0 {
                self.name.push('.');
            }
            self.name.push_str(&step);
        }
        let container = container.strip_prefix("Struct:").unwrap_or(container);
        self.entered.push((container.to_string(), field.to_string(), length));
    }

    /// One level up.
    pub fn leave(&mut self) {
        if let Some((_, _, length)) = self.entered.pop() {
            self.name.truncate(length);
        }
    }

    /// The table's name of this place.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the other library has the transpose of what is here.
    pub fn is_transposed(&self) -> bool {
        self.innermost().is_some_and(|place| self.table.transposed.contains(&place))
    }

    fn innermost(&self) -> Option<(&str, &str)> {
        self.entered.last().map(|(container, field, _)| (container.as_str(), field.as_str()))
    }

    fn translate(&self, field: &str, container: &str) -> String {
        if self.table.hides_variants && container.starts_with("Enum:") {
            return String::new();
        }
        let step = self.innermost().and_then(|place| self.table.spaced.get(&place));
        if let (Some(step), Ok(item)) = (step, field.parse::<usize>()) {
            return (step * item).to_string();
        }
        let container = container.strip_prefix("Struct:").unwrap_or(container);
        self.table.names.get(&(container, field)).copied().unwrap_or(field).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_translated_one_by_one() {
        let table = NameTable::pytorch()
            .with("Block", &[("input", "mlp.0"), ("items", "")])
            .spaced("Stack", "net", 2);
        for (path, expected) in [
            (&[("Struct:Block", "input"), ("Struct:Linear", "weight")][..], "mlp.0.weight"),
            (&[("Struct:Block", "items"), ("Vec", "3"), ("Struct:Block", "input")], "3.mlp.0"),
            (&[("Struct:Mine", "norm"), ("Struct:GroupNorm", "gamma")], "norm.weight"),
            (&[("Struct:Stack", "net"), ("Vec", "3"), ("Struct:LayerNorm", "beta")], "net.6.bias"),
            (
                &[("Struct:Mine", "choice"), ("Enum:Choice", "First"), ("Struct:Linear", "bias")],
                "choice.bias",
            ),
        ] {
            assert_eq!(table.name_of(path.iter().copied()), expected);
        }
    }

    #[test]
    fn what_is_not_in_the_table_keeps_its_own_names() {
        let path = [("Struct:Mine", "stem"), ("Vec", "1"), ("Tuple", "0"), ("Struct:LayerNorm", "beta")];
        assert_eq!(NameTable::pytorch().name_of(path), "stem.1.0.bias");
        assert_eq!(NameTable::own_paths().name_of(path), "stem.1.0.beta");
        let path =
            [("Struct:Mine", "net"), ("Vec", "3"), ("Enum:Choice", "First"), ("Struct:Linear", "bias")];
        assert_eq!(NameTable::own_paths().name_of(path), "net.3.First.bias");
    }

    #[test]
    fn only_linear_weights_are_transposed() {
        for (container, field, expected) in [
            ("Struct:Linear", "weight", true),
            ("Struct:Linear", "bias", false),
            ("Struct:Embedding", "weight", false),
            ("Struct:Conv2d", "weight", false),
        ] {
            for (table, expected) in [(NameTable::pytorch(), expected), (NameTable::own_paths(), false)] {
                let mut place = Place::new(&table);
                place.enter(field, container);
                assert_eq!(place.is_transposed(), expected, "{container}.{field}");
            }
        }
    }

    #[test]
    fn leaving_undoes_entering() {
        let table = NameTable::pytorch().with("CondSequential", &[("modules", "")]);
        let mut place = Place::new(&table);
        place.enter("blocks", "Struct:Dit");
        for field in ["norm1", "mlp_out"] {
            place.enter("modules", "Struct:CondSequential");
            place.enter(field, "Struct:DitBlock");
            place.leave();
            place.leave();
            assert_eq!(place.name(), "blocks");
        }
    }
}
