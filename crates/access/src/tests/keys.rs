//! Access keys (product.md 3).

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::MAX_LIVING_KEYS;

/// The first start makes one administrator; the second start, and the other node that started at once, make none.
#[test]
fn one_first_administrator() {
    on_each_engine(async |world| {
        let keys = world.keys();
        let (one, two) =
            tokio::join!(keys.first_administrator(FirstKey::default()), keys.first_administrator(FirstKey::default()));
        let made: Vec<NewKey> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        assert!(keys.first_administrator(FirstKey::default()).await.unwrap().is_none());
        let listed = keys.list(Of::All, "", 100).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (&listed[0].key_id, &*listed[0].owner, listed[0].administrator),
            (&made[0].key_id, "administrator", true)
        );
    });
}

/// For automation the first start takes what it would make up, and says what is wrong with it.
#[test]
fn what_is_given_for_the_first_administrator() {
    on_each_engine(async |world| {
        let keys = world.keys();
        let given = |id: &str, secret: &str| FirstKey { key_id: Some(id.into()), secret: Some(secret.into()) };
        for id in ["", "ab", "a:b", "a b", "-ab", "ä12", "a\0b", &"a".repeat(65)] {
            let error = keys.first_administrator(given(id, "0123456789abcdef")).await.unwrap_err();
            assert!(error.to_string().contains("key id has 3 to 64"), "{error}");
        }
        for secret in ["", "short", "0123456789abcdef\n", " 0123456789abcdef", "0123456789\tabcdef", &"a".repeat(129)] {
            let error = keys.first_administrator(given("admin", secret)).await.unwrap_err();
            assert!(error.to_string().contains("secret has 16 to 128"), "{error}");
        }
        // protocol.md T11: a secret with colon and UTF-8.
        let made = keys.first_administrator(given("ci@example.com", "pass:wörd with space")).await.unwrap().unwrap();
        assert_eq!((&*made.key_id, &*made.secret), ("ci@example.com", "pass:wörd with space"));
        let node = world.node().await;
        assert!(basic(&node, "ci@example.com", "pass:wörd with space").await.is_ok());
        assert_eq!(basic(&node, "ci@example.com", "pass").await.unwrap_err(), Refusal::Unauthenticated);
    });
}

/// Making and revoking a key is in the audit log (product.md 3), and what did not happen is not.
#[test]
fn keys_are_audited() {
    on_each_engine(async |world| {
        let keys = world.keys();
        let first = keys.first_administrator(FirstKey::default()).await.unwrap().unwrap();
        let made = make(&keys, "administrator", "ci").await.unwrap();
        make(&keys, "nobody", "ci").await.unwrap_err();
        keys.revoke(&made.key_id, None, &By::default()).await.unwrap();
        keys.revoke("RSKNOSUCHKEY", None, &By::default()).await.unwrap_err();
        let audited = audit::list(&world.db, &audit::Filter::default(), 10).await.unwrap().rows;
        let audited: Vec<_> = audited.iter().map(|row| (&*row.what, &*row.object)).collect();
        let expected = [
            ("key.revoke", &*made.key_id),
            ("key.create", &made.key_id),
            ("key.create", &first.key_id),
            ("person.create", "administrator"),
        ];
        assert_eq!(audited, expected);
    });
}

