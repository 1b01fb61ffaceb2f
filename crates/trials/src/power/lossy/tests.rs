use std::{
    fs,
    os::unix::{fs::MetadataExt as _, net::UnixListener},
};

use rusqlite::Connection;

use super::*;

const CUTS: u64 = 24;

/// A mounted file system, or `None` with a word where the machine lacks what it takes.
fn mounted(path: &Path, seed: u64, control: Control) -> Option<Lossy> {
    if let Err(missing) = crate::power::Via::Fuse.usable() {
        eprintln!("left out: {missing}");
        return None;
    }
    Some(Lossy::mount(path, seed, control).expect("mounted"))
}

/// Runs `before`, cuts the power, drops what `before` gave, and gives what `after` finds, for each of many seeds.
fn cuts<O, T>(control: Control, before: impl Fn(&Path) -> O, after: impl Fn(&Path) -> T) -> Vec<T> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut found = Vec::new();
    for seed in 0..CUTS {
        let Some(mut lossy) = mounted(directory.path(), seed, control) else { return Vec::new() };
        let open = before(directory.path());
        lossy.cut(|| ());
        drop(open);
        lossy.restore().expect("mounted again");
        found.push(after(directory.path()));
    }
    found
}

fn sync(path: &Path) {
    File::open(path).expect("there").sync_all().expect("synced");
}

#[test]
fn what_programs_see_is_what_any_file_system_shows() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(_lossy) = mounted(directory.path(), 1, Control::None) else { return };
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("a/b")).expect("made");
    fs::write(at("a/b/file"), vec![7; 3_000_000]).expect("written");
    fs::hard_link(at("a/b/file"), at("a/link")).expect("linked");
    assert_eq!(fs::metadata(at("a/link")).expect("there").nlink(), 2);
    assert!(fs::hard_link(at("a/b/file"), at("a/link")).is_err());
    fs::rename(at("a/link"), at("moved")).expect("renamed");
    assert_eq!(fs::read(at("moved")).expect("read"), vec![7; 3_000_000]);
    File::options().write(true).open(at("moved")).expect("there").set_len(10).expect("cut off");
    assert_eq!(fs::read(at("a/b/file")).expect("read"), vec![7; 10]);
    let _socket = UnixListener::bind(at("socket")).expect("bound");
    let locked = File::open(at("moved")).expect("there");
    locked.lock().expect("locked");
    assert!(File::open(at("moved")).expect("there").try_lock().is_err());
    assert!(fs::remove_dir(at("a")).is_err());
    for number in 0..500 {
        fs::write(at(&format!("a/b/{number}")), "").expect("written");
    }
    assert_eq!(fs::read_dir(at("a/b")).expect("listed").count(), 501);
    fs::remove_dir_all(at("a")).expect("removed");
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 2);
}

#[test]
fn a_cut_keeps_what_was_synced_with_its_directory_and_may_lose_everything_else() {
    let before = |at: &Path| {
        fs::write(at.join("old"), "old").expect("written");
        fs::write(at.join("safe"), "safe").expect("written");
        for path in [at.join("old"), at.join("safe"), at.to_owned()] {
            sync(&path);
        }
        fs::write(at.join("draft"), "new").expect("written");
        sync(&at.join("draft"));
        fs::rename(at.join("draft"), at.join("old")).expect("renamed");
        fs::write(at.join("unsynced"), "text").expect("written");
        fs::write(at.join("unnamed"), "text").expect("written");
        sync(&at.join("unnamed"));
    };
    let after = |at: &Path| ["safe", "old", "unsynced", "unnamed"].map(|name| fs::read_to_string(at.join(name)).ok());
    let found = cuts(Control::None, before, after);
    for [safe, old, unsynced, unnamed] in &found {
        assert_eq!(safe.as_deref(), Some("safe"));
        assert!(matches!(old.as_deref(), Some("old" | "new")));
        assert!(unsynced.as_deref().is_none_or(|text| ["", "text", "\0\0\0\0"].contains(&text)));
        assert!(unnamed.as_deref().is_none_or(|text| text == "text"));
    }
    let lost = |number: usize, text: Option<&str>| found.iter().any(|one| one[number].as_deref() == text);
    assert!(found.is_empty() || (lost(1, Some("old")) && lost(1, Some("new")) && lost(2, None) && lost(3, None)));
}

#[test]
fn nothing_can_be_done_between_the_cut_and_the_return_of_the_power() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mut lossy) = mounted(directory.path(), 1, Control::None) else { return };
    let file = File::create(directory.path().join("file")).expect("made");
    lossy.cut(|| ());
    assert!(
        file.set_len(10).is_err() && file.sync_all().is_err() && fs::write(directory.path().join("b"), "").is_err()
    );
    drop(file);
    lossy.restore().expect("mounted again");
    fs::write(directory.path().join("b"), "").expect("written");
}

/// Opens the database as the server does (`crates/db/src/sqlite.rs`), but for itself alone: then SQLite maps nothing into memory.
fn database(at: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(at.join("a.db"))?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Rows that are there of 300 that were committed; `None` when the database is damaged.
fn committed_rows_after_a_cut(control: Control) -> Vec<Option<i64>> {
    let before = |at: &Path| {
        let writer = database(at).expect("opened");
        writer.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)").expect("made");
        for number in 0..300_i64 {
            writer.execute("INSERT INTO t VALUES ($1, hex(randomblob(500)))", [number]).expect("committed");
            if number % 70 == 69 {
                writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("checkpoint");
            }
        }
        writer
    };
    let after = |at: &Path| {
        let found = database(at).and_then(|connection| {
            let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            let rows = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
            Ok((sound == "ok").then_some(rows))
        });
        found.ok().flatten()
    };
    cuts(control, before, after)
}

#[test]
fn sqlite_keeps_every_commit() {
    assert!(committed_rows_after_a_cut(Control::None).iter().all(|rows| *rows == Some(300)));
}

#[test]
fn a_disk_that_ignores_syncs_loses_commits_of_sqlite() {
    for control in [Control::NoFsync, Control::NoDirectoryFsync] {
        let found = committed_rows_after_a_cut(control);
        assert!(found.is_empty() || found.iter().any(|rows| *rows != Some(300)), "{control:?}: {found:?}");
    }
}
