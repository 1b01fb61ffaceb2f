//! The database and the bucket themselves, looked at from outside: that rows and objects fit, that nothing is left over, that
//! sums are right. The one place outside `crates/db` with SQL, for it must not believe what it examines.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use roadstead_testkit::{digest, eventually};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    ledger::Ledger,
    region::{Region, Store},
};

/// Rows, each value as text; empty for none.
pub(crate) type Rows = Vec<Vec<String>>;

/// Work that is due, which the background has to have done before anything is compared; `?` is the time.
const DUE: &str =
    "SELECT (SELECT count(*) FROM link_review WHERE due <= ?) + (SELECT count(*) FROM blob_review WHERE due <= ?)
    + (SELECT count(*) FROM object_removal WHERE due <= ?) + (SELECT count(*) FROM deletion WHERE until <= ?)
    + (SELECT count(*) FROM deletion_step) + (SELECT count(*) FROM upload WHERE ending AND lease <= ?)";

const BLOBS: &str = "SELECT object_key, size FROM blob WHERE body IS NULL";

/// What may be in the bucket and is no blob: what uploads have stored, and what is to be removed.
const UPLOADS: &str = "SELECT state, epoch FROM upload WHERE finished IS NULL";
const REMOVALS: &str = "SELECT object_key FROM object_removal";

/// Each of these has to find nothing.
const NEVER: [(&str, &str); 8] = [
    (
        "a manifest names a blob of its repository and does not hold it",
        "SELECT e.artifact, b.id FROM artifact_edge e JOIN blob b ON b.digest = e.digest
         JOIN repository_blob l ON l.repository = e.repository AND l.blob = b.id
         WHERE e.role <> 'subject' AND NOT EXISTS (SELECT 1 FROM artifact_blob h WHERE h.artifact = e.artifact AND h.blob = b.id)",
    ),
    (
        "the number of a registry's repositories with a blob is wrong",
        "SELECT r.registry, l.blob, count(*) FROM repository_blob l JOIN repository r ON r.id = l.repository
         LEFT JOIN registry_blob g ON g.registry = r.registry AND g.blob = l.blob
         GROUP BY r.registry, l.blob, g.repositories HAVING g.repositories IS NULL OR g.repositories <> count(*)",
    ),
    (
        "a registry counts a blob that no repository of it has",
        "SELECT g.registry, g.blob FROM registry_blob g WHERE NOT EXISTS
         (SELECT 1 FROM repository_blob l JOIN repository r ON r.id = l.repository WHERE r.registry = g.registry AND l.blob = g.blob)",
    ),
    (
        "a blob that no repository has, and that nobody will look at",
        "SELECT b.id FROM blob b WHERE NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.blob = b.id)
         AND NOT EXISTS (SELECT 1 FROM blob_review w WHERE w.blob = b.id)",
    ),
    (
        "a blob of a repository that no manifest holds, and that nobody will look at",
        "SELECT l.repository, l.blob FROM repository_blob l
         WHERE NOT EXISTS (SELECT 1 FROM artifact_blob h WHERE h.repository = l.repository AND h.blob = l.blob)
         AND NOT EXISTS (SELECT 1 FROM link_review w WHERE w.repository = l.repository AND w.blob = l.blob)",
    ),
    ("a manifest that no repository has", "SELECT id FROM manifest m WHERE NOT EXISTS (SELECT 1 FROM artifact a WHERE a.manifest = m.id)"),
    (
        "a blob's bytes in the database are not as many as it has, or it has an object too",
        "SELECT id, size, length(body), object_key FROM blob WHERE body IS NOT NULL AND (length(body) <> size OR object_key <> '')",
    ),
    (
        "an object is to be removed that a blob needs",
        "SELECT b.id, b.object_key FROM blob b JOIN object_removal o ON o.object_key = b.object_key",
    ),
];

/// What is counted of a registry, and what it is: repositories with an artifact, artifacts, bytes of its blobs.
const USAGE: &str = "SELECT g.id,
    (SELECT coalesce(sum(repositories), 0) FROM usage u WHERE u.registry = g.id) + (SELECT coalesce(sum(repositories), 0) FROM usage_change u WHERE u.registry = g.id),
    (SELECT count(DISTINCT r.id) FROM repository r JOIN artifact a ON a.repository = r.id WHERE r.registry = g.id),
    (SELECT coalesce(sum(artifacts), 0) FROM usage u WHERE u.registry = g.id) + (SELECT coalesce(sum(artifacts), 0) FROM usage_change u WHERE u.registry = g.id),
    (SELECT count(*) FROM repository r JOIN artifact a ON a.repository = r.id WHERE r.registry = g.id),
    (SELECT coalesce(sum(bytes), 0) FROM usage u WHERE u.registry = g.id) + (SELECT coalesce(sum(bytes), 0) FROM usage_change u WHERE u.registry = g.id),
    (SELECT coalesce(sum(b.size), 0) FROM registry_blob n JOIN blob b ON b.id = n.blob WHERE n.registry = g.id)
    FROM registry g";

