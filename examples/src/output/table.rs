//! [`Table`]: aligned columns.

use std::fmt::Display;

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells under a heading.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells may be coloured.
    pub(crate) fn row(&mut self, cells: &[&dyn Display]) {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }

    /// The lines, heading first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let style = super::style::BOLD;
        let heading: Vec<_> = self.columns.iter().map(|(name, _)| format!("{style}{name}{style:#}")).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.rows.iter().chain([&heading]).filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        [&heading].into_iter().chain(&self.rows).map(|row| self.render(row, &widths)).collect()
    }

    fn render(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), full) in row.iter().zip(&self.columns).zip(widths) {
            let padding = " ".repeat(full.saturating_sub(width(cell)));
            let (before, after) = if *align == Align::Right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.push_str(&format!("{before}{cell}{after}  "));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Characters that are seen: colours take no room.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|piece| piece.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let mut table = Table::new(&[("name", Align::Left), ("size", Align::Right), ("note", Align::Left)]);
        let red = super::super::style::BAD;
        table.row(&[&"a", &format!("{red}1{red:#}"), &"x"]);
        table.row(&[&"longer", &"12,345", &""]);
        let plain: Vec<_> = table.lines().iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(plain, ["name      size  note", "a            1  x", "longer  12,345"]);
    }
}
