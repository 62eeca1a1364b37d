//! The Datasaurus Dozen: thirteen clouds of points with equal statistics and different pictures.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use diffusion_core::{counted, watch::Watch};
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    dataset::{Dataset, check_index},
    error::{DataError, Problem, first_names, shorten},
    source::Source,
};

/// One of the Datasaurus Dozen, such as `dino`, read from the published table with the columns dataset, x and y.
///
/// Matejka and Fitzmaurice, *Same Stats, Different Graphs*, CHI 2017. As in smalldiffusion, a coordinate `x` of the
/// table becomes `(x − 50) / 50`, and each point counts 15 times, so that an epoch over the 142 points of a picture
/// is worth its name.
#[derive(Clone, Debug)]
pub struct DatasaurusDozen {
    points: Vec<[f32; 2]>,
    enlarge_factor: usize,
    scale: f64,
    offset: f64,
}

/// What separates the columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// A tabulator, as in the published `DatasaurusDozen.tsv`.
    Tab,
    /// A comma.
    Comma,
}

impl DatasaurusDozen {
    /// Reads the points called `name`; the columns are separated by commas if the file's name ends in `.csv`, and
    /// by tabulators otherwise.
    ///
    /// # Errors
    /// As [`read_delimited`](Self::read_delimited).
    pub fn read(path: impl AsRef<Path>, name: &str) -> Result<Self, DataError> {
        let csv = path.as_ref().extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        Self::read_delimited(path, name, if csv { Delimiter::Comma } else { Delimiter::Tab })
    }

    /// Reads the points called `name` from a table with the given delimiter.
    ///
    /// Fields may stand in double quotes, but hold no delimiter; empty lines are passed over.
    ///
    /// # Errors
    /// If the file cannot be read, any line of it is not well formed, or it has no points of that name.
    pub fn read_delimited(
        path: impl AsRef<Path>,
        name: &str,
        delimiter: Delimiter,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let text = read_text(path).map_err(|error| match error.problem {
            Problem::Io(_) => error.with_hint(HINT),
            _ => error,
        })?;
        let points = parse(&text, path, name, delimiter)?;
        Ok(Self { points, enlarge_factor: 15, scale: 50.0, offset: 50.0 })
    }

    /// The same points, each counted `factor` times instead of 15.
    ///
    /// # Panics
    /// If `factor` is zero.
    pub fn with_enlarge_factor(self, factor: usize) -> Self {
        assert!(factor > 0, "the enlarge factor is {factor}, expected at least 1");
        Self { enlarge_factor: factor, ..self }
    }

    /// The same points, divided by `scale` instead of 50, after the offset is taken away.
    ///
    /// # Panics
    /// If `scale` is zero or not finite in f32.
    pub fn with_scale(self, scale: f64) -> Self {
        assert!(
            (scale as f32).is_normal(),
            "scale is {scale}, expected a number other than 0 that f32 holds"
        );
        Self { scale, ..self }
    }

    /// The same points, around `offset` instead of 50, in the units of the table.
    ///
    /// # Panics
    /// If `offset` is not finite in f32.
    pub fn with_offset(self, offset: f64) -> Self {
        assert!((offset as f32).is_finite(), "offset is {offset}, expected a number that is finite in f32");
        Self { offset, ..self }
    }
}

impl Dataset for DatasaurusDozen {
    type Label = ();

    fn len(&self) -> usize {
        self.points.len() * self.enlarge_factor
    }

    fn shape(&self) -> &[usize] {
        &[2]
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        check_index(index, self.len());
        let point = self.points[index % self.points.len()];
        into.copy_from_slice(&point.map(|x| ((f64::from(x) - self.offset) / self.scale) as f32));
        Ok(())
    }
}

/// A picture of the Datasaurus Dozen, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasaurusConfig {
    /// The published table.
    pub path: PathBuf,
    /// The picture, e.g. `dino`.
    pub name: String,
}

impl DataKind for DatasaurusConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, _: &ModelInput, _: &Watch) -> Result<AnyDataset, DataError> {
        DatasaurusDozen::read(&self.path, &self.name).map(AnyDataset::unlabeled)
    }
}

const HINT: &str = "the table of the Datasaurus Dozen is published with the paper \"Same Stats, Different Graphs\" \
                    (Matejka & Fitzmaurice 2017); give its path";

/// The most bytes of a table; the published one has 50 000.
const MAX_TABLE: u64 = 1 << 26;

