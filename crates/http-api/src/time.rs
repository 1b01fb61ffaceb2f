//! Points in time: microseconds in the database, RFC 3339 in UTC outside; and days, numbers there and ISO 8601 outside.

use std::{borrow::Cow, fmt};

use jiff::{
    Timestamp,
    civil::{self, Date},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

/// Microseconds since 1970, written as `2026-11-22T08:00:00.000000Z`. Always six digits, so that the texts sort as the times do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let far = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        write!(f, "{:.6}", Timestamp::from_microsecond(self.0).unwrap_or(far))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let time: Timestamp =
            text.parse().map_err(|_| D::Error::custom("must be a time of RFC 3339, such as `2026-11-22T08:00:00Z`"))?;
        Ok(Self(time.as_microsecond()))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// Written out where it is used: it has no name of its own in the document.
impl ToSchema for Time {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Time")
    }
}

/// Days since 1970, UTC, written as `2026-11-22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

const FIRST_DAY: Date = civil::date(1970, 1, 1);

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let far = if self.0 < 0 { Date::MIN } else { Date::MAX };
        let day = jiff::Span::new().try_days(self.0).and_then(|days| FIRST_DAY.checked_add(days));
        serializer.collect_str(&day.unwrap_or(far))
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        // What else can be read as a date, such as a time, says more than a day.
        let day: Option<Date> = text.parse().ok().filter(|day: &Date| day.to_string() == text);
        let days = day.and_then(|day| FIRST_DAY.until(day).ok()).map(|span| i64::from(span.get_days()));
        days.map(Self).ok_or_else(|| D::Error::custom("must be a day, such as `2026-11-22`"))
    }
}

impl PartialSchema for Day {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Date);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// As [`Time`].
impl ToSchema for Day {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Day")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_text_in_utc() {
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Time(1_795_334_400_000_001).to_string(), "2026-11-22T08:00:00.000001Z");
        assert_eq!(serde_json::to_string(&Time(-1)).expect("JSON"), "\"1969-12-31T23:59:59.999999Z\"");
        assert!(Time(i64::MAX).to_string() > Time(0).to_string(), "no panic");
        assert!(!Time(i64::MIN).to_string().is_empty(), "no panic");
    }

    #[test]
    fn any_offset_is_read() {
        let read = |text: &str| serde_json::from_str::<Time>(&format!("\"{text}\"")).map(|time| time.0);
        assert_eq!(read("2026-11-22T08:00:00Z").expect("right"), 1_795_334_400_000_000);
        assert_eq!(read("2026-11-22T17:00:00.5+09:00").expect("right"), 1_795_334_400_500_000);
        for wrong in ["2026-11-22", "2026-11-22T08:00:00", "now", ""] {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(error.contains("RFC 3339"), "{error}");
        }
    }

    #[test]
    fn days_are_text() {
        let read = |text: &str| serde_json::from_str::<Day>(&format!("\"{text}\"")).map(|day| day.0);
        for (text, day) in [("1970-01-01", 0), ("1969-12-31", -1), ("2026-11-22", 20_779), ("2024-02-29", 19_782)] {
            assert_eq!(read(text).expect("right"), day);
            assert_eq!(serde_json::to_string(&Day(day)).expect("JSON"), format!("\"{text}\""));
        }
        for wrong in ["2026-11-31", "2026-1-1", "20261122", "2026-11-22T08:00:00Z", "today", ""] {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(error.contains("2026-11-22"), "{error}");
        }
        assert!(serde_json::to_string(&Day(i64::MAX)).is_ok() && serde_json::to_string(&Day(i64::MIN)).is_ok());
    }
}
