//! Answers of point reads, remembered until a table that they were read from changes.
//!
//! Where the file is this process's alone ([`Options::alone`](crate::Options)), all changes go through a writer thread: so it is known here
//! when an answer is no longer true. (What is opened twice in one process, as tests do, shares what is known.) The hook of the connection that writes notes the tables that a
//! transaction changes; those without row numbers, of which SQLite tells nothing, are noted by the texts of the statements that changed something. From before its commit until after
//! it nothing that was read from them is recalled or remembered; then their counts are one higher, and what was remembered before is
//! not what is asked for any more. Who was told of a commit, or has seen what it did, never gets an answer from before it.
//!
//! Answers that depend on the clock must not be remembered: what is mapped from the row has the times in it, and is judged by who asks.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    hash::BuildHasher as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use arc_swap::ArcSwapOption;
use foldhash::quality::RandomState;
use rusqlite::Connection;

use crate::{
    error::DbError,
    value::{OwnedValue, Value},
};

/// Answers that are remembered at most: each has a place by its hash, where the newest stays. About half a KiB each.
const PLACES: usize = 4096;

/// The tables that remembered answers are read from.
const WATCHED: [&str; 12] = [
    "registry",
    "repository",
    "access_key",
    "person",
    "robot",
    "member",
    "tag",
    "artifact",
    "manifest",
    "blob",
    "repository_blob",
    "link_review",
];

/// Some of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables(u64);

impl Tables {
    /// The tables of these names.
    ///
    /// # Panics
    /// While compiling: a table that is not watched.
    pub(crate) const fn of(names: &[&str]) -> Self {
        let (mut bits, mut next) = (0, 0);
        while next < names.len() {
            let bit = bit(names[next].as_bytes());
            assert!(bit != 0, "answers from this table can't be remembered");
            bits |= bit;
            next += 1;
        }
        Self(bits)
    }

    fn numbers(self) -> impl Iterator<Item = usize> {
        (0..WATCHED.len()).filter(move |number| self.0 & (1 << number) != 0)
    }
}

/// 0 for a table that is not watched.
const fn bit(name: &[u8]) -> u64 {
    let mut number = 0;
    while number < WATCHED.len() {
        if same(WATCHED[number].as_bytes(), name) {
            return 1 << number;
        }
        number += 1;
    }
    0
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut next = 0;
    while next < one.len() && next < other.len() && one[next] == other[next] {
        next += 1;
    }
    next == one.len() && next == other.len()
}

/// What the statements of this thread have changed since it was asked, as their texts say.
#[derive(Default)]
struct Written {
    tables: u64,
    /// By address and length of the text, which stays.
    known: HashMap<(usize, usize), u64, RandomState>,
}

thread_local! {
    static WRITTEN: RefCell<Written> = RefCell::default();
}

/// Notes that a statement has changed rows.
pub(super) fn note(sql: &str) {
    WRITTEN.with_borrow_mut(|written| {
        let place = (sql.as_ptr() as usize, sql.len());
        written.tables |= *written.known.entry(place).or_insert_with(|| written_by(sql));
    });
}

/// The tables that a statement inserts into, updates or deletes from.
fn written_by(sql: &str) -> u64 {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let named = words.windows(3).filter_map(|words| match words {
        ["INSERT", "INTO", table] | ["DELETE", "FROM", table] | [_, "UPDATE", table] => Some(*table),
        _ => None,
    });
    let first = words.first().filter(|first| **first == "UPDATE").and(words.get(1)).copied();
    let name = |table: &str| {
        table.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().map_or(0, |it| bit(it.as_bytes()))
    };
    named.chain(first).fold(0, |all, table| all | name(table))
}

/// What was answered lately.
pub(super) struct Recall {
    changes: Changes,
    places: Box<[ArcSwapOption<Answer>]>,
    hasher: RandomState,
}

/// What a writer changes. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Changes {
    /// By the transaction that runs now.
    touched: Arc<AtomicU64>,
    file: Arc<File>,
}

/// What is known of a file, whoever writes to it.
#[derive(Default)]
struct File {
    /// Held during a commit.
    turn: Mutex<()>,
    /// Tables of the commit that goes on now.
    committing: AtomicU64,
    counts: [AtomicU64; WATCHED.len()],
}

struct Answer {
    sql: &'static str,
    params: Box<[OwnedValue]>,
    /// The counts of its tables together: none of them ever goes down.
    count: u64,
    answer: Arc<dyn Any + Send + Sync>,
}

/// Where an answer is remembered, if nothing changes until it is there.
pub(super) struct Place {
    number: usize,
    count: u64,
}