/// The text of a file that is not too long for a table.
fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = Source::open(path)?.read(u128::from(MAX_TABLE) + 1, &Watch::default())?;
    if bytes.len() as u64 > MAX_TABLE {
        let found = format!("is longer than {MAX_TABLE} bytes");
        return Err(Problem::TooLarge { found, limit: Some(MAX_TABLE) }.at(path));
    }
    String::from_utf8(bytes).map_err(|_| {
        Problem::Io(io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8")).at(path)
    })
}

const COLUMNS: [&str; 3] = ["dataset", "x", "y"];

/// The most names that an error tells; there are 13 in the published table.
const MOST_NAMES: usize = 20;

/// The points called `name`, at least one.
fn parse(text: &str, path: &Path, name: &str, delimiter: Delimiter) -> Result<Vec<[f32; 2]>, DataError> {
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    let (header, _) = lines.next().unwrap_or_default();
    if !fields(header, delimiter).eq(COLUMNS) {
        let expected = format!("the columns {} separated by {}", COLUMNS.join(", "), delimiter.name());
        let found = format!("begins with the line {:?}", shorten(header));
        return Err(Problem::format(found, expected).at(path));
    }

    let mut points = Vec::new();
    let mut names = BTreeSet::new();
    for (text, line) in lines.filter(|(text, _)| !text.trim().is_empty()) {
        // One more tells a line that goes on; the columns of a hostile one are counted, not kept.
        let [row_name, x, y] = Vec::from_iter(fields(text, delimiter).take(COLUMNS.len() + 1))[..] else {
            let found = format!("has {} in line {line}", counted(fields(text, delimiter).count(), "column"));
            return Err(Problem::format(found, COLUMNS.len().to_string()).at(path));
        };
        // A row that is not asked for is checked all the same: a damaged table is not half good.
        let number = |column, field: &str| match field.parse() {
            Ok(x) if f32::is_finite(x) => Ok(x),
            _ => {
                let found = format!("has {:?} as {column} in line {line}", shorten(field));
                Err(Problem::format(found, "a finite number").at(path))
            }
        };
        let point = [number(COLUMNS[1], x)?, number(COLUMNS[2], y)?];
        if row_name == name {
            points.push(point);
        }
        names.insert(row_name);
    }
    if points.is_empty() {
        let found = first_names(names.into_iter(), MOST_NAMES);
        let missing = Problem::Missing { wanted: format!("data set named {name:?}"), found };
        return Err(missing.at(path).with_hint(HINT));
    }
    Ok(points)
}

fn fields(line: &str, delimiter: Delimiter) -> impl Iterator<Item = &str> {
    let split = line.split(match delimiter {
        Delimiter::Tab => '\t',
        Delimiter::Comma => ',',
    });
    split.map(|field| field.trim().trim_matches('"'))
}