/// Compares database and bucket of a region whose nodes run and whose load rests. Findings and figures go into the ledger.
///
/// # Panics
/// When the database can't be read, or no process started.
pub fn audit(region: &Region, ledger: &Ledger) {
    match region.store() {
        Store::Directory(data) => in_its_own_process(data, ledger),
        store @ Store::Cluster(_) => examine(store, ledger),
    }
}

/// SQLite maps its index into memory. Where this process serves the file system that it lies on (see `power::lossy`), a page
/// of that map would be waited for by the one who has to bring it: so another process looks.
fn in_its_own_process(data: &Path, ledger: &Ledger) {
    let program = std::env::current_exe().expect("a program knows its file");
    let output = Command::new(program).arg("audit").arg(data).output().expect("the audit starts");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    for finding in said["findings"].as_array().into_iter().flatten().filter_map(|finding| finding.as_str()) {
        ledger.find(finding);
    }
    for (what, count) in said["figures"].as_object().into_iter().flatten() {
        ledger.count(what, count.as_u64().unwrap_or_default());
    }
    if !output.status.success() || said.is_null() {
        ledger.find(format!("the audit broke off: {}", String::from_utf8_lossy(&output.stderr)));
    }
}

/// What [`audit`] starts: looks at a data directory and prints what it has found as JSON.
pub fn print(data: &Path) {
    let ledger = Ledger::new();
    examine(&Store::Directory(data.to_owned()), &ledger);
    println!("{}", serde_json::json!({ "findings": ledger.findings(), "figures": ledger.tally() }));
}

fn examine(store: &Store, ledger: &Ledger) {
    let database = Database::of(store);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
    let due = || database.rows(&DUE.replace('?', &now().to_string()));
    if eventually(|| (due().concat() == ["0"]).then_some(())).is_none() {
        ledger.find(format!("the background work does not come to its end: {:?} things are due", due().concat()));
    }
    if let Store::Directory(_) = store {
        for (check, fine) in [("PRAGMA integrity_check", "ok"), ("PRAGMA foreign_key_check", "")] {
            let said = database.rows(check).concat().join(" ");
            if said != fine {
                ledger.find(format!("{check}: {said}"));
            }
        }
    }
    for (words, sql) in NEVER {
        let rows = database.rows(sql);
        if !rows.is_empty() {
            ledger.find(format!("{words}: {} rows, such as {:?}", rows.len(), rows[0]));
        }
    }
    for row in database.rows(USAGE) {
        for (what, pair) in ["repositories", "artifacts", "bytes"].into_iter().zip(row[1..].chunks(2)) {
            if pair[0] != pair[1] {
                ledger.find(format!("registry {} counts {} {what} and has {}", row[0], pair[0], pair[1]));
            }
        }
    }
    objects(store, &database, ledger);
    ledger.count("audits", 1);
}