/// Ids and secrets have the form that is promised, are never the same, and only a hash of the secret is stored.
#[test]
fn made_keys() {
    on_each_engine(async |world| {
        let keys = world.keys();
        let mut ids = HashSet::new();
        let mut secrets = HashSet::new();
        keys.first_administrator(FirstKey::default()).await.unwrap();
        for _ in 0..50 {
            let key = make(&keys, "administrator", "x").await.unwrap();
            assert_eq!(key.key_id.len(), 20);
            assert!(
                key.key_id.starts_with("RSK")
                    && key.key_id.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            );
            assert_eq!(key.secret.len(), 40);
            assert!(key.secret.starts_with(|c: char| c.is_ascii_alphabetic()));
            assert!(key.secret.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')));
            assert!(!format!("{key:?}").contains(&key.secret));
            let stored = rows::find(&world.db, &key.key_id).await.unwrap().unwrap().secret_hash;
            assert_eq!(stored, Sha256::digest(&key.secret).as_slice());
            keys.revoke(&key.key_id, None, &By::default()).await.unwrap();
            assert!(ids.insert(key.key_id) && secrets.insert(key.secret));
        }
    });
}

/// Keys that work no more are listed, but nobody fills the table with them.
#[test]
fn old_keys_are_forgotten() {
    on_each_engine(async |world| {
        let (node, first) = world.with_administrator().await;
        let keys = node.keys();
        for _ in 0..52 {
            let key = make(keys, "administrator", "").await.unwrap();
            keys.revoke(&key.key_id, None, &By::default()).await.unwrap();
        }
        make(keys, "administrator", "").await.unwrap();
        let listed = keys.list(Of::All, "", 100).await.unwrap();
        assert_eq!((listed.len(), listed.iter().filter(|key| key.living).count()), (52, 2));
        assert!(listed.iter().any(|key| key.key_id == first.key_id && key.living));
    });
}

/// product.md 3: five living keys a person, and a revoked one makes room.
#[test]
fn five_living_keys() {
    on_each_engine(async |world| {
        let (node, first) = world.with_administrator().await;
        let keys = node.keys();
        for _ in 1..MAX_LIVING_KEYS {
            make(keys, "administrator", "").await.unwrap();
        }
        let error = make(keys, "administrator", "").await.unwrap_err();
        assert!(matches!(error, KeyError::TooMany(_)));
        assert_eq!(error.to_string(), "administrator has 5 access keys already, which is the most: revoke one first");
        world.person().await;
        keys.revoke(&first.key_id, None, &By::default()).await.unwrap();
        make(keys, "administrator", "").await.unwrap();
        assert!(matches!(make(keys, "administrator", "").await, Err(KeyError::TooMany(_))));
        assert!(matches!(make(keys, "nobody", "").await, Err(KeyError::NoSuchPerson(_))));
        assert!(matches!(make(keys, "administrator", &"x".repeat(201)).await, Err(KeyError::Invalid(_))));
    });
}

/// The list goes on after any key id, and says of each key what became of it.
#[test]
fn lists() {
    on_each_engine(async |world| {
        let (node, first) = world.with_administrator().await;
        let keys = node.keys();
        let other = world.person().await;
        let second = make(keys, "administrator", "build farm").await.unwrap();
        keys.revoke(&second.key_id, None, &By::default()).await.unwrap();

        let all = keys.list(Of::All, "", 100).await.unwrap();
        assert!(all.is_sorted_by(|a, b| a.key_id < b.key_id));
        assert_eq!(all.len(), 3);
        let mut paged = Vec::new();
        while let Some(entry) =
            keys.list(Of::All, paged.last().map_or("", |entry: &crate::KeyEntry| &entry.key_id), 1).await.unwrap().pop()
        {
            paged.push(entry);
        }
        assert_eq!(paged, all);
        let own = keys.list(Of::Person("administrator"), "", 100).await.unwrap();
        assert_eq!(
            own.iter().map(|key| &key.key_id).collect::<HashSet<_>>(),
            HashSet::from([&first.key_id, &second.key_id])
        );
        let revoked = own.iter().find(|key| key.key_id == second.key_id).unwrap();
        assert!(!revoked.living && revoked.revoked.is_some() && revoked.description == "build farm");
        assert!(keys.list(Of::Person("somebody"), "", 100).await.unwrap()[0].key_id == other.key_id);
    });
}

/// Invariant 10: a revoked key is gone with the next request, its tokens as well, on every node.
#[test]
fn a_revoked_key_is_gone() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let other = world.node().await;
        let token = ask(&node, signed_in(&key), &["repository:reg/c:*"], false).await.unwrap().token;
        let pull = async |node: &Access| {
            let caller = bearer(node, &token).await.unwrap();
            attempt(&world, &caller, Action::Pull, "reg/c").await
        };
        assert_eq!(pull(&other).await, Ok(()));
        node.keys().revoke(&key.key_id, None, &By::default()).await.unwrap();
        for node in [&node, &other] {
            assert_eq!(pull(node).await, Err(Refusal::InvalidToken));
            assert_eq!(basic(node, &key.key_id, &key.secret).await.unwrap_err(), Refusal::Unauthenticated);
            assert_eq!(ask(node, signed_in(&key), &[], false).await, Err(TokenError::WrongCredentials));
        }
        node.keys().revoke(&key.key_id, None, &By::default()).await.unwrap();
        for unknown in ["RSKNOTHERE", "", "a\0b"] {
            assert!(matches!(node.keys().revoke(unknown, None, &By::default()).await, Err(KeyError::NoSuchKey(_))));
        }
    });
}

/// The time of use is kept to the hour, whatever way the key was used, and a token in use costs no write.
#[test]
fn use_is_noted_once_an_hour() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        assert_eq!(world.listed(&key).await.used, None);
        basic(&node, &key.key_id, &key.secret).await.unwrap();
        let first = world.listed(&key).await.used;
        assert!(first.is_some());
        ask(&world.node().await, signed_in(&key), &[], false).await.unwrap();
        assert_eq!(world.listed(&key).await.used, first);
        let later = world.node_later(3601 * SECOND).await;
        basic(&later, &key.key_id, "wrong").await.unwrap_err();
        assert_eq!(world.listed(&key).await.used, first);
        basic(&later, &key.key_id, &key.secret).await.unwrap();
        assert!(world.listed(&key).await.used > first);
    });
}