impl Recall {
    pub(super) fn new(changes: Changes) -> Self {
        let places = (0..PLACES).map(|_| ArcSwapOption::empty()).collect();
        Self { changes, places, hasher: RandomState::default() }
    }

    /// The answer that is remembered. `Err`: it must be read; in the place, if there is one, it can be remembered.
    pub(super) fn find<T: Send + Sync + 'static>(
        &self,
        tables: Tables,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Arc<T>, Option<Place>> {
        let count = self.changes.count(tables).ok_or(None)?;
        let hash = self.hasher.hash_one((sql.as_ptr() as usize, params));
        let number = usize::try_from(hash % PLACES as u64).unwrap_or(0);
        let known = self.places[number].load();
        let known = known.as_ref().filter(|known| known.count == count && known.is_of(sql, params));
        let answer = known.and_then(|known| Arc::clone(&known.answer).downcast().ok());
        answer.ok_or(Some(Place { number, count }))
    }

    pub(super) fn remember<T: Send + Sync + 'static>(
        &self,
        place: &Place,
        sql: &'static str,
        params: &[Value<'_>],
        answer: &Arc<T>,
    ) {
        let params = params.iter().map(OwnedValue::from).collect();
        let answer: Arc<dyn Any + Send + Sync> = answer.clone();
        self.places[place.number].store(Some(Arc::new(Answer { sql, params, count: place.count, answer })));
    }
}

impl Answer {
    fn is_of(&self, sql: &'static str, params: &[Value<'_>]) -> bool {
        std::ptr::eq(self.sql, sql)
            && self.params.len() == params.len()
            && self.params.iter().zip(params).all(|(known, asked)| Value::from(known) == *asked)
    }
}

