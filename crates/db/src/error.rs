//! What can go wrong with the database. No text in here carries the value of a parameter: values may be secrets.

use std::error::Error as _;

use rusqlite::ffi;
use tokio_postgres::error::{Severity, SqlState};

/// A failed statement, transaction or connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// Connection lost, pool exhausted, database read-only: the same request may well succeed later (503).
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// No space is left for the database: the same request succeeds when there is some (503).
    #[error("the database has no room: {0}")]
    Full(String),
    /// A row that is still held was deleted, or a row that is gone was referred to.
    #[error("a foreign key does not allow it")]
    ForeignKey,
    /// A unique key has this value already: the constraint (PostgreSQL) or the columns (SQLite).
    #[error("not unique: {0}")]
    Unique(String),
    /// The whole transaction is to be run again. From a body it counts only if the body's error type is `DbError` itself;
    /// [`Tx::again`](crate::Tx::again) makes it count with any error type.
    #[error("the transaction must be run again")]
    Again,
    /// The database can't be used as it is: words for the operator, at start only.
    #[error("{0}")]
    Refused(String),
    /// A bug or a damaged database (500).
    #[error("database: {0}")]
    Internal(String),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let (cause, message) = match &error {
            rusqlite::Error::SqliteFailure(cause, message) => (*cause, message.clone().unwrap_or_default()),
            // The statement's text is ours and holds no values.
            _ => return Self::Internal(error.to_string()),
        };
        match cause.extended_code {
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => return Self::ForeignKey,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                let columns = message.rsplit_once("failed: ").map_or(message.as_str(), |(_, columns)| columns);
                return Self::Unique(columns.to_owned());
            }
            _ => {}
        }
        let words = match cause.extended_code & 0xff {
            ffi::SQLITE_FULL => {
                return Self::Full(format!("no space left for the SQLite file (SQLite {})", cause.extended_code));
            }
            ffi::SQLITE_IOERR => "reading or writing the SQLite file failed",
            ffi::SQLITE_READONLY => "the SQLite file is read-only",
            ffi::SQLITE_CANTOPEN => "the SQLite file can't be opened",
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => {
                "the SQLite file is locked by another process"
            }
            ffi::SQLITE_NOMEM => "no memory left for SQLite",
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => "the SQLite file is damaged or no SQLite file",
            ffi::SQLITE_INTERRUPT => "the statement was interrupted",
            _ => return Self::Internal(format!("SQLite {}: {message}", cause.extended_code)),
        };
        Self::Unavailable(format!("{words} (SQLite {})", cause.extended_code))
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            // Without an answer of the server it is the connection, or a value that does not fit its column.
            let cause = error.source().map(ToString::to_string);
            let text = match cause {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            return if is_connection_error(&error) { Self::Unavailable(text) } else { Self::Internal(text) };
        };
        let state = answer.code();
        let code = state.code();
        if *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED {
            return Self::Again;
        }
        if *state == SqlState::FOREIGN_KEY_VIOLATION || *state == SqlState::RESTRICT_VIOLATION {
            return Self::ForeignKey;
        }
        if *state == SqlState::UNIQUE_VIOLATION {
            return Self::Unique(answer.constraint().unwrap_or_default().to_owned());
        }
        if *state == SqlState::DISK_FULL {
            return Self::Full(format!("PostgreSQL {code}: {}", answer.message()));
        }
        if is_unavailable(code) {
            return Self::Unavailable(format!("PostgreSQL {code}: {}", answer.message()));
        }
        // The server quotes values in its messages of data errors (class 22, 23), so only names are taken from these.
        if code.starts_with("22") || code.starts_with("23") {
            let place = answer.constraint().or(answer.column()).or(answer.table()).unwrap_or_default();
            return Self::Internal(format!("PostgreSQL {code} {place}"));
        }
        Self::Internal(format!("PostgreSQL {code}: {}", answer.message()))
    }
}

/// The error says nothing but that the connection is of no use.
pub(crate) fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() {
        return true;
    }
    if let Some(answer) = error.as_db_error() {
        return matches!(answer.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    }
    // The kind is private: its text, or an I/O error beneath, tells.
    let text = error.to_string();
    error.source().is_some_and(|cause| cause.is::<std::io::Error>())
        || [
            "error connecting",
            "error communicating",
            "timeout waiting",
            "error performing TLS",
            "error parsing response",
            "unexpected message",
        ]
        .iter()
        .any(|start| text.starts_with(start))
}

/// SQLSTATEs that say "later": connection (08), resources (53), shutdown and recovery (57P0x), system (58), read-only, too many locks waited for.
fn is_unavailable(code: &str) -> bool {
    matches!(&code[..2], "08" | "53" | "58")
        || code.starts_with("57P0")
        || matches!(code, "25006" | "25P03" | "25P04" | "55P03" | "57014" | "28000" | "28P01" | "3D000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_violation_names_columns_and_no_value() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES ('hunter2')").unwrap();
        let error = connection.execute("INSERT INTO t VALUES ('hunter2')", []).unwrap_err();
        assert_eq!(DbError::from(error), DbError::Unique("t.a".to_owned()));
    }

    #[test]
    fn states_of_a_server_in_trouble_mean_later() {
        for code in ["53100", "53300", "57P01", "57P03", "25006", "08006", "57014", "55P03"] {
            assert!(is_unavailable(code), "{code}");
        }
        for code in ["42601", "23505", "22P02", "25P02"] {
            assert!(!is_unavailable(code), "{code}");
        }
    }
}
