//! One row of an answer, the same on both engines.

use rusqlite::types::ValueRef;

use crate::{
    error::DbError,
    value::{FromValue, Value},
};

/// A row, valid while the closure that maps it runs. Columns are numbered from 0.
pub struct Row<'a>(Source<'a>);

enum Source<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl<'a> Row<'a> {
    pub(crate) fn sqlite(row: &'a rusqlite::Row<'a>) -> Self {
        Self(Source::Sqlite(row))
    }

    pub(crate) fn postgres(row: &'a tokio_postgres::Row) -> Self {
        Self(Source::Postgres(row))
    }

    /// A column as `i64`, `bool`, `String`, `Vec<u8>` or an `Option` of one of these.
    ///
    /// # Errors
    /// `Internal` when there is no such column or it is of another type (or NULL where no `Option` was asked for).
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, DbError> {
        let value = self.value(index)?;
        T::from_value(value).ok_or_else(|| unreadable(index, &value))
    }

    /// A TEXT column without a copy.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn text(&self, index: usize) -> Result<&str, DbError> {
        match self.value(index)? {
            Value::Text(text) => Ok(text),
            value => Err(unreadable(index, &value)),
        }
    }

    /// A `{bytes}` column without a copy.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn bytes(&self, index: usize) -> Result<&[u8], DbError> {
        match self.value(index)? {
            Value::Bytes(bytes) => Ok(bytes),
            value => Err(unreadable(index, &value)),
        }
    }

    /// A column as it is. On SQLite a BOOLEAN is an integer.
    ///
    /// # Errors
    /// `Internal` when there is no such column or it is of a type that neither engine should give (cast it).
    pub fn value(&self, index: usize) -> Result<Value<'_>, DbError> {
        match self.0 {
            Source::Sqlite(row) => match row.get_ref(index)? {
                ValueRef::Null => Ok(Value::Null),
                ValueRef::Integer(value) => Ok(Value::Int(value)),
                ValueRef::Text(text) => std::str::from_utf8(text)
                    .map(Value::Text)
                    .map_err(|_| DbError::Internal(format!("column {index} is not UTF-8"))),
                ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes)),
                ValueRef::Real(_) => Err(DbError::Internal(format!("column {index} is a floating-point number"))),
            },
            Source::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

fn unreadable(index: usize, value: &Value<'_>) -> DbError {
    DbError::Internal(format!("column {index} is {}, which the program did not expect", value.kind()))
}
