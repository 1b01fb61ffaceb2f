//! What holds for transactions and reads, each on both engines: on SQLite always, on PostgreSQL where the test kit finds one.

mod on_postgres;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use super::*;
use crate::params;
use futures::{FutureExt as _, future::join_all};
use roadstead_testkit::{engines, postgres::Database};

const NOTHING: [i64; 0] = [];

/// A database of its own for a test, with the table `t (k, v)` and `c (k -> t)`.
struct TestDb {
    db: Db,
    options: Options,
    _directory: Option<tempfile::TempDir>,
    /// PostgreSQL: dropped with the value.
    database: Option<Database>,
}

impl TestDb {
    async fn all() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        all.extend(Self::postgres().await);
        all
    }

    async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = options(DatabaseUrl::Sqlite(directory.path().join("roadstead.db")));
        Self::prepare(options, Some(directory), None).await
    }

    async fn postgres() -> Option<Self> {
        let made = tokio::task::spawn_blocking(|| engines::postgres().map(roadstead_testkit::Postgres::database));
        let database = made.await.unwrap()?;
        let options = options(DatabaseUrl::Postgres(database.url()));
        Some(Self::prepare(options, None, Some(database)).await)
    }

    async fn prepare(options: Options, directory: Option<tempfile::TempDir>, database: Option<Database>) -> Self {
        let db = Db::open(options.clone()).await.unwrap();
        let created: Result<(), DbError> = db
            .write((), |tx, ()| {
                Box::pin(async move {
                    tx.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT, b {bytes}, f BOOLEAN)", []).await?;
                    tx.execute("CREATE TABLE c (k BIGINT NOT NULL REFERENCES t)", []).await?;
                    Ok(())
                })
            })
            .await;
        created.unwrap();
        Self { db, options, _directory: directory, database }
    }

    async fn keys(&self) -> Vec<i64> {
        self.db.query("SELECT k FROM t ORDER BY k", [], |row| row.get(0)).await.unwrap()
    }

    async fn insert(&self, key: i64) -> Result<(), DbError> {
        self.db.write(key, |tx, key| Box::pin(async move { insert(tx, *key).await })).await
    }

    async fn end(self) {
        drop(self.db);
        drop(self.database);
    }
}

fn options(url: DatabaseUrl) -> Options {
    Options {
        url,
        pool: 4,
        allow_fsync_off: true,
        clock_offset_micros: 0,
        ca_certificates: Vec::new(),
        answer_within: Options::ANSWER,
        alone: true,
    }
}

async fn insert(tx: &mut Tx<'_>, key: i64) -> Result<(), DbError> {
    tx.execute("INSERT INTO t (k) VALUES ($1)", params![key]).await.map(drop)
}

#[tokio::test]
async fn values_come_back_and_parameters_go_by_their_number() {
    for test in TestDb::all().await {
        let text = "ä".to_owned();
        let written = test.db.write(text, |tx, text| {
            Box::pin(async move {
                let values = params![text, 7, &[1_u8, 0, 255], true];
                let rows = tx
                    .query("INSERT INTO t (b, v, f, k) VALUES ($3, $1, $4, $2) RETURNING k, f", values, |row| {
                        Ok((row.get::<i64>(0)?, row.get::<bool>(1)?))
                    })
                    .await?;
                let nulls = params![None::<&str>, None::<&[u8]>, None::<bool>, 8];
                tx.execute("INSERT INTO t (v, b, f, k) VALUES ($1, $2, $3, $4)", nulls).await?;
                Ok::<_, DbError>(rows)
            })
        });
        assert_eq!(written.await.unwrap(), [(7, true)]);
        let all = |row: &Row<'_>| {
            let flag: Option<bool> = row.get(3)?;
            Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?, row.get::<Option<Vec<u8>>>(2)?, flag))
        };
        let expected = [(7, Some("ä".to_owned()), Some(vec![1, 0, 255]), Some(true)), (8, None, None, None)];
        let sql = "SELECT k, v, b, f FROM t WHERE k <= $2 AND k >= $1 ORDER BY k";
        assert_eq!(test.db.query(sql, params![7, 8], all).await.unwrap(), expected);
        assert_eq!(test.db.list(sql, params![7, 8], all).await.unwrap(), expected);
        let one = test.db.query_opt("SELECT v FROM t WHERE k = $1", params![7], |row| row.text(0).map(str::len)).await;
        assert_eq!(one.unwrap(), Some(2));
        let surplus = test.db.query("SELECT k FROM t WHERE k = $1", params![7, 8], |row| row.get::<i64>(0)).await;
        assert!(matches!(surplus, Err(DbError::Internal(_))), "{surplus:?}");
        test.end().await;
    }
}

