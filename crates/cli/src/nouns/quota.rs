//! `quota`: how much a project or a registry may hold.

use clap::Subcommand;
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    output::{Column, by, bytes},
    session::Session,
    typed::{Body, Place, Scope},
};

const OF_PROJECT: &[Column] = &[by("registries", "/registries", counted), by("stored", "/bytes", stored)];

const OF_REGISTRY: &[Column] = &[by("images", "/repositories", counted), by("stored", "/bytes", stored)];

/// What can be done with quotas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how much there may be, and how much there is, what lies in the trash included
    Show {
        /// Of what
        #[command(flatten)]
        scope: Scope,
    },
    /// Set quotas; what is not said stays as it is
    Change {
        /// Of what
        #[command(flatten)]
        scope: Scope,
        /// How many registries the project may have
        #[arg(long, value_name = "COUNT", conflicts_with = "registry")]
        registries: Option<u64>,
        /// How many images the registry may have
        #[arg(long, value_name = "COUNT", conflicts_with = "project")]
        images: Option<u64>,
        /// How many bytes may be stored: `none` for any, or a size such as 500000, 500GB (10^9 bytes each) or 20GiB (2^30)
        #[arg(long, value_name = "SIZE", value_parser = most)]
        bytes: Option<Most>,
    },
}

/// The most of something; `None` for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most(Option<u64>);

/// A limit of bytes as it is typed.
fn most(text: &str) -> Result<Most, String> {
    let wrong = || "it is `none`, or a size such as 500000, 500GB or 20GiB".to_owned();
    if text == "none" {
        return Ok(Most(None));
    }
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (prefix, step) = match unit.strip_suffix("ib") {
        Some(prefix) if !prefix.is_empty() => (prefix, 1024_u64),
        _ => (unit.strip_suffix('b').unwrap_or(&unit), 1000),
    };
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|it| *it == prefix).ok_or_else(wrong)?;
    let one = step.pow(u32::try_from(power).unwrap_or_default());
    let count: u64 = count.parse().map_err(|_| wrong())?;
    count.checked_mul(one).map(|bytes| Most(Some(bytes))).ok_or_else(wrong)
}

fn counted(quota: &Value) -> String {
    words(quota, |count| count.to_string())
}

fn stored(quota: &Value) -> String {
    words(quota, bytes)
}

/// `1 of 100`; nothing where nothing is known.
fn words(quota: &Value, write: fn(i64) -> String) -> String {
    let part = |name: &str| quota[name].as_i64().map(write);
    match (part("used"), part("limit")) {
        (Some(used), Some(limit)) => format!("{used} of {limit}"),
        (Some(used), None) => format!("{used}, no limit"),
        (None, _) => String::new(),
    }
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Show { scope } => {
            let place = scope.place();
            let card = if matches!(place, Place::Project(_)) { OF_PROJECT } else { OF_REGISTRY };
            session.show(&place.path("quotas"), card).await
        }
        Command::Change { scope, registries, images, bytes } => {
            let place = scope.place();
            let (counts, called) = match place {
                Place::Project(_) => ("registries", "registries"),
                Place::Registry(_) => ("repositories", "images"),
            };
            let said = Body::default().with(counts, registries.or(images)).with("bytes", bytes.map(|most| most.0));
            let (said, path) = (said.change()?, place.path("quotas"));
            // The service wants all of them.
            let there = session.client.get(&path).await?;
            let limit = |name: &str| said.get(name).unwrap_or(&there[name]["limit"]).clone();
            let body: Map<_, _> = [counts, "bytes"].into_iter().map(|name| (name.to_owned(), limit(name))).collect();
            let set = session.client.send("PUT", &path, Some(&Value::Object(body))).await?;
            let (count, size) = (counted(&set[counts]), stored(&set["bytes"]));
            session.output.done(&set, &format!("The {place} has {count} {called} now, and stores {size}."))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("none", None),
            ("0", Some(0)),
            ("500000", Some(500_000)),
            ("5B", Some(5)),
            ("5kB", Some(5000)),
            ("500GB", Some(500_000_000_000)),
            ("2 TB", Some(2_000_000_000_000)),
            ("20GiB", Some(20 << 30)),
            ("1kib", Some(1024)),
            ("3m", Some(3_000_000)),
        ] {
            assert_eq!(most(text), Ok(Most(bytes)), "{text}");
        }
        for wrong in ["", "GB", "-1", "1.5GB", "1XB", "1iB", "no", "99999999999999999999", "99999PiB"] {
            assert!(most(wrong).expect_err(wrong).contains("500GB"), "{wrong}");
        }
    }

    #[test]
    fn a_quota_says_how_far_it_is_used() {
        assert_eq!(counted(&json!({"used": 3, "limit": 100})), "3 of 100");
        assert_eq!(stored(&json!({"used": 1536, "limit": 1 << 30})), "1.5 KiB of 1.0 GiB");
        assert_eq!(stored(&json!({"used": 3, "limit": null})), "3 B, no limit");
        assert_eq!(counted(&Value::Null), "");
    }
}
