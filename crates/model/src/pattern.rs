//! Patterns of names (product.md 5): `*` is anything but `/`, `**` anything, `?` one character but `/`, `{a,b}` one of several. A pattern
//! means the whole name.
//!
//! Bounded before it is used: a name of any form is matched in the product of its length and the pattern's.

use std::{fmt, str::FromStr};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 512;
/// The most texts that the braces of a pattern stand for.
const MAX_CHOICES: usize = 64;

/// A pattern that names are compared with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    /// One of them has to match: what the braces stand for, one after the other.
    choices: Box<[Box<[Piece]>]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Piece {
    One(char),
    /// `?`
    Any,
    /// `*`
    Several,
    /// `**`
    Everything,
}

/// Why a text is no pattern. The message says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or too much.
    #[error("a pattern has 1 to {MAX_BYTES} bytes")]
    Length,
    /// A brace without its other one, or inside another.
    #[error("braces come in pairs and not inside one another: `{{a,b}}`")]
    Braces,
    /// Too many combinations.
    #[error("the braces of a pattern stand for {MAX_CHOICES} texts at most")]
    TooMany,
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How much there is to compare a name with.
    pub(crate) fn pieces(&self) -> usize {
        self.choices.iter().map(|pieces| pieces.len()).sum()
    }

    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        self.choices.iter().any(|pieces| matches(pieces, name))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(PatternError::Length);
        }
        let mut choices = vec![String::new()];
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(brace);
            let inside = after.strip_prefix('{').ok_or(PatternError::Braces)?;
            let (inside, after) = inside.split_once('}').ok_or(PatternError::Braces)?;
            if inside.contains('{') {
                return Err(PatternError::Braces);
            }
            choices = choices
                .iter()
                .flat_map(|choice| inside.split(',').map(move |one| format!("{choice}{before}{one}")))
                .take(MAX_CHOICES + 1)
                .collect();
            if choices.len() > MAX_CHOICES {
                return Err(PatternError::TooMany);
            }
            rest = after;
        }
        let choices = choices.iter().map(|choice| pieces(&format!("{choice}{rest}"))).collect();
        Ok(Self { text: text.into(), choices })
    }
}

fn pieces(text: &str) -> Box<[Piece]> {
    let mut pieces = Vec::with_capacity(text.len());
    for character in text.chars() {
        match (character, pieces.last()) {
            ('*', Some(Piece::Everything)) => {}
            ('*', Some(Piece::Several)) => *pieces.last_mut().expect("it was looked at") = Piece::Everything,
            ('*', _) => pieces.push(Piece::Several),
            ('?', _) => pieces.push(Piece::Any),
            (one, _) => pieces.push(Piece::One(one)),
        }
    }
    pieces.into()
}

/// Which ends of the pattern can be reached with the name so far: one pass over the name, each piece looked at once a character.
fn matches(pieces: &[Piece], name: &str) -> bool {
    let mut reached = vec![false; pieces.len() + 1];
    reached[0] = true;
    let skip_empty = |reached: &mut [bool]| {
        for (number, piece) in pieces.iter().enumerate() {
            if reached[number] && matches!(piece, Piece::Several | Piece::Everything) {
                reached[number + 1] = true;
            }
        }
    };
    skip_empty(&mut reached);
    for character in name.chars() {
        let mut next = vec![false; reached.len()];
        for (number, piece) in pieces.iter().enumerate().filter(|(number, _)| reached[*number]) {
            match piece {
                Piece::One(one) => next[number + 1] |= *one == character,
                Piece::Any => next[number + 1] |= character != '/',
                Piece::Several => next[number] |= character != '/',
                Piece::Everything => next[number] = true,
            }
        }
        if !next.contains(&true) {
            return false;
        }
        skip_empty(&mut next);
        reached = next;
    }
    reached[pieces.len()]
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_whole_name() {
        for (pattern, yes, no) in [
            ("path/*", &["path/hello-world"][..], &["path/my/hello-world", "path", "a/path/b"][..]),
            ("path/**", &["path/hello-world", "path/my/hello-world"], &["path", "pathx/a"]),
            ("1.?", &["1.0"], &["1.01", "1.", "1./"]),
            ("{path,ncr}/*", &["path/a", "ncr/a"], &["nhn/hello-world", "path,ncr/a"]),
            ("**", &["a", "a/b/c", ""], &[]),
            ("*", &["a", ""], &["a/b"]),
            ("a**z", &["az", "a/b/z"], &["a/b"]),
            ("a*b*c", &["abc", "axbxxc"], &["ab/c", "acb"]),
            ("{,x}{1,2}", &["1", "x2"], &["x", "12"]),
            ("latest", &["latest"], &["latest2", "Latest"]),
            ("***", &["a/b"], &[]),
        ] {
            let parsed: Pattern = pattern.parse().expect("a pattern");
            assert_eq!(parsed.as_str(), pattern);
            yes.iter().for_each(|name| assert!(parsed.matches(name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!parsed.matches(name), "{pattern} {name}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in [
            ("", PatternError::Length),
            (&*"a".repeat(513), PatternError::Length),
            ("{a", PatternError::Braces),
            ("a}", PatternError::Braces),
            ("{a{b}}", PatternError::Braces),
            (&*"{a,b}".repeat(7), PatternError::TooMany),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(error), "{text}");
        }
        assert!("{a,b}".repeat(6).parse::<Pattern>().is_ok());
    }
}
