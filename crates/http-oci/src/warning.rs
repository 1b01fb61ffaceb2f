//! The `Warning` header (protocol.md M1): words for a person that clients show beside a result.

use http::HeaderValue;

/// All warnings of an answer together.
const MOST_BYTES: usize = 4096;

/// `299 - "text"`: the only form the specification allows. Quotes and backslashes are escaped, other than printable ASCII becomes `?`.
/// `None` when the header would be longer than an answer may carry.
pub fn warning(text: &str) -> Option<HeaderValue> {
    let mut value = String::from("299 - \"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => value.extend(['\\', letter]),
            ' '..='~' => value.push(letter),
            _ => value.push('?'),
        }
    }
    value.push('"');
    if value.len() > MOST_BYTES {
        return None;
    }
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_escaped_and_length_is_bounded() {
        assert_eq!(warning(r#"say "a\b""#).expect("short"), r#"299 - "say \"a\\b\"""#);
        assert_eq!(warning("a\nü").expect("short"), "299 - \"a??\"");
        assert!(warning(&"x".repeat(5000)).is_none());
    }
}
