//! Results: tables for people, JSON for programs.

mod column;
mod table;
mod words;

use std::io;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;

use crate::{failure::Failure, terminal::Terminal};

pub use column::{Column, age, by, number, size, text, texts, time, yes_or_no};
pub use words::bytes;
pub(crate) use words::clean;

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: the objects of the management API, a list as one array
    Json,
}

/// Writes results in one format.
pub struct Output<'a> {
    terminal: &'a dyn Terminal,
    format: Format,
    now: Timestamp,
}

impl<'a> Output<'a> {
    /// To this terminal. Ages are counted to `now`.
    pub fn new(terminal: &'a dyn Terminal, format: Format, now: Timestamp) -> Self {
        Self { terminal, format, now }
    }

    /// Shows one thing: all that is known of it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn one(&self, card: &[Column], value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print(&json(value)),
            Format::Table => self.print(&table::card(card, value, self.now)),
        }
    }

    /// Shows a list that is complete.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn all(&self, columns: &[Column], empty: &str, items: Vec<Value>) -> Result<(), Failure> {
        let mut list = self.list(columns, empty);
        list.add(items)?;
        list.end()
    }

    /// Begins a list; `empty` says in words that there is nothing.
    pub(crate) fn list<'l>(&'l self, columns: &'l [Column], empty: &'l str) -> List<'l> {
        List { output: self, columns, empty, rows: Vec::new(), written: 0 }
    }

    /// Says what was done: the thing as it is now for programs, a sentence for people. Nothing for programs where the API answers
    /// nothing.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn done(&self, value: &Value, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json if value.is_null() => Ok(()),
            Format::Json => self.print(&json(value)),
            Format::Table => self.print(&format!("{}\n", words::clean_lines(sentence))),
        }
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        raw(self.terminal, text.as_bytes())
    }

    /// How results are shown.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The time that ages are counted to.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }
}

/// A list that comes page by page.
pub(crate) struct List<'a> {
    output: &'a Output<'a>,
    columns: &'a [Column],
    empty: &'a str,
    /// Rows that wait until all widths are known.
    rows: Vec<Vec<String>>,
    written: usize,
}

impl List<'_> {
    /// Adds a page. Programs get it at once, since a list may be longer than the memory.
    pub(crate) fn add(&mut self, items: Vec<Value>) -> Result<(), Failure> {
        match self.output.format {
            Format::Table => {
                let now = self.output.now;
                self.rows.extend(items.iter().map(|item| self.columns.iter().map(|it| it.cell(item, now)).collect()));
            }
            Format::Json => {
                let mut text = String::new();
                for item in &items {
                    text.push_str(if self.written == 0 { "[\n  " } else { ",\n  " });
                    text.push_str(json(item).trim_end().replace('\n', "\n  ").as_str());
                    self.written += 1;
                }
                self.output.print(&text)?;
            }
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self.output.format {
            Format::Json if self.written == 0 => self.output.print("[]\n"),
            Format::Json => self.output.print("\n]\n"),
            Format::Table if self.rows.is_empty() => self.output.print(&format!("{}\n", self.empty)),
            Format::Table => {
                let head = self.columns.iter().map(|column| column.title().to_uppercase()).collect();
                self.output.print(&table::table(head, self.rows))
            }
        }
    }
}

/// JSON in lines. What would move a terminal's cursor is escaped, which means the same.
fn json(value: &Value) -> String {
    let mut text = String::new();
    for character in format!("{value:#}\n").chars() {
        match character {
            '\n' => text.push(character),
            it if it.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(it))),
            it => text.push(it),
        }
    }
    text
}

/// Writes what is neither table nor JSON of ours, such as a script.
///
/// # Errors
/// When it can't be written.
pub(crate) fn raw(terminal: &dyn Terminal, bytes: &[u8]) -> Result<(), Failure> {
    terminal.write(bytes).map_err(|error| match error.kind() {
        // Whoever reads has seen enough, as `head` has.
        io::ErrorKind::BrokenPipe => Failure::other(String::new()),
        _ => Failure::other(format!("the result can't be written: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::Paper;

    const COLUMNS: &[Column] = &[text("name", "/name"), size("stored", "/usage/bytes"), age("created", "/created")];

    fn items() -> Vec<Value> {
        vec![
            json!({"name": "a", "usage": {"bytes": 1536}, "created": "2026-11-28T00:00:00Z"}),
            json!({"name": "longer", "usage": {"bytes": 3}, "created": "2026-11-28T11:59:30Z", "more": [1]}),
        ]
    }

    fn shown(format: Format, pages: Vec<Vec<Value>>) -> String {
        let paper = Paper::default();
        let output = Output::new(&paper, format, "2026-11-28T12:00:00Z".parse().expect("a time"));
        let mut list = output.list(COLUMNS, "There is nothing.");
        for page in pages {
            list.add(page).expect("written");
        }
        list.end().expect("written");
        paper.printed()
    }

    #[test]
    fn people_get_a_table() {
        let table = shown(Format::Table, vec![items()]);
        assert_eq!(table, "NAME    STORED   CREATED\na       1.5 KiB  12 hours ago\nlonger  3 B      30 seconds ago\n");
        assert_eq!(shown(Format::Table, vec![Vec::new()]), "There is nothing.\n");
    }

    #[test]
    fn programs_get_one_array_of_all_pages() {
        let all = items();
        let text = shown(Format::Json, vec![all[..1].to_vec(), Vec::new(), all[1..].to_vec()]);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), Value::Array(all));
        assert_eq!(shown(Format::Json, vec![Vec::new()]), "[]\n");
    }

    #[test]
    fn no_name_moves_the_cursor() {
        let evil = json!({"name": "a\u{1b}[2Jb\u{9b}1m\nc\u{202e}d"});
        for format in [Format::Table, Format::Json] {
            let text = shown(format, vec![vec![evil.clone()]]);
            assert!(!text.contains(['\u{1b}', '\u{9b}']) && text.lines().count() < 8, "{text:?}");
        }
        assert!(!shown(Format::Table, vec![vec![evil.clone()]]).contains('\u{202e}'));
        let text = shown(Format::Json, vec![vec![evil.clone()]]);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")[0], evil);
    }

    #[test]
    fn a_change_without_an_answer_prints_nothing_for_programs() {
        let paper = Paper::default();
        Output::new(&paper, Format::Json, Timestamp::UNIX_EPOCH).done(&Value::Null, "Done.").expect("written");
        assert_eq!(paper.printed(), "");
        Output::new(&paper, Format::Table, Timestamp::UNIX_EPOCH).done(&Value::Null, "Done.").expect("written");
        assert_eq!(paper.printed(), "Done.\n");
    }
}