impl Delimiter {
    fn name(self) -> &'static str {
        match self {
            Delimiter::Tab => "tabs",
            Delimiter::Comma => "commas",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const TABLE: &str = "dataset\tx\ty\ndino\t55.3846\t97.1795\nstar\t50\t0\ndino\t51.5385\t96.0256\n";

    /// Writes `text` to a file called `file` in a folder of its own and reads `dino` from it.
    fn read(file: &str, text: &[u8], name: &str) -> (Result<DatasaurusDozen, DataError>, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::write(&path, text).unwrap();
        (DatasaurusDozen::read(&path, name), path)
    }

    fn point(data: &DatasaurusDozen, index: usize) -> [f32; 2] {
        let mut into = [0.0; 2];
        Dataset::read(data, index, &mut into).unwrap();
        into
    }

    #[track_caller]
    fn problem(text: &str, name: &str) -> Problem {
        let (result, path) = read("table.tsv", text.as_bytes(), name);
        let error = result.expect_err("the table is not well formed");
        assert_eq!(error.path, Some(path));
        error.problem
    }

    /// Fails unless the table is not of the right format, and the error tells what stands where.
    #[track_caller]
    fn assert_fails(text: &str, name: &str, tells: &str) {
        match problem(text, name) {
            Problem::Format { found, .. } => assert_eq!(found, tells),
            other => panic!("{other:?}"),
        }
    }

    /// (55.3846 − 50) / 50 = 0.107692, (97.1795 − 50) / 50 = 0.94359, and so on.
    #[test]
    fn points_are_shifted_scaled_and_repeated() {
        let data = read("table.tsv", TABLE.as_bytes(), "dino").0.unwrap();
        assert_eq!((data.len(), data.shape()), (30, &[2][..]));
        for i in 0..30 {
            let expected = [[0.107692, 0.94359], [0.03077, 0.920512]][i % 2];
            let [x, y] = point(&data, i);
            assert!((x - expected[0]).abs() < 1e-6 && (y - expected[1]).abs() < 1e-6, "{i}: {x}, {y}");
        }
        let star = read("table.tsv", TABLE.as_bytes(), "star").0.unwrap();
        assert_eq!(point(&star, 14), [0.0, -1.0]);
        let star = star.with_offset(30.0).with_scale(10.0).with_enlarge_factor(2);
        assert_eq!((point(&star, 1), star.len()), ([2.0, -3.0], 2));
    }

    #[test]
    fn the_extension_tells_the_delimiter() {
        let expected = point(&read("table.tsv", TABLE.as_bytes(), "dino").0.unwrap(), 1);
        let csv = format!("\u{feff}{}\r\n\r\n", TABLE.replace('\t', ",").replace("dino", "\"dino\""));
        let data = read("table.CSV", csv.replace('\n', "\r\n").as_bytes(), "dino").0.unwrap();
        assert_eq!((point(&data, 1), data.len()), (expected, 30));
        let error = read("table.tsv", csv.as_bytes(), "dino").0.expect_err("these are commas");
        assert!(matches!(error.problem, Problem::Format { .. }), "{error}");

        let file = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
        fs::write(file.path(), csv).unwrap();
        let data = DatasaurusDozen::read_delimited(file.path(), "dino", Delimiter::Comma).unwrap();
        assert_eq!(point(&data, 1), expected);
    }

    #[test]
    fn a_number_must_be_a_finite_number() {
        for bad in ["NaN", "inf", "1e39", "six", "", "1,5"] {
            let table = TABLE.replace("96.0256", bad);
            assert_fails(&table, "star", &format!("has {bad:?} as y in line 4"));
        }
        let table = TABLE.replace("55.3846", &"é".repeat(1000));
        assert_fails(&table, "dino", &format!("has \"{}…\" as x in line 2", "é".repeat(60)));
    }

    #[test]
    fn a_line_must_have_three_columns() {
        assert_fails(&TABLE.replace("\t96.0256", ""), "dino", "has 2 columns in line 4");
        assert_fails(&TABLE.replace("\t0\n", "\t0\t0\n"), "dino", "has 4 columns in line 3");
        let long = "\t".repeat(1000) + "\n";
        assert_fails(&TABLE.replace("\t0\n", &long), "dino", "has 1002 columns in line 3");
    }

    #[test]
    fn a_table_must_begin_with_its_header() {
        let first = |text: &str, line: &str| {
            assert_fails(text, "dino", &format!("begins with the line {line:?}"));
        };
        first(&TABLE[12..], "dino\t55.3846\t97.1795");
        first("dataset\tx\ty\tz\n", "dataset\tx\ty\tz");
        first("dataset\tx\n", "dataset\tx");
        first("", "");
    }

    /// The names that an error tells when a table has no `dinosaur`.
    #[track_caller]
    fn names(table: &str) -> Vec<String> {
        match problem(table, "dinosaur") {
            Problem::Missing { wanted, found } => {
                assert!(wanted.contains("\"dinosaur\""), "{wanted}");
                found
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        assert_eq!(names(TABLE), ["dino", "star"]);
        assert!(names("dataset\tx\ty").is_empty());
        let rows: Vec<String> = (0..1000).map(|i| format!("{}\t1\t2\n", 1000 + i)).collect();
        let mut first: Vec<String> = (1000..1020).map(|i| i.to_string()).collect();
        first.push("…".to_owned());
        assert_eq!(names(&format!("dataset\tx\ty\n{}", rows.concat())), first);
    }

    /// A name that would set a terminal's color, and another that would go back to the beginning of the line.
    #[test]
    fn names_are_shown_without_control_characters() {
        let table = "dataset\tx\ty\n\u{1b}[31m\t1\t2\n*\r*\t1\t2\n";
        assert_eq!(names(table), ["\u{fffd}[31m", "*\u{fffd}*"]);
    }

    #[test]
    fn a_file_must_be_readable_text() {
        let missing = DatasaurusDozen::read("no/such/table.tsv", "dino").expect_err("there is no such file");
        let binary =
            read("table.tsv", b"dataset\tx\ty\n\xff\t1\t2", "dino").0.expect_err("this is not UTF-8");
        for error in [missing, binary] {
            assert!(matches!(error.problem, Problem::Io(_)), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("Same Stats")), "{error}");
        }
    }
}
