//! Cells in lines, aligned.

use jiff::Timestamp;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::column::Column;

/// Rows below their head.
pub(super) fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut widths = vec![0; head.len()];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    [head].iter().chain(&rows).map(|row| line(row, &widths)).collect()
}

/// One thing: a line for each column.
pub(super) fn card(columns: &[Column], value: &Value, now: Timestamp) -> String {
    let widest = columns.iter().map(|column| column.title().width()).max().unwrap_or_default();
    let row = |column: &Column| line(&[column.title().to_owned(), column.cell(value, now)], &[widest, 0]);
    columns.iter().map(row).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::column::{text, yes_or_no};
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["a", "long cell"]), row(["이름", "b"]), row(["longer", "c"])];
        assert_eq!(table(row(["X", "Y"]), rows), "X       Y\na       long cell\n이름    b\nlonger  c\n");
    }

    #[test]
    fn a_card_has_a_line_for_each() {
        let columns = [text("name", "/name"), yes_or_no("anyone pulls", "/public_pull")];
        let shown = card(&columns, &json!({"name": "team", "public_pull": false}), Timestamp::UNIX_EPOCH);
        assert_eq!(shown, "name          team\nanyone pulls  no\n");
    }
}
