//! The Datasaurus Dozen: thirteen clouds of points with equal statistics and different pictures.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    DataError,
    dataset::{Dataset, check_index},
    error::{first_names, shorten},
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
        let text =
            fs::read_to_string(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
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
    /// If `scale` is zero or not finite.
    pub fn with_scale(self, scale: f64) -> Self {
        assert!(scale.is_finite() && scale != 0.0, "scale is {scale}, expected a finite number other than 0");
        Self { scale, ..self }
    }

    /// The same points, around `offset` instead of 50, in the units of the table.
    ///
    /// # Panics
    /// If `offset` is not finite.
    pub fn with_offset(self, offset: f64) -> Self {
        assert!(offset.is_finite(), "offset is {offset}, expected a finite number");
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

    fn read(&self, index: usize, into: &mut [f32]) {
        check_index(index, self.len());
        let point = self.points[index % self.points.len()];
        into.copy_from_slice(&point.map(|x| ((f64::from(x) - self.offset) / self.scale) as f32));
    }
}

const COLUMNS: [&str; 3] = ["dataset", "x", "y"];

/// The most names that an error tells; there are 13 in the published table.
const MOST_NAMES: usize = 20;

/// The points called `name`, at least one.
fn parse(text: &str, path: &Path, name: &str, delimiter: Delimiter) -> Result<Vec<[f32; 2]>, DataError> {
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    let (header, _) = lines.next().unwrap_or_default();
    if !fields(header, delimiter).eq(COLUMNS) {
        let expected = format!("{} separated by {}", COLUMNS.join(", "), delimiter.name());
        return Err(DataError::Header { path: path.to_owned(), found: shorten(header), expected });
    }

    let mut points = Vec::new();
    let mut names = BTreeSet::new();
    for (text, line) in lines.filter(|(text, _)| !text.trim().is_empty()) {
        // One more tells a line that goes on; the columns of a hostile one are counted, not kept.
        let [row_name, x, y] = Vec::from_iter(fields(text, delimiter).take(COLUMNS.len() + 1))[..] else {
            let found = fields(text, delimiter).count();
            return Err(DataError::Columns { path: path.to_owned(), line, found, expected: COLUMNS.len() });
        };
        // A row that is not asked for is checked all the same: a damaged table is not half good.
        let number = |column, field: &str| match field.parse() {
            Ok(x) if f32::is_finite(x) => Ok(x),
            _ => Err(DataError::Number { path: path.to_owned(), line, column, found: shorten(field) }),
        };
        let point = [number(COLUMNS[1], x)?, number(COLUMNS[2], y)?];
        if row_name == name {
            points.push(point);
        }
        names.insert(row_name);
    }
    if points.is_empty() {
        let names = first_names(names.into_iter(), MOST_NAMES);
        return Err(DataError::UnknownName { path: path.to_owned(), name: name.to_owned(), names });
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
    use std::path::PathBuf;

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
        Dataset::read(data, index, &mut into);
        into
    }

    #[track_caller]
    fn assert_fails(text: &str, name: &str, message: &str) {
        let (result, path) = read("table.tsv", text.as_bytes(), name);
        let error = result.expect_err("the table is not well formed");
        assert_eq!(error.to_string(), format!("{} {message}", path.display()));
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
        assert!(matches!(read("table.tsv", csv.as_bytes(), "dino").0, Err(DataError::Header { .. })));

        let file = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
        fs::write(file.path(), csv).unwrap();
        let data = DatasaurusDozen::read_delimited(file.path(), "dino", Delimiter::Comma).unwrap();
        assert_eq!(point(&data, 1), expected);
    }

    #[test]
    fn a_number_must_be_a_finite_number() {
        for bad in ["NaN", "inf", "1e39", "six", "", "1,5"] {
            assert_fails(
                &TABLE.replace("96.0256", bad),
                "star",
                &format!("has {bad:?} as y in line 4, expected a finite number"),
            );
        }
        assert_fails(
            &TABLE.replace("55.3846", &"é".repeat(1000)),
            "dino",
            &format!("has \"{}…\" as x in line 2, expected a finite number", "é".repeat(60)),
        );
    }

    #[test]
    fn a_line_must_have_three_columns() {
        assert_fails(&TABLE.replace("\t96.0256", ""), "dino", "has 2 columns in line 4, expected 3");
        assert_fails(&TABLE.replace("\t0\n", "\t0\t0\n"), "dino", "has 4 columns in line 3, expected 3");
        let long = "\t".repeat(1000) + "\n";
        assert_fails(&TABLE.replace("\t0\n", &long), "dino", "has 1002 columns in line 3, expected 3");
    }

    #[test]
    fn a_table_must_begin_with_its_header() {
        let expected = "expected the columns dataset, x, y separated by tabs";
        assert_fails(
            &TABLE[12..],
            "dino",
            &format!("begins with the line {:?}, {expected}", "dino\t55.3846\t97.1795"),
        );
        assert_fails(
            "dataset\tx\ty\tz\n",
            "dino",
            &format!("begins with the line {:?}, {expected}", "dataset\tx\ty\tz"),
        );
        assert_fails("dataset\tx\n", "dino", &format!("begins with the line {:?}, {expected}", "dataset\tx"));
        assert_fails("", "dino", &format!("begins with the line \"\", {expected}"));
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = "has no data set named \"dinosaur\", expected one of";
        assert_fails(TABLE, "dinosaur", &format!("{message} [dino, star]"));
        assert_fails("dataset\tx\ty", "dinosaur", &format!("{message} []"));
        let rows: Vec<String> = (0..1000).map(|i| format!("{}\t1\t2\n", 1000 + i)).collect();
        let first: Vec<String> = (1000..1020).map(|i| i.to_string()).collect();
        let table = format!("dataset\tx\ty\n{}", rows.concat());
        assert_fails(&table, "dinosaur", &format!("{message} [{}, …]", first.join(", ")));
    }

    /// A name that would set a terminal's colour, and another that would go back to the beginning of the line.
    #[test]
    fn names_are_shown_without_control_characters() {
        let table = "dataset\tx\ty\n\u{1b}[31m\t1\t2\n*\r*\t1\t2\n";
        let expected = "has no data set named \"dinosaur\", expected one of [\u{fffd}[31m, *\u{fffd}*]";
        assert_fails(table, "dinosaur", expected);
    }

    #[test]
    fn a_file_must_be_readable_text() {
        let missing = DatasaurusDozen::read("no/such/table.tsv", "dino").expect_err("there is no such file");
        assert!(missing.to_string().starts_with("cannot read no/such/table.tsv: "), "{missing}");
        let binary =
            read("table.tsv", b"dataset\tx\ty\n\xff\t1\t2", "dino").0.expect_err("this is not UTF-8");
        assert!(binary.to_string().contains("valid UTF-8"), "{binary}");
    }
}
