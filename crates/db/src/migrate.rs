//! Brings a database's schema up to what this program knows, and refuses a database that only newer programs understand.
//!
//! The table `schema_state` has one row: the schema's version, and the oldest program (by the newest version that it knows) that may use it. So
//! nodes of two neighbouring versions can run side by side while they are replaced one after another; only a step that old programs can't
//! live with raises the second number.

use rusqlite::TransactionBehavior;

use crate::{Engine, dialect::Dialect, error::DbError, migrations::MIGRATIONS};

/// One step. A released one is never changed.
#[derive(Debug)]
pub struct Migration {
    /// Counts up from 1.
    pub version: i64,
    /// Statements that end with `;`, with dialect tokens; comments are allowed. They are run in one transaction.
    pub sql: &'static str,
    /// What follows on SQLite alone, which can't change a column in place.
    pub sqlite: &'static str,
    /// What follows on PostgreSQL alone.
    pub postgres: &'static str,
}

impl Migration {
    /// A step that is the same on both engines.
    pub(crate) const fn same(version: i64, sql: &'static str) -> Self {
        Self { version, sql, sqlite: "", postgres: "" }
    }

    pub(crate) fn text(&self, dialect: &Dialect) -> Result<String, DbError> {
        let own = match dialect.engine() {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        };
        dialect.translate(&format!("{}{own}", self.sql))
    }
}

/// The newest schema version that this program knows.
pub const PROGRAM: i64 = match MIGRATIONS.last() {
    Some(newest) => newest.version,
    None => 0,
};

/// The oldest program that can work with a database at this program's schema: raise it together with a step that takes
/// something away (one release after the last program that used it).
pub const OLDEST_PROGRAM: i64 = 4;

/// What a program knows of schemas, and does with them; others than its two are for tests.
#[derive(Clone, Copy)]
pub(crate) struct Schema {
    pub(crate) steps: &'static [Migration],
    pub(crate) program: i64,
    pub(crate) oldest_program: i64,
}

const CREATE_STATE: &str =
    "CREATE TABLE IF NOT EXISTS schema_state (version BIGINT NOT NULL, oldest_program BIGINT NOT NULL)";
const READ_STATE: &str = "SELECT version, oldest_program FROM schema_state";
const FIRST_STATE: &str =
    "INSERT INTO schema_state (version, oldest_program) SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM schema_state)";

/// The two numbers of `schema_state`.
#[derive(Clone, Copy)]
struct State {
    version: i64,
    oldest_program: i64,
}

impl Schema {
    /// What this program knows, to be made so.
    pub(crate) fn bring_up() -> Self {
        Self { steps: MIGRATIONS, program: PROGRAM, oldest_program: OLDEST_PROGRAM }
    }

    /// Only whether this program may use the database is looked at; nothing is made.
    pub(crate) fn look() -> Self {
        Self { steps: &[], ..Self::bring_up() }
    }

    /// The first step that the database lacks; `None` when it has all.
    fn next(&self, state: State) -> Result<Option<&'static Migration>, DbError> {
        if state.oldest_program > self.program {
            return Err(DbError::Refused(format!(
                "this database was made for Roadstead schema {} or later; this program knows {}: install a newer Roadstead",
                state.oldest_program, self.program
            )));
        }
        Ok(self.steps.iter().find(|step| step.version > state.version))
    }

    /// The statement that says `step` is done. A node that is older must not lower what a newer one has written.
    fn done(&self, step: &Migration, state: State) -> String {
        // Between two steps an old program may still come: it is told to go only when the last step is there.
        let oldest = if step.version == self.program {
            self.oldest_program.max(state.oldest_program)
        } else {
            state.oldest_program
        };
        format!("UPDATE schema_state SET version = {}, oldest_program = {oldest}", step.version)
    }
}

fn failed(step: &Migration, error: DbError) -> DbError {
    match error {
        error @ (DbError::Refused(_) | DbError::Unavailable(_)) => error,
        error => DbError::Internal(format!("step {} of the schema failed: {error}", step.version)),
    }
}

/// Each step is a transaction that takes the write lock before it looks what is there.
pub(crate) fn sqlite(connection: &mut rusqlite::Connection, dialect: &Dialect, schema: Schema) -> Result<(), DbError> {
    if schema.steps.is_empty() {
        let there = connection.prepare("SELECT 1 FROM sqlite_master WHERE name = 'schema_state'")?.exists([])?;
        return if there { schema.next(sqlite_state(connection)?).map(drop) } else { Ok(()) };
    }
    // Rebuilding a table that others refer to needs them off, and they can't be switched inside a transaction.
    connection.pragma_update(None, "foreign_keys", false)?;
    while sqlite_step(connection, dialect, schema)? {}
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn sqlite_step(connection: &mut rusqlite::Connection, dialect: &Dialect, schema: Schema) -> Result<bool, DbError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(&format!("{CREATE_STATE}; {FIRST_STATE}"))?;
    let state = sqlite_state(&tx)?;
    let Some(step) = schema.next(state)? else {
        tx.commit()?;
        return Ok(false);
    };
    tx.execute_batch(&step.text(dialect)?).map_err(|error| failed(step, error.into()))?;
    if tx.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(failed(step, DbError::ForeignKey));
    }
    tx.execute_batch(&schema.done(step, state))?;
    tx.commit()?;
    tracing::info!(version = step.version, "schema step done");
    Ok(true)
}