#[tokio::test]
async fn requests_can_be_tasks_of_their_own() {
    for test in TestDb::all().await {
        let db = test.db.clone();
        let task = async move {
            let name = "given".to_owned();
            db.write(name.clone(), |tx, name| {
                Box::pin(async move {
                    tx.query("SELECT k FROM t WHERE v = $1", params![name], |row| row.get::<i64>(0)).await?;
                    tx.execute("INSERT INTO t (k, v) VALUES ($1, $2)", params![1, name.to_uppercase()]).await
                })
            })
            .await?;
            let listed =
                db.list("SELECT k FROM t WHERE v = $1", params![name.to_uppercase()], |row| row.get::<i64>(0)).await?;
            let read =
                db.query("SELECT k FROM t WHERE v = $1", params![Some("GIVEN")], |row| row.get::<i64>(0)).await?;
            Ok::<_, DbError>((listed, read))
        };
        assert_eq!(tokio::spawn(task).await.unwrap(), Ok((vec![1], vec![1])));
        test.end().await;
    }
}

#[tokio::test]
async fn of_many_transactions_at_once_the_bad_ones_take_only_themselves_back() {
    for test in TestDb::all().await {
        let writes = (0..100).map(|key| {
            test.db.write(key, |tx, key| {
                Box::pin(async move {
                    insert(tx, *key).await?;
                    match key % 10 {
                        3 => insert(tx, *key).await,
                        5 => Err(DbError::Refused("of its own".to_owned())),
                        7 => panic!("a body that panics"),
                        _ => Ok(()),
                    }
                })
            })
        });
        for (key, result) in join_all(writes).await.into_iter().enumerate() {
            match key % 10 {
                3 => assert!(matches!(result, Err(DbError::Unique(_))), "{key} {result:?}"),
                5 => assert_eq!(result, Err(DbError::Refused("of its own".to_owned()))),
                7 => assert!(matches!(result, Err(DbError::Internal(_))), "{key} {result:?}"),
                _ => assert_eq!(result, Ok(())),
            }
        }
        let good: Vec<i64> = (0..100).filter(|key| ![3, 5, 7].contains(&(key % 10))).collect();
        assert_eq!(test.keys().await, good);
        test.end().await;
    }
}

#[tokio::test]
async fn a_transaction_that_swallows_a_failed_statement_is_not_committed() {
    for test in TestDb::all().await {
        test.insert(1).await.unwrap();
        let swallowed = test.db.write((), |tx, ()| {
            Box::pin(async move {
                insert(tx, 2).await?;
                assert!(matches!(insert(tx, 1).await, Err(DbError::Unique(_))));
                assert!(matches!(insert(tx, 3).await, Err(DbError::Internal(_))));
                Ok::<_, DbError>(())
            })
        });
        assert!(matches!(swallowed.await, Err(DbError::Internal(_))));
        assert_eq!(test.keys().await, [1]);
        test.end().await;
    }
}

#[tokio::test]
async fn a_transaction_goes_on_after_a_tried_statement_met_a_key() {
    for test in TestDb::all().await {
        let tried = test.db.write((), |tx, ()| {
            Box::pin(async move {
                insert(tx, 1).await?;
                insert(tx, 2).await?;
                tx.execute("INSERT INTO c (k) VALUES ($1)", params![1]).await?;
                let held = tx.try_execute("DELETE FROM t WHERE k = $1", params![1]).await;
                let free = tx.try_execute("DELETE FROM t WHERE k = $1", params![2]).await;
                let twice = tx.try_execute("INSERT INTO t (k) VALUES ($1)", params![1]).await;
                Ok::<_, DbError>((held, free, matches!(twice, Err(DbError::Unique(_)))))
            })
        });
        assert_eq!(tried.await.unwrap(), (Err(DbError::ForeignKey), Ok(1), true));
        assert_eq!(test.keys().await, [1]);
        test.end().await;
    }
}

