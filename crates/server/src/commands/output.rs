//! What comes of commands on this machine, as the management API would say it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::execute::{KeyView, NewKeyView, RegistryView};

/// After so many days a key should be changed for a new one (product.md 3), in microseconds.
const OLD: i64 = 90 * 24 * 3_600_000_000;

/// A registry.
pub(super) fn registry(of: &RegistryView) -> Value {
    let mut value = json!({
        "name": of.name,
        "project": of.project,
        "kind": of.kind,
        "bucket": of.bucket,
        "description": of.description,
        "public_pull": of.public_pull,
        "created": time(of.created),
        "usage": { "repositories": of.repositories, "artifacts": of.artifacts, "bytes": of.bytes },
    });
    if let Some(until) = of.trashed_until {
        value["trashed_until"] = time(until);
    }
    value
}

/// A key, with whose it is, since keys of all people are listed.
pub(super) fn key(of: &KeyView, now: Timestamp) -> Value {
    json!({
        "key_id": of.key_id,
        "owner": of.person,
        "description": of.description,
        "created": time(of.created),
        "used": of.used.map(time),
        "expires": of.expires.map(time),
        "revoked": of.revoked.map(time),
        "living": of.living,
        "old": of.living && now.as_microsecond() - of.created > OLD,
    })
}

/// A new key, with its secret and its end.
pub(super) fn new_key(of: &NewKeyView) -> Value {
    json!({ "key_id": of.key_id, "secret": of.secret, "owner": of.person, "expires": of.expires.map(time) })
}

/// Times inside are microseconds; outside they are RFC 3339, UTC.
fn time(micros: i64) -> Value {
    Value::from(Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_grows_old() {
        let mut view = KeyView {
            key_id: "RSK1".to_owned(),
            person: "ada".to_owned(),
            description: String::new(),
            created: 1_700_000_000_000_000,
            used: None,
            expires: None,
            revoked: None,
            living: true,
        };
        let days = |days: i64| Timestamp::from_second(1_700_000_000 + days * 86_400 + 1).expect("a time");
        assert_eq!(key(&view, days(89))["old"], false);
        assert_eq!(key(&view, days(90))["old"], true);
        assert_eq!(key(&view, days(90))["created"], "2023-11-14T22:13:20Z");
        view.living = false;
        assert_eq!(key(&view, days(90))["old"], false);
    }
}
