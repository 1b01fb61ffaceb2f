//! What is shown of a thing: a title, where it is in the object, and how it is written.

use jiff::Timestamp;
use serde_json::Value;

use super::words;

/// One column of a table, or one line about a single thing.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    at: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Texts,
    Number,
    Size,
    Age,
    Time,
    YesOrNo,
    By(fn(&Value) -> String),
}

/// A text at this JSON pointer.
pub const fn text(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Text }
}

/// Several texts.
pub const fn texts(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Texts }
}

/// A number.
pub const fn number(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Number }
}

/// A number of bytes.
pub const fn size(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Size }
}

/// How long ago a time is.
pub const fn age(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Age }
}

/// A time.
pub const fn time(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::Time }
}

/// Whether something is so.
pub const fn yes_or_no(title: &'static str, at: &'static str) -> Column {
    Column { title, at, kind: Kind::YesOrNo }
}

/// What a function makes of the value at this pointer, or of `Null` where there is none. The empty pointer is the whole object.
pub const fn by(title: &'static str, at: &'static str, make: fn(&Value) -> String) -> Column {
    Column { title, at, kind: Kind::By(make) }
}

impl Column {
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// What it says of this thing; `-` where nothing is known.
    pub(super) fn cell(&self, of: &Value, now: Timestamp) -> String {
        let value = of.pointer(self.at).unwrap_or(&Value::Null);
        let when = || value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let cell = match self.kind {
            Kind::By(make) => Some(make(value)),
            _ if value.is_null() => None,
            Kind::Text => Some(plain(value)),
            Kind::Texts => value.as_array().map(|all| all.iter().map(plain).collect::<Vec<_>>().join(", ")),
            Kind::Number => Some(value.to_string()),
            Kind::Size => value.as_i64().map(words::bytes),
            Kind::Age => when().map(|when| words::age(when, now)),
            Kind::Time => when().map(words::time),
            Kind::YesOrNo => value.as_bool().map(|yes| if yes { "yes" } else { "no" }.to_owned()),
        };
        words::clean(&cell.filter(|cell| !cell.is_empty()).unwrap_or_else(|| "-".to_owned()))
    }
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let thing = json!({"name": "", "at": null, "tags": []});
        for column in
            [text("x", "/name"), time("x", "/at"), texts("x", "/tags"), size("x", "/none"), yes_or_no("x", "/no")]
        {
            assert_eq!(column.cell(&thing, Timestamp::UNIX_EPOCH), "-", "{column:?}");
        }
    }

    #[test]
    fn each_kind_has_its_words() {
        let thing =
            json!({"tags": ["a", "b"], "yes": true, "count": 3, "at": "2026-11-28T12:00:00.5Z", "any": {"a": 1}});
        for (column, words) in [
            (texts("x", "/tags"), "a, b"),
            (yes_or_no("x", "/yes"), "yes"),
            (number("x", "/count"), "3"),
            (time("x", "/at"), "2026-11-28 12:00:00 UTC"),
            (text("x", "/any"), "{\"a\":1}"),
            (by("x", "", |all| all["count"].to_string()), "3"),
        ] {
            assert_eq!(column.cell(&thing, Timestamp::UNIX_EPOCH), words);
        }
    }
}
