//! Sizes, times and texts as people read them.

use jiff::Timestamp;

/// A size as people read it.
pub fn bytes(bytes: i64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// How long ago, or how far ahead, a time is.
pub(super) fn age(of: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - of.as_second();
    let apart = seconds.unsigned_abs();
    let units = [(365 * 86_400, "year"), (30 * 86_400, "month"), (86_400, "day"), (3600, "hour"), (60, "minute")];
    // "1 hour" would be up to two hours: a unit begins where two of it are full.
    let (length, unit) = units.into_iter().find(|(length, _)| apart >= 2 * length).unwrap_or((1, "second"));
    let count = apart / length;
    let plural = if count == 1 { "" } else { "s" };
    if seconds < 0 { format!("in {count} {unit}{plural}") } else { format!("{count} {unit}{plural} ago") }
}

/// A time, UTC.
pub(super) fn time(of: Timestamp) -> String {
    of.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A text on one line, without what would move the cursor or turn the direction of reading.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|it| if moves(it) { ' ' } else { it }).collect()
}

/// The same for a text of several lines.
pub(super) fn clean_lines(text: &str) -> String {
    text.chars().map(|it| if it != '\n' && moves(it) { ' ' } else { it }).collect()
}

fn moves(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 40)], ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]);
    }

    #[test]
    fn ages_are_read_at_a_glance() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        for (of, words) in [
            ("2026-11-28T12:00:00Z", "0 seconds ago"),
            ("2026-11-28T11:59:59Z", "1 second ago"),
            ("2026-11-28T11:58:01Z", "119 seconds ago"),
            ("2026-11-28T11:58:00Z", "2 minutes ago"),
            ("2026-11-28T10:01:00Z", "119 minutes ago"),
            ("2026-11-27T11:00:00Z", "25 hours ago"),
            ("2026-11-26T11:00:00Z", "2 days ago"),
            ("2026-08-28T12:00:00Z", "3 months ago"),
            ("2024-11-28T12:00:00Z", "2 years ago"),
            ("2026-12-05T12:00:00Z", "in 7 days"),
        ] {
            assert_eq!(age(of.parse().expect("a time"), now), words, "{of}");
        }
        assert_eq!(time(now), "2026-11-28 12:00:00 UTC");
    }
}
