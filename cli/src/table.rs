//! Tables: columns as wide as their content, the last one cut at the edge of the terminal.

use std::io::IsTerminal as _;

use unicode_width::UnicodeWidthStr as _;

use crate::text::{cut, padded};

/// Rows below a heading.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&word| word.to_owned()).collect()] }
    }

    /// Adds a row with as many cells as the heading.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The text, for standard output.
    pub(crate) fn text(&self) -> String {
        self.at_width(if std::io::stdout().is_terminal() { terminal_columns() } else { usize::MAX })
    }

    fn at_width(&self, columns: usize) -> String {
        let count = self.rows[0].len();
        let width = |at: usize| self.rows.iter().map(|row| row[at].width()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..count).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
            cut(cells.join("  ").trim_end(), columns)
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Columns of the terminal; 80 if it does not say.
fn terminal_columns() -> usize {
    ratatui::crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns).max(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_one_is_cut() {
        let mut table = Table::new(&["ID", "STATUS", "PROMPT"]);
        table.push(vec!["1".into(), "completed".into(), "一只猫在走".into()]);
        table.push(vec!["22".into(), "queued".into(), "a dog".into()]);
        assert_eq!(table.at_width(21), "ID  STATUS     PROMPT\n1   completed  一只…\n22  queued     a dog");
    }
}