#[tokio::test]
async fn again_runs_the_whole_transaction_again() {
    struct Other;
    impl From<DbError> for Other {
        fn from(_: DbError) -> Self {
            Self
        }
    }
    for test in TestDb::all().await {
        let run = |tx_again: bool| {
            let runs = Arc::new(AtomicU32::new(0));
            let write = test.db.write(Arc::clone(&runs), move |tx, runs| {
                Box::pin(async move {
                    insert(tx, 1).await?;
                    if runs.fetch_add(1, SeqCst) < 2 {
                        return Err(if tx_again { tx.again() } else { DbError::Again });
                    }
                    tx.execute("DELETE FROM t", []).await
                })
            });
            write.map(move |result| (result, runs.load(SeqCst)))
        };
        assert_eq!(run(false).await, (Ok(1), 3));
        assert_eq!(run(true).await, (Ok(1), 3));

        let runs = Arc::new(AtomicU32::new(0));
        let hopeless = test.db.write(Arc::clone(&runs), |tx, runs| {
            Box::pin(async move {
                runs.fetch_add(1, SeqCst);
                insert(tx, 1).await?;
                Err::<(), Other>(tx.again().into())
            })
        });
        assert!(hopeless.await.is_err());
        assert_eq!((runs.load(SeqCst), test.keys().await), (TRIES, vec![]));
        test.end().await;
    }
}

#[tokio::test]
async fn a_transaction_dropped_on_its_way_to_the_writer_is_whole_or_not_at_all() {
    let test = TestDb::sqlite().await;
    for key in 0..50 {
        let write = test.db.write(key, |tx, key| {
            Box::pin(async move {
                insert(tx, 2 * key).await?;
                insert(tx, 2 * key + 1).await
            })
        });
        assert!(write.now_or_never().is_none_or(|result| result.is_ok()));
    }
    test.insert(1000).await.unwrap();
    assert_eq!(test.keys().await.len() % 2, 1);
    test.end().await;
}

#[tokio::test]
async fn waiting_for_something_else_inside_a_transaction_is_refused() {
    let test = TestDb::sqlite().await;
    let waits = test.db.write((), |tx, ()| {
        Box::pin(async move {
            insert(tx, 1).await?;
            std::future::pending::<()>().await;
            Ok::<_, DbError>(())
        })
    });
    let Err(DbError::Internal(words)) = waits.await else { panic!("it was not refused") };
    assert!(words.contains("no network call"), "{words}");
    assert_eq!(test.keys().await, NOTHING);
    test.end().await;
}

#[tokio::test]
async fn a_full_disk_passes_and_what_is_small_has_room_beside_it() {
    let test = TestDb::sqlite().await;
    let limit = |pages: &'static str| {
        test.db.write((), move |tx, ()| Box::pin(async move { tx.query(pages, [], |row| row.get::<i64>(0)).await }))
    };
    let _: Vec<i64> = limit("PRAGMA max_page_count = 100").await.unwrap();
    let fill = || {
        test.db.write((), |tx, ()| {
            Box::pin(async move { tx.execute("INSERT INTO t (k, b) VALUES (1, zeroblob(10000000))", []).await })
        })
    };
    let (full, small) = tokio::join!(fill(), test.insert(2));
    assert!(matches!(full, Err(DbError::Full(_))), "{full:?}");
    small.expect("it had room");
    let _: Vec<i64> = limit("PRAGMA max_page_count = 1000000").await.unwrap();
    assert_eq!(fill().await, Ok::<_, DbError>(1));
    test.end().await;
}

#[tokio::test]
async fn acknowledged_writes_are_there_after_the_last_handle_is_dropped() {
    let test = TestDb::sqlite().await;
    let TestDb { db, options, _directory: directory, .. } = test;
    let write = db.write(5, |tx, key| Box::pin(async move { insert(tx, *key).await }));
    write.await.unwrap();
    drop(db);
    let log = directory.as_ref().unwrap().path().join("roadstead.db-wal");
    assert_eq!(length(&log), 0, "a clean end leaves no log");
    let db = Db::open(options).await.unwrap();
    assert_eq!(db.query("SELECT k FROM t", [], |row| row.get::<i64>(0)).await.unwrap(), [5]);
}