fn sqlite_state(connection: &rusqlite::Connection) -> Result<State, DbError> {
    let read = |row: &rusqlite::Row<'_>| Ok(State { version: row.get(0)?, oldest_program: row.get(1)? });
    Ok(connection.query_row(READ_STATE, [], read)?)
}

/// "Roadstea" in ASCII.
const ADVISORY_LOCK: i64 = 0x526f_6164_7374_6561;

/// Under an advisory lock, which goes with the connection if this is dropped half-way. Each step is a transaction.
pub(crate) async fn postgres(
    client: &mut tokio_postgres::Client,
    dialect: &Dialect,
    schema: Schema,
) -> Result<(), DbError> {
    if schema.steps.is_empty() {
        let there = client.query_one("SELECT to_regclass('schema_state') IS NOT NULL", &[]).await?.try_get(0)?;
        return if there { schema.next(postgres_state(client).await?).map(drop) } else { Ok(()) };
    }
    // Another node may be at a long step; a step of our own waits for a table's lock only so long that it does not stop the nodes that serve.
    let lock = format!(
        "SET lock_timeout = 0; SET statement_timeout = 0; SELECT pg_advisory_lock({ADVISORY_LOCK}); SET lock_timeout = '30s'"
    );
    client.batch_execute(&lock).await?;
    let result = postgres_steps(client, dialect, schema).await;
    let unlock = format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})");
    let unlocked = client.batch_execute(&unlock).await;
    result?;
    Ok(unlocked?)
}

async fn postgres_steps(client: &mut tokio_postgres::Client, dialect: &Dialect, schema: Schema) -> Result<(), DbError> {
    client.batch_execute(&format!("SET client_min_messages = warning; {CREATE_STATE}; {FIRST_STATE}")).await?;
    loop {
        let state = postgres_state(client).await?;
        let Some(step) = schema.next(state)? else { return Ok(()) };
        let sql = step.text(dialect)?;
        let tx = client.transaction().await?;
        tx.batch_execute(&sql).await.map_err(|error| failed(step, error.into()))?;
        tx.batch_execute(&schema.done(step, state)).await?;
        tx.commit().await?;
        tracing::info!(version = step.version, "schema step done");
    }
}

async fn postgres_state(client: &tokio_postgres::Client) -> Result<State, DbError> {
    let row = client.query_one(READ_STATE, &[]).await?;
    Ok(State { version: row.try_get(0)?, oldest_program: row.try_get(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration::same(1, "CREATE TABLE a (id {id}); -- it; goes 'on\nINSERT INTO a VALUES (1);");
    const SECOND: Migration = Migration::same(2, "CREATE TABLE b (a BIGINT REFERENCES a); INSERT INTO b VALUES (1);");
    const HANGING: Migration = Migration::same(3, "CREATE TABLE d (id {id}); DELETE FROM a;");

    const OLD: Schema = Schema { steps: &[FIRST], program: 1, oldest_program: 1 };
    const NEW: Schema = Schema { steps: &[FIRST, SECOND], program: 2, oldest_program: 1 };
    const CONTRACTED: Schema = Schema { steps: &[FIRST, SECOND], program: 2, oldest_program: 2 };
    const BROKEN: Schema = Schema { steps: &[FIRST, SECOND, HANGING], program: 3, oldest_program: 3 };

    fn run(connection: &mut rusqlite::Connection, schema: Schema) -> Result<(), DbError> {
        sqlite(connection, &Dialect::new(Engine::Sqlite, 0), schema)
    }

    #[test]
    fn steps_are_numbered_upward_from_one() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=PROGRAM).collect::<Vec<_>>());
        assert!((0..=PROGRAM).contains(&OLDEST_PROGRAM));
    }

    #[test]
    fn neighbours_run_side_by_side_until_a_step_takes_something_away() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in [OLD, NEW, OLD, NEW] {
            run(&mut connection, schema).unwrap();
        }
        // What an old node finds after a new program has made its last step from the start.
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        run(&mut connection, CONTRACTED).unwrap();
        assert!(matches!(run(&mut connection, OLD), Err(DbError::Refused(_))));
        run(&mut connection, NEW).unwrap();
    }

    #[test]
    fn a_look_makes_nothing_and_still_refuses() {
        let look = |program| Schema { steps: &[], program, oldest_program: 1 };
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        run(&mut connection, look(1)).unwrap();
        assert!(!connection.prepare("SELECT 1 FROM sqlite_master").unwrap().exists([]).unwrap());
        run(&mut connection, CONTRACTED).unwrap();
        run(&mut connection, look(2)).unwrap();
        assert!(matches!(run(&mut connection, look(1)), Err(DbError::Refused(_))));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        assert!(matches!(run(&mut connection, BROKEN), Err(DbError::Internal(words)) if words.contains("step 3")));
        let state = connection.query_row("SELECT version, (SELECT count(*) FROM a) FROM schema_state", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        assert_eq!(state, Ok((2, 1)));
    }
}