impl Changes {
    /// For a writer of this file.
    pub(super) fn of(path: &Path) -> Self {
        static FILES: Mutex<Vec<(PathBuf, Weak<File>)>> = Mutex::new(Vec::new());
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(_, file)| file.strong_count() > 0);
        let known = files.iter().find(|(known, _)| *known == path).and_then(|(_, file)| file.upgrade());
        let file = known.unwrap_or_default();
        files.push((path, Arc::downgrade(&file)));
        Self { touched: Arc::default(), file }
    }

    /// Notes what this connection changes.
    pub(super) fn watch(&self, writer: &mut Connection) -> Result<(), DbError> {
        let touched = Arc::clone(&self.touched);
        writer.update_hook(Some(move |_, _: &str, table: &str, _| {
            touched.fetch_or(bit(table.as_bytes()), Relaxed);
        }))?;
        Ok(())
    }

    /// Runs the commit of what was changed.
    pub(super) fn during<T>(&self, commit: impl FnOnce() -> T) -> T {
        let _turn = self.file.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = WRITTEN.with_borrow_mut(|written| std::mem::take(&mut written.tables));
        let touched = Tables(self.touched.swap(0, Relaxed) | noted);
        self.file.committing.store(touched.0, SeqCst);
        let done = commit();
        for number in touched.numbers() {
            self.file.counts[number].fetch_add(1, SeqCst);
        }
        self.file.committing.store(0, SeqCst);
        done
    }

    #[cfg(test)]
    fn counts(&self) -> Vec<u64> {
        self.file.counts.iter().map(|count| count.load(SeqCst)).collect()
    }

    /// `None` while one of the tables is being changed.
    fn count(&self, tables: Tables) -> Option<u64> {
        if self.file.committing.load(SeqCst) & tables.0 != 0 {
            return None;
        }
        Some(tables.numbers().map(|number| self.file.counts[number].load(SeqCst)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With and without row numbers, whatever a statement looks like, and also all rows at once.
    #[test]
    fn changes_of_all_watched_tables_are_told() {
        let mut connection = Connection::open_in_memory().unwrap();
        let dialect = crate::dialect::Dialect::new(crate::Engine::Sqlite, 0);
        for step in crate::migrations::MIGRATIONS {
            connection.execute_batch(&step.text(&dialect).unwrap()).unwrap();
        }
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        let changes = Changes::default();
        changes.watch(&mut connection).unwrap();
        let touched = || {
            let (before, all) = (changes.counts(), Tables((1 << WATCHED.len()) - 1));
            changes.during(|| ());
            let after = changes.counts();
            let changed = all.numbers().filter(|number| before[*number] != after[*number]);
            changed.map(|number| WATCHED[number]).collect::<Vec<_>>()
        };
        for table in WATCHED {
            let columns = "SELECT group_concat(name), group_concat('1') FROM pragma_table_info(?1)";
            let (names, values): (String, String) =
                connection.query_row(columns, [table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let first = names.split(',').next().unwrap();
            for sql in [
                format!("INSERT INTO {table} ({names})\n VALUES ({values})"),
                format!("UPDATE {table} SET {first} = 1"),
                format!("WITH it AS (SELECT 1 AS one) UPDATE {table} SET {first} = 1 WHERE 1 IN (SELECT one FROM it)"),
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table}({names}) VALUES ({values}) ON CONFLICT DO UPDATE SET {first} = 1"),
            ] {
                // Texts of statements stay.
                let sql = &*sql.leak();
                assert_eq!(super::super::execute(&connection, sql, &[]).unwrap(), 1, "{sql}");
                assert_eq!(touched(), [table], "{sql}");
            }
            let sql = format!("DELETE FROM {table} WHERE {first} = 2");
            super::super::execute(&connection, sql.leak(), &[]).unwrap();
            assert_eq!(touched(), [""; 0], "it changed nothing");
            let sql = format!("DELETE FROM {table} WHERE {first} = 1 RETURNING {first}");
            super::super::query(&connection, sql.leak(), &[], |_| Ok(())).unwrap();
            assert_eq!(touched(), [table]);
        }
    }

    const TAGS: Tables = Tables::of(&["tag", "artifact"]);
    const BLOBS: Tables = Tables::of(&["blob"]);
    const ASK: &str = "SELECT a";

    #[test]
    fn an_answer_is_recalled_until_one_of_its_tables_changes() {
        let changes = Changes::default();
        let recall = Recall::new(changes.clone());
        let ask = |params: &[Value<'_>]| recall.find::<i64>(TAGS, ASK, params).map(|answer| *answer);
        let learn = |params: &[Value<'_>], answer: i64| {
            let place = ask(params).expect_err("it is not known").expect("nothing is being changed");
            recall.remember(&place, ASK, params, &Arc::new(answer));
        };
        let (one, other) = ([Value::Text("1")], [Value::Int(1)]);
        learn(&one, 7);
        assert_eq!(ask(&one).ok(), Some(7));
        assert!(ask(&other).is_err());
        assert!(recall.find::<i64>(TAGS, "SELECT b", &one).is_err());

        changes.touched.store(BLOBS.0, Relaxed);
        changes.during(|| assert_eq!(ask(&one).ok(), Some(7), "another table"));
        assert_eq!(ask(&one).ok(), Some(7));
        let begun_before = ask(&other).expect_err("it is not known").expect("nothing is being changed");
        changes.touched.store(TAGS.0, Relaxed);
        assert_eq!(ask(&one).ok(), Some(7), "nobody can know of it yet");
        changes.during(|| assert!(matches!(ask(&one), Err(None)), "it may be seen already, or not yet"));
        assert!(ask(&one).is_err());
        recall.remember(&begun_before, ASK, &other, &Arc::new(8));
        assert!(ask(&other).is_err(), "it may have been read before the change");
    }

    #[test]
    fn what_another_writer_of_the_file_changes_is_known() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("a")).expect("a directory");
        std::fs::write(at("a/db"), "").expect("a file");
        let [here, there, elsewhere] = ["a/db", "a/../a/db", "a/other"].map(|name| Changes::of(&at(name)));
        there.touched.store(TAGS.0, Relaxed);
        there.during(|| assert_eq!((here.count(TAGS), elsewhere.count(TAGS)), (None, Some(0))));
        assert_eq!((here.count(TAGS), elsewhere.count(TAGS)), (Some(2), Some(0)));
    }

    #[test]
    fn a_connection_tells_what_it_changes() {
        let changes = Changes::default();
        let mut connection = Connection::open_in_memory().expect("a database");
        changes.watch(&mut connection).expect("a hook");
        connection
            .execute_batch("CREATE TABLE tag (id); CREATE TABLE artifact (id); CREATE TABLE other (id)")
            .expect("tables");
        let touched = |sql: &str| {
            changes.during(|| connection.execute_batch("SELECT 1")).expect("a statement");
            connection.execute_batch(sql).expect("a statement");
            changes.touched.load(Relaxed)
        };
        assert_eq!(touched("INSERT INTO other VALUES (1); SELECT * FROM tag"), 0);
        assert_eq!(touched("INSERT INTO tag VALUES (1)"), Tables::of(&["tag"]).0);
        assert_eq!(touched("UPDATE tag SET id = 2; INSERT INTO artifact SELECT id FROM tag"), TAGS.0);
        assert_eq!(
            touched("WITH it AS (SELECT 2 AS id) DELETE FROM tag WHERE id IN (SELECT id FROM it)"),
            Tables::of(&["tag"]).0
        );
    }
}