#[tokio::test]
async fn the_log_stays_bounded_under_steady_writes() {
    let test = TestDb::sqlite().await;
    let DatabaseUrl::Sqlite(path) = &test.options.url else { unreachable!() };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    for key in 0..90 {
        let write = test.db.write(key, |tx, key| {
            Box::pin(
                async move { tx.execute("INSERT INTO t (k, b) VALUES ($1, zeroblob(1000000))", params![key]).await },
            )
        });
        write.await.unwrap_or_else(|error: DbError| panic!("{error}"));
    }
    assert!(length(Path::new(&log)) < 70 << 20, "{}", length(Path::new(&log)));
    test.end().await;
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[tokio::test]
async fn reads_can_not_write() {
    for test in TestDb::all().await {
        let read = test.db.query("INSERT INTO t (k) VALUES (1) RETURNING k", [], |row| row.get::<i64>(0)).await;
        assert!(read.is_err());
        assert_eq!(test.keys().await, NOTHING);
        test.end().await;
    }
}

#[tokio::test]
async fn the_clock_is_the_databases_with_the_given_offset() {
    for test in TestDb::all().await {
        let hour = 3_600_000_000;
        let options = Options { clock_offset_micros: hour, ..test.options.clone() };
        let later = Db::open(options).await.unwrap();
        let now = test.db.now().await.unwrap();
        let ahead = later.now().await.unwrap() - now - hour;
        assert!((0..60_000_000).contains(&ahead), "{ahead}");
        assert!(now > 1_700_000_000_000_000);
        drop(later);
        test.end().await;
    }
}

#[tokio::test]
async fn nodes_that_start_at_once_migrate_once() {
    for test in TestDb::all().await {
        let wipe = if test.options_are_sqlite() {
            "DROP TABLE schema_state"
        } else {
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        };
        let options = test.fresh(wipe);
        let opened = join_all((0..4).map(|_| tokio::spawn(Db::open(options.clone())))).await;
        for db in opened {
            let db = db.unwrap().unwrap();
            let state = db.query("SELECT version FROM schema_state", [], |row| row.get::<i64>(0)).await;
            assert_eq!(state, Ok(vec![crate::PROGRAM]));
        }
        test.end().await;
    }
}

impl TestDb {
    fn options_are_sqlite(&self) -> bool {
        self.database.is_none()
    }

    /// Options of an empty database.
    fn fresh(&self, wipe: &str) -> Options {
        match (&self.database, &self._directory) {
            (Some(database), _) => {
                database.execute(wipe);
                self.options.clone()
            }
            (None, Some(directory)) => options(DatabaseUrl::Sqlite(directory.path().join("fresh.db"))),
            (None, None) => unreachable!("SQLite has its directory"),
        }
    }
}

#[tokio::test]
async fn a_program_that_is_too_old_is_refused_and_one_that_is_merely_older_runs() {
    for test in TestDb::all().await {
        let state = |oldest: i64| {
            test.db.write(oldest, |tx, oldest| {
                Box::pin(async move {
                    tx.execute("UPDATE schema_state SET version = 999, oldest_program = $1", params![oldest]).await
                })
            })
        };
        state(crate::PROGRAM).await.unwrap_or_else(|error: DbError| panic!("{error}"));
        Db::open(test.options.clone()).await.unwrap();
        state(998).await.unwrap_or_else(|error: DbError| panic!("{error}"));
        let Err(DbError::Refused(words)) = Db::open(test.options.clone()).await else { panic!("it was not refused") };
        let program = crate::PROGRAM;
        assert_eq!(
            words,
            format!(
                "this database was made for Roadstead schema 998 or later; this program knows {program}: install a newer Roadstead"
            )
        );
        test.end().await;
    }
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_unless_nothing_in_it_must() {
    let db = TestDb::sqlite().await.db;
    async fn mode(tx: &mut Tx<'_>) -> Result<i64, DbError> {
        tx.query_one("SELECT synchronous FROM pragma_synchronous", [], |row| row.get(0)).await
    }
    const NORMAL: i64 = 1;
    const FULL: i64 = 2;
    for _ in 0..2 {
        assert_eq!(db.write_unsynced((), |tx, ()| Box::pin(mode(tx))).await.unwrap(), NORMAL);
        assert_eq!(db.write((), |tx, ()| Box::pin(mode(tx))).await.unwrap(), FULL);
    }
}