/// No blob row lacks its object, none is shorter or longer than its row says, and none belongs to nothing.
fn objects(store: &Store, database: &Database, ledger: &Ledger) {
    let objects = list(store, ledger);
    let mut owned = BTreeSet::new();
    for row in database.rows(BLOBS) {
        let (key, size) = (&row[0], row[1].parse().unwrap_or(u64::MAX));
        match objects.get(key) {
            None => ledger.find(format!("the object {key} of a blob of {size} bytes is gone")),
            Some(found) if *found != size => {
                ledger.find(format!("the object {key} of a blob of {size} bytes has {found}"));
            }
            Some(_) => {}
        }
        if !owned.insert(key.clone()) {
            ledger.find(format!("two blobs share the object {key}"));
        }
        ledger.count("objects compared", 1);
    }
    owned.extend(database.rows(REMOVALS).concat());
    let uploads = database.rows(UPLOADS);
    let states: Vec<serde_json::Value> =
        uploads.iter().map(|row| serde_json::from_str(&row[0]).unwrap_or_default()).collect();
    for (state, row) in states.iter().zip(&uploads) {
        let further = state["superseded"].as_array().cloned().unwrap_or_default();
        let keys = [&state["key"], &state["tail"]["key"]].into_iter().chain(&further);
        owned.extend(keys.filter_map(|key| key.as_str().map(str::to_owned)));
        // What a claim may have left that did not come to say so: the next claim has it removed, at the latest that of the end.
        let key = state["key"].as_str().unwrap_or_default();
        let (first, last) = (state["accounted"].as_i64().unwrap_or_default(), row[1].parse().unwrap_or_default());
        owned.extend((first..=last).map(|claim| digest(format!("{key} {claim}").as_bytes())[7..39].to_owned()));
    }
    let mut left: Vec<_> = objects.iter().filter(|(key, _)| !owned.contains(*key)).collect();
    if !left.is_empty() {
        // Of a region that runs, the collector may have removed some after they were listed and before their rows were read.
        let still = list(store, ledger);
        left.retain(|(key, _)| still.contains_key(*key));
    }
    if !left.is_empty() {
        let bytes: u64 = left.iter().map(|(_, size)| **size).sum();
        ledger.find(format!("{} objects ({bytes} bytes) belong to nothing, such as {:?}", left.len(), left[0]));
    }
    if let Store::Cluster(outside) = store {
        let known: BTreeSet<_> = states.iter().filter_map(|state| state["key"].as_str()).collect();
        let unfinished = outside.s3.unfinished(&outside.bucket);
        let lost = unfinished.iter().filter(|key| key.rsplit('/').next().is_none_or(|key| !known.contains(key)));
        // The bucket's own rule takes these away (docs/operating.md): the last figure counts.
        ledger.set("multipart uploads left to the bucket's rule", lost.count() as u64);
    }
}

/// Keys and sizes of all objects but the marker.
fn list(store: &Store, ledger: &Ledger) -> BTreeMap<String, u64> {
    match store {
        Store::Directory(data) => files(data, ledger),
        Store::Cluster(outside) => {
            let listed = outside.s3.list(&outside.bucket);
            let own = listed.into_iter().filter(|object| object.key != MARKER);
            own.map(|object| (object.key.rsplit('/').next().unwrap_or_default().to_owned(), object.size)).collect()
        }
    }
}

/// The object that says whose bucket it is.
const MARKER: &str = "roadstead-bucket";

/// Objects below a data directory by key. A file that nobody knows is a finding.
fn files(data: &Path, ledger: &Ledger) -> BTreeMap<String, u64> {
    const KNOWN: [&str; 8] = [
        "roadstead.db",
        "roadstead.db-wal",
        "roadstead.db-shm",
        "secret.key",
        "lock",
        "in-use",
        "control.sock",
        MARKER,
    ];
    let mut found = BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if folder == data {
                if !KNOWN.contains(&name.as_str()) {
                    ledger.find(format!("a file that nobody needs: {}", path.display()));
                }
            } else {
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                let place = format!("objects/{}/{name}", name.get(..2).unwrap_or_default());
                if path != data.join(place) {
                    ledger.find(format!("a file that is no object: {}", path.display()));
                }
                found.insert(name, size);
            }
        }
    }
    found
}

/// The database of a region, asked from outside.
pub(crate) enum Database {
    Sqlite(Connection),
    Postgres(String),
}

impl Database {
    /// Opens the one behind a store.
    pub(crate) fn of(store: &Store) -> Self {
        match store {
            Store::Directory(data) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let opened = Connection::open_with_flags(data.join("roadstead.db"), flags);
                Self::Sqlite(opened.expect("the database of a server that runs can be read"))
            }
            Store::Cluster(outside) => Self::Postgres(outside.database.url()),
        }
    }

    /// What a statement answers.
    pub(crate) fn rows(&self, sql: &str) -> Rows {
        match self {
            Self::Sqlite(connection) => sqlite(connection, sql).unwrap_or_else(|error| panic!("{sql}: {error}")),
            Self::Postgres(url) => postgres(url, sql),
        }
    }
}

fn sqlite(connection: &Connection, sql: &str) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    };
    let rows = statement.query_map([], |row| (0..columns).map(|column| Ok(text(row.get_ref(column)?))).collect())?;
    rows.collect()
}

fn postgres(url: &str, sql: &str) -> Rows {
    let run = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await;
        drop(client);
        // It ends with the client.
        let _ = connection.await;
        messages
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let messages = runtime.block_on(run).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect()).collect()
}
