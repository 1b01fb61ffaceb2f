//! Pages of the management API, as [`crate::large`] asks for them.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use roadstead_testkit::server::{KEY_SECRET, REGISTRY};

/// One key may ask 50 times a second and 200 times at once: so many take turns, which is more than one connection can use up.
pub(crate) const KEYS: u32 = 100;
/// What their ids begin with, before their number. All have the secret of the first key.
pub(crate) const KEY: &str = "BENCHKEY";

/// A page of 100 entries.
pub(crate) struct Page {
    /// What is in it.
    pub(crate) what: &'static str,
    list: &'static str,
    /// The key behind which it begins, but for the number; and what follows.
    key: (&'static str, &'static str),
    /// The list goes from the highest number to the lowest.
    descending: bool,
}

/// All of them.
pub(crate) const PAGES: [Page; 5] = [
    Page {
        what: "repositories by name",
        list: "repositories?sort=name",
        key: ("name:0:many/r", ""),
        descending: false,
    },
    Page {
        what: "repositories by change",
        list: "repositories?sort=changed",
        key: ("changed:", ":"),
        descending: false,
    },
    Page { what: "artifacts", list: "repositories/app/artifacts?", key: ("pushed:", ":0"), descending: true },
    Page { what: "tags", list: "repositories/app/tags?", key: ("name:0:t", ""), descending: false },
    Page { what: "lines of the audit log", list: "", key: ("", ""), descending: true },
];

impl Page {
    /// Its path, of a list that has the numbers up to `rows`: behind `middle`, or from the beginning if that is 0.
    pub(crate) fn path(&self, rows: u32, middle: u32) -> String {
        // A list from the highest number on begins above all of them.
        let number = if self.descending && middle == 0 { 2 * rows } else { middle };
        let (before, behind) = self.key;
        let after = URL_SAFE_NO_PAD.encode(format!("{before}{number:08}{behind}"));
        match self.list {
            "" => format!("/api/v1/audit?limit=100&after={after}"),
            list => format!("/api/v1/registries/{REGISTRY}/{list}&limit=100&after={after}"),
        }
    }
}

/// What the keys send along.
pub(crate) fn credentials() -> Vec<String> {
    let basic = |number: u32| format!("Basic {}", STANDARD.encode(format!("{KEY}{number}:{KEY_SECRET}")));
    (1..=KEYS).map(basic).collect()
}
