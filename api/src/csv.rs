//! CSV as RFC 4180 describes it.

/// Lines of cells.
#[derive(Debug)]
pub(crate) struct Lines {
    width: usize,
    text: String,
}

impl Lines {
    /// A table with these columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut lines = Self { width: columns.len(), text: String::new() };
        lines.push(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
        lines
    }

    /// Adds a line; cells that are missing at its end are empty.
    pub(crate) fn push(&mut self, cells: &[String]) {
        for at in 0..self.width {
            if at > 0 {
                self.text.push(',');
            }
            self.text.push_str(&quoted(cells.get(at).map_or("", String::as_str)));
        }
        self.text.push_str("\r\n");
    }

    /// The whole table.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

/// A cell as it is written. A text that a spreadsheet would run as a formula gets an apostrophe in front.
fn quoted(cell: &str) -> String {
    let is_number = cell.parse::<f64>().is_ok();
    let guarded = match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') if !is_number => format!("'{cell}"),
        _ => cell.to_owned(),
    };
    if guarded.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut lines = Lines::new(&["a", "b", "c"]);
        lines.push(&["plain".to_owned(), "a,\"b\"".to_owned(), "-1.5".to_owned()]);
        lines.push(&["=1+1".to_owned()]);
        assert_eq!(lines.text(), "a,b,c\r\nplain,\"a,\"\"b\"\"\",-1.5\r\n'=1+1,,\r\n");
    }
}
