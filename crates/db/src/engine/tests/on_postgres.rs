//! What only a server can do: deadlocks, lost connections, dropped transactions, TLS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::Barrier;

use super::*;

#[tokio::test]
async fn transactions_that_lock_in_opposite_order_both_end_well() {
    let Some(test) = TestDb::postgres().await else { return };
    test.insert(1).await.unwrap();
    test.insert(2).await.unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));
    let writes = [(1, 2), (2, 1)].map(|(first, second)| {
        test.db.write((barrier.clone(), runs.clone(), first, second), |tx, (barrier, runs, first, second)| {
            Box::pin(async move {
                tx.execute("UPDATE t SET v = 'one' WHERE k = $1", params![first]).await?;
                if runs.fetch_add(1, SeqCst) < 2 {
                    barrier.wait().await;
                }
                tx.execute("UPDATE t SET v = 'two' WHERE k = $1", params![second]).await
            })
        })
    });
    assert_eq!(join_all(writes).await, [Ok::<_, DbError>(1), Ok(1)]);
    assert_eq!(runs.load(SeqCst), 3, "one of them was run again");
    test.end().await;
}

#[tokio::test]
async fn a_serialization_failure_runs_the_transaction_again() {
    let Some(test) = TestDb::postgres().await else { return };
    test.insert(1).await.unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));
    let writes = [(); 2].map(|()| {
        test.db.write((barrier.clone(), runs.clone()), |tx, (barrier, runs)| {
            Box::pin(async move {
                tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", []).await?;
                tx.query("SELECT k FROM t", [], |row| row.get::<i64>(0)).await?;
                if runs.fetch_add(1, SeqCst) < 2 {
                    barrier.wait().await;
                }
                tx.execute("UPDATE t SET v = 'x' WHERE k = 1", []).await
            })
        })
    });
    assert_eq!(join_all(writes).await, [Ok::<_, DbError>(1), Ok(1)]);
    assert_eq!(runs.load(SeqCst), 3);
    test.end().await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_costs_no_connection() {
    let Some(test) = TestDb::postgres().await else { return };
    for key in 0..10 {
        let (inserted, mut was_inserted) = tokio::sync::mpsc::unbounded_channel();
        let write = test.db.write((key, inserted), |tx, (key, inserted)| {
            Box::pin(async move {
                insert(tx, *key).await?;
                inserted.send(()).unwrap();
                std::future::pending::<Result<(), DbError>>().await
            })
        });
        tokio::select! {
            _ = write => unreachable!("it waits for ever"),
            _ = was_inserted.recv() => {}
        }
    }
    // Waits for the locks on what the dropped ones had inserted, if any lived on.
    let again = join_all((0..10).map(|key| test.insert(key))).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    let open = "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let left = test.db.query(open, [], |row| row.get::<i64>(0)).await.unwrap();
    assert_eq!(left, NOTHING);
    test.end().await;
}

