//! Markdown tables.

use crate::statistics::Summary;
use std::fmt::{self, Display};

/// A table; its first column holds names, the others numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The empty table with these columns.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; a cell without a number is a dash.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Option<String>>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into())).collect();
        debug_assert_eq!(cells.len(), self.head.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| writeln!(f, "| {} |", cells.join(" | "));
        line(f, &self.head)?;
        let rules: Vec<&str> = (0..self.head.len()).map(|i| if i == 0 { "---" } else { "---:" }).collect();
        writeln!(f, "|{}|", rules.join("|"))?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

/// A number with three significant digits, and no fewer before the point than it has.
pub fn short(number: f64) -> String {
    let digits = if number == 0.0 { 0.0 } else { number.abs().log10().floor() };
    format!("{number:.*}", (2.0 - digits).clamp(0.0, 6.0) as usize)
}

/// A count with commas between thousands.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A median with its quartiles.
pub fn with_spread(Summary { median, low, high }: Summary) -> String {
    format!("{} ({}–{})", short(median), short(low), short(high))
}

/// What a ratio must be, and whether it is.
pub fn verdict(most: Option<f64>, found: Option<f64>) -> Option<String> {
    let most = most?;
    Some(match found {
        None => format!("≤ {most}"),
        Some(found) if found <= most => format!("≤ {most}: met"),
        Some(_) => format!("≤ {most}: missed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(["work", "ms"]);
        table.row([Some("toy".to_string()), Some(short(1.0))]);
        table.row([Some("dit".to_string()), None]);
        assert_eq!(table.to_string(), "| work | ms |\n|---|---:|\n| toy | 1.00 |\n| dit | – |\n");
    }

    #[test]
    fn numbers_have_three_digits() {
        let found = [0.0, 0.012345, 0.5, 9.876, 12.345, 999.4, 123456.7].map(short);
        assert_eq!(found, ["0.00", "0.0123", "0.500", "9.88", "12.3", "999", "123457"]);
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 4_154_884].map(grouped), ["0", "999", "1,000", "4,154,884"]);
    }

    #[test]
    fn what_must_be_is_met_or_missed() {
        assert_eq!(verdict(None, Some(1.0)), None);
        assert_eq!(verdict(Some(1.5), None).as_deref(), Some("≤ 1.5"));
        assert_eq!(verdict(Some(1.5), Some(1.5)).as_deref(), Some("≤ 1.5: met"));
        assert_eq!(verdict(Some(1.5), Some(1.6)).as_deref(), Some("≤ 1.5: missed"));
    }
}
