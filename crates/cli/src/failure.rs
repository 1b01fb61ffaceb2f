//! Why a command failed: a line for people, a number for scripts.

use serde::Deserialize;

use crate::output::clean;

/// What the program ends with. The numbers stay the same in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// What no other number means.
    Other = 1,
    /// What was typed is not understood, or not all of it was said.
    Usage = 2,
    /// Not signed in, or no longer (401).
    SignedOut = 3,
    /// The caller may not do that (403).
    Denied = 4,
    /// It is not there, or not for this caller (404).
    NotFound = 5,
    /// What is there does not allow it, or was changed meanwhile (409, 412).
    Conflict = 6,
    /// The service is not reached, has no time, or can't do it now (429, 503).
    Unavailable = 7,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    words: String,
}

/// The part of a problem (RFC 9457) that people are shown.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
    #[serde(default)]
    request_id: String,
}

#[derive(Deserialize)]
struct FieldError {
    field: String,
    message: String,
}

impl Failure {
    /// With these words.
    pub fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    /// Something was typed that can't be meant.
    pub fn usage(words: impl Into<String>) -> Self {
        Self::new(Code::Usage, words)
    }

    /// What no other number means.
    pub fn other(words: impl Into<String>) -> Self {
        Self::new(Code::Other, words)
    }

    /// The number that the program ends with.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What people are told, in one line.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// What an answer means that is no success. `host` answered it.
    pub(crate) fn of_answer(host: &str, status: u16, kind: &str, body: &[u8]) -> Self {
        let code = match status {
            401 => Code::SignedOut,
            403 => Code::Denied,
            404 => Code::NotFound,
            409 | 412 => Code::Conflict,
            408 | 429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Other,
        };
        let problem = kind.starts_with("application/problem+json").then(|| serde_json::from_slice::<Problem>(body));
        match problem {
            Some(Ok(problem)) => Self::new(code, problem.line(code, status)),
            // Whoever else answers there: its 404 says nothing about what was asked for.
            _ => {
                let code = if code == Code::Unavailable { code } else { Code::Other };
                let words = format!(
                    "{host} answers {status}, and not in the way of a Roadstead: is the address right, and what stands before it?"
                );
                Self::new(code, words)
            }
        }
    }
}

impl Problem {
    fn line(&self, code: Code, status: u16) -> String {
        let mut words = if self.detail.is_empty() { self.title.clone() } else { self.detail.clone() };
        for FieldError { field, message } in &self.errors {
            if !words.contains(message) {
                words.push_str(&format!("; `{field}`: {message}"));
            }
        }
        match code {
            Code::SignedOut => words.push_str(": `roadstead login` with a key that works"),
            // A fault of the service is looked up in its log.
            Code::Other if status >= 500 => words.push_str(&format!(" (request {})", self.request_id)),
            _ => {}
        }
        // It repeats what others have named.
        clean(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBLEM: &str = "application/problem+json";

    #[test]
    fn each_status_has_its_number() {
        for (status, code) in [
            (400, 1),
            (401, 3),
            (403, 4),
            (404, 5),
            (409, 6),
            (412, 6),
            (408, 7),
            (429, 7),
            (500, 1),
            (502, 7),
            (503, 7),
        ] {
            let failure = Failure::of_answer("host", status, PROBLEM, br#"{"detail":"words"}"#);
            assert_eq!(failure.code() as u8, code, "{status}");
            assert!(failure.words().starts_with("words"), "{failure:?}");
        }
    }

    #[test]
    fn every_field_is_named_once() {
        let body = br#"{"detail":"`name`: too short","errors":[{"field":"name","message":"too short"},{"field":"days","message":"too many"}]}"#;
        let failure = Failure::of_answer("host", 400, PROBLEM, body);
        assert_eq!(failure.words(), "`name`: too short; `days`: too many");
    }

    #[test]
    fn a_stranger_that_answers_is_no_missing_thing() {
        for (status, code) in [(404, Code::Other), (200, Code::Other), (502, Code::Unavailable)] {
            let failure = Failure::of_answer("host", status, "text/html", b"<h1>Not here</h1>");
            assert_eq!(failure.code(), code);
            assert!(failure.words().contains("host answers"), "{failure:?}");
        }
    }

    #[test]
    fn a_fault_of_the_service_can_be_looked_up() {
        let failure = Failure::of_answer("host", 500, PROBLEM, br#"{"detail":"a fault","request_id":"r-1"}"#);
        assert_eq!(failure.words(), "a fault (request r-1)");
    }
}
