//! Values that go into a statement and come out of a row, the same on both engines.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A parameter of a statement, or a column of a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// NULL of whatever type the place asks for.
    Null,
    /// BIGINT; also ids and times (microseconds since 1970).
    Int(i64),
    /// TEXT. Must not hold a NUL character (PostgreSQL refuses it).
    Text(&'a str),
    /// `{bytes}`.
    Bytes(&'a [u8]),
    /// BOOLEAN.
    Bool(bool),
}

/// Shows the type only: a value may be a secret.
impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl Value<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Int(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Bool(_) => "a boolean",
        }
    }
}

/// The parameters of a statement: `params![id, name, digest.to_stored(), Some(5)]`, with anything that is [`ToValue`]. Borrows: what is made
/// in its brackets lives to the end of the statement it is written in.
#[macro_export]
macro_rules! params {
    () => { [$crate::Value::Null; 0] };
    ($($value:expr),+ $(,)?) => { [$($crate::ToValue::to_value(&$value)),+] };
}

/// A type that can be given as a parameter: integers, `bool`, text, bytes, and references to and options of these.
pub trait ToValue {
    /// The value, borrowed.
    fn to_value(&self) -> Value<'_>;
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl ToValue for $integer {
            fn to_value(&self) -> Value<'_> {
                Value::Int(i64::from(*self))
            }
        }

        impl From<$integer> for Value<'_> {
            fn from(value: $integer) -> Self {
                Self::Int(i64::from(value))
            }
        }
    )+};
}
integers!(i64, i32, u32, u16, u8);

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! borrowed {
    ($($type:ty => $variant:ident),+ $(,)?) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> Value<'_> {
                Value::$variant(self)
            }
        }

        impl<'a> From<&'a $type> for Value<'a> {
            fn from(value: &'a $type) -> Self {
                Self::$variant(value)
            }
        }
    )+};
}
borrowed!(str => Text, String => Text, [u8] => Bytes, Vec<u8> => Bytes, bytes::Bytes => Bytes);

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

impl<'a, T> From<Option<T>> for Value<'a>
where
    Value<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Value::from)
    }
}

/// A type that a column can be read as: `i64`, `bool`, `String`, `Vec<u8>`, and `Option` of these.
pub trait FromValue: Sized {
    /// The value as this type; `None` when it is of another type.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(value),
            // SQLite has no booleans.
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(value) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(value) => Some(value.to_vec()),
            _ => None,
        }
    }
}

impl FromValue for bytes::Bytes {
    fn from_value(value: Value<'_>) -> Option<Self> {
        Vec::from_value(value).map(Self::from)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Bool(value) => ValueRef::Integer(i64::from(value)),
        }))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, r#type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Int(value) => match *r#type {
                Type::INT8 => out.put_i64(value),
                Type::INT4 => out.put_i32(i32::try_from(value)?),
                Type::INT2 => out.put_i16(i16::try_from(value)?),
                _ => return Err(mismatch(self, r#type)),
            },
            Self::Text(value) => match *r#type {
                Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
                    out.put_slice(value.as_bytes());
                }
                // Version 1 of the binary form is the text.
                Type::JSONB => {
                    out.put_u8(1);
                    out.put_slice(value.as_bytes());
                }
                _ => return Err(mismatch(self, r#type)),
            },
            Self::Bytes(value) if *r#type == Type::BYTEA => out.put_slice(value),
            Self::Bool(value) if *r#type == Type::BOOL => out.put_u8(u8::from(value)),
            Self::Bytes(_) | Self::Bool(_) => return Err(mismatch(self, r#type)),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(r#type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *r#type {
            Type::INT8 => Self::Int(i64::from_sql(r#type, raw)?),
            Type::INT4 => Self::Int(i64::from(i32::from_sql(r#type, raw)?)),
            Type::INT2 => Self::Int(i64::from(i16::from_sql(r#type, raw)?)),
            Type::BOOL => Self::Bool(bool::from_sql(r#type, raw)?),
            Type::BYTEA => Self::Bytes(raw),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                Self::Text(std::str::from_utf8(raw)?)
            }
            _ => return Err(format!("a column of type {type} can't be read: cast it").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn mismatch(value: &Value<'_>, r#type: &Type) -> Box<dyn Error + Sync + Send> {
    format!("{} was given for a parameter of type {type}", value.kind()).into()
}

/// A value that goes to another thread.
pub(crate) enum OwnedValue {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
}

impl From<&Value<'_>> for OwnedValue {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::Int(value) => Self::Int(value),
            Value::Text(value) => Self::Text(value.to_owned()),
            Value::Bytes(value) => Self::Bytes(value.to_vec()),
            Value::Bool(value) => Self::Bool(value),
        }
    }
}

impl<'a> From<&'a OwnedValue> for Value<'a> {
    fn from(value: &'a OwnedValue) -> Self {
        match value {
            OwnedValue::Null => Self::Null,
            OwnedValue::Int(value) => Self::Int(*value),
            OwnedValue::Text(value) => Self::Text(value),
            OwnedValue::Bytes(value) => Self::Bytes(value),
            OwnedValue::Bool(value) => Self::Bool(*value),
        }
    }
}
