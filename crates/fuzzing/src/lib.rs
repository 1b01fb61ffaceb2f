//! What holds for every input of the parsers that read what strangers send, one function each.
//!
//! libFuzzer calls them with inputs of its making (`just fuzz TARGET`; `fuzz/` holds its programs, its corpora, and what it once found),
//! and `tests/replay.rs` calls them with all of those inputs in every run of the tests. Each asserts more than that nothing panics: that
//! what is understood is within its bounds, and means the same when it is written down and read again.

mod authorization;
mod configuration;
mod manifest;
mod range;
mod route;
mod scope;

pub use authorization::authorization;
pub use configuration::config;
pub use manifest::manifest;
pub use range::{content_range, range};
pub use route::route;
pub use scope::scope;

/// A target: takes any bytes, and panics when something does not hold.
pub type Target = fn(&[u8]);

/// All targets by their names, which are also those of their programs and directories in `fuzz/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("authorization", authorization),
    ("config", config),
    ("content_range", content_range),
    ("manifest", manifest),
    ("range", range),
    ("route", route),
    ("scope", scope),
];

/// The value of a header as the endpoints get it: nothing but printable ASCII and tabs.
fn header(data: &[u8]) -> Option<&str> {
    let text = str::from_utf8(data).ok()?;
    text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')).then_some(text)
}