#[tokio::test]
async fn after_connections_broke_the_next_requests_work() {
    let Some(test) = TestDb::postgres().await else { return };
    let database = test.database.as_ref().unwrap();
    test.insert(0).await.unwrap();
    for key in 1..5 {
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        match key % 2 {
            0 => assert_eq!(test.keys().await.len() as i64, key),
            _ => assert_eq!(test.db.list("SELECT 1::bigint", [], |row| row.get::<i64>(0)).await, Ok(vec![1])),
        }
        test.db.ping().await.unwrap();
        test.insert(key).await.unwrap();
    }
    test.end().await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_commit_is_replaced_by_another() {
    let Some(test) = TestDb::postgres().await else { return };
    let runs = Arc::new(AtomicU32::new(0));
    let write = test.db.write(runs, |tx, runs| {
        Box::pin(async move {
            insert(tx, 1).await?;
            if runs.fetch_add(1, SeqCst) == 0 {
                tx.query("SELECT pg_terminate_backend(pg_backend_pid())", [], |row| row.get::<bool>(0)).await?;
            }
            insert(tx, 2).await
        })
    });
    assert_eq!(write.await, Ok(()));
    assert_eq!(test.keys().await, [1, 2]);
    test.end().await;
}

#[tokio::test]
async fn a_statement_prepared_before_a_newer_node_changed_the_table_still_works() {
    let Some(test) = TestDb::postgres().await else { return };
    let database = test.database.as_ref().unwrap();
    test.insert(1).await.unwrap();
    let all = "SELECT * FROM t";
    let first = |row: &Row<'_>| row.get::<i64>(0);
    let in_transaction = || test.db.write(all, move |tx, all| Box::pin(async move { tx.query(all, [], first).await }));
    for _ in 0..4 {
        assert_eq!(test.db.query(all, [], first).await, Ok(vec![1]));
        assert_eq!(in_transaction().await, Ok::<_, DbError>(vec![1]));
    }
    database.execute("ALTER TABLE t ADD COLUMN later TEXT");
    for _ in 0..4 {
        assert_eq!(test.db.query(all, [], first).await, Ok(vec![1]));
        assert_eq!(in_transaction().await, Ok::<_, DbError>(vec![1]));
        assert_eq!(test.db.list(all, [], first).await, Ok(vec![1]));
    }
    test.end().await;
}

#[tokio::test]
async fn a_server_with_fsync_off_is_refused_unless_allowed() {
    let Some(test) = TestDb::postgres().await else { return };
    let sql = "SELECT current_setting('fsync')";
    if test.db.query(sql, [], |row| row.get::<String>(0)).await != Ok(vec!["off".to_owned()]) {
        // A server that somebody named by ROADSTEAD_TEST_POSTGRES_URL; the test kit's own has it off.
        return;
    }
    let options = Options { allow_fsync_off: false, ..test.options.clone() };
    let Err(DbError::Refused(words)) = Db::open(options.clone()).await else { panic!("it was not refused") };
    assert!(words.contains("fsync"), "{words}");
    Db::open(Options { allow_fsync_off: true, ..options }).await.unwrap();
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_also_where_the_operator_switched_that_off() {
    let Some(test) = TestDb::postgres().await else { return };
    let DatabaseUrl::Postgres(url) = &test.options.url else { unreachable!() };
    let separator = if url.contains('?') { '&' } else { '?' };
    for (set, used) in [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")] {
        let url = format!("{url}{separator}options=-c%20synchronous_commit%3D{set}");
        let db = Db::open(Options { url: DatabaseUrl::Postgres(url), ..test.options.clone() }).await.unwrap();
        let setting = "SELECT current_setting('synchronous_commit')";
        assert_eq!(db.query(setting, [], |row| row.get::<String>(0)).await, Ok(vec![used.to_owned()]));
        let write = db.write(setting, |tx, setting| {
            Box::pin(async move { tx.query(setting, [], |row| row.get::<String>(0)).await })
        });
        assert_eq!(write.await, Ok::<_, DbError>(vec![used.to_owned()]));
    }
    test.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let options = options(DatabaseUrl::Postgres("postgres://nobody:secret@127.0.0.1:1/none".to_owned()));
    let opened = tokio::time::timeout(Duration::from_secs(30), Db::open(options)).await.unwrap();
    let Err(DbError::Unavailable(words)) = opened else { panic!("it was not refused") };
    assert!(!words.contains("secret"), "{words}");
}

#[tokio::test]
async fn an_error_does_not_tell_the_value_of_a_parameter() {
    let Some(test) = TestDb::postgres().await else { return };
    let read =
        test.db.query("SELECT CAST(CAST($1 AS TEXT) AS BIGINT)", params!["hunter2"], |row| row.get::<i64>(0)).await;
    assert_eq!(read, Err(DbError::Internal("PostgreSQL 22P02 ".to_owned())));
    let wrong = test.db.query("SELECT CAST($1 AS BIGINT)", params!["hunter2"], |row| row.get::<i64>(0)).await;
    assert!(matches!(&wrong, Err(DbError::Internal(words)) if !words.contains("hunter2")), "{wrong:?}");
    test.end().await;
}

/// Given a server whose certificate the PEM in `ROADSTEAD_TEST_POSTGRES_CA` vouches for.
#[tokio::test]
async fn the_certificate_is_checked_when_tls_is_required() {
    let (Some(test), Ok(ca)) = (TestDb::postgres().await, std::env::var("ROADSTEAD_TEST_POSTGRES_CA")) else {
        eprintln!("skipped: ROADSTEAD_TEST_POSTGRES_CA is not set");
        return;
    };
    let DatabaseUrl::Postgres(url) = &test.options.url else { unreachable!() };
    let ca_certificates = std::fs::read(ca).unwrap();
    for (mode, ca_certificates, trusted) in [
        ("disable", Vec::new(), true),
        ("prefer", Vec::new(), true),
        ("require", Vec::new(), false),
        ("verify-full", Vec::new(), false),
        ("require", ca_certificates.clone(), true),
        ("verify-full", ca_certificates, true),
    ] {
        let url = DatabaseUrl::Postgres(format!("{url}?sslmode={mode}"));
        let opened = Db::open(Options { ca_certificates, ..options(url) }).await;
        match opened {
            Ok(db) => {
                assert!(trusted, "{mode}");
                let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                assert_eq!(db.query(sql, [], |row| row.get::<bool>(0)).await, Ok(vec![mode != "disable"]));
            }
            Err(DbError::Refused(words)) => assert!(!trusted && words.contains("ca_certificates"), "{mode}: {words}"),
            Err(error) => panic!("{mode}: {error}"),
        }
    }
    test.end().await;
}
