//! Signing keys: shared, sealed, rotated.

use super::*;

/// Nodes that start at once on an empty database agree on one key, and take each other's tokens.
#[test]
fn nodes_that_start_at_once_agree() {
    on_each_engine(async |world| {
        let started: Vec<_> = (0..8)
            .map(|_| {
                let world = world.clone();
                tokio::spawn(async move { world.node().await })
            })
            .collect();
        let mut nodes = Vec::new();
        for node in started {
            nodes.push(node.await.unwrap());
        }
        assert_eq!(rows::signing_keys(&world.db).await.unwrap().len(), 1);
        for node in &nodes {
            let token = ask(node, Credentials::Nobody, &[], false).await.unwrap().token;
            for other in &nodes {
                assert!(bearer(other, &token).await.is_ok());
            }
        }
    });
}

/// A restarted node takes the tokens from before.
#[test]
fn keys_outlive_the_process() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let token = ask(&node, signed_in(&key), &[], false).await.unwrap().token;
        drop(node);
        assert!(bearer(&world.node().await, &token).await.is_ok());
    });
}

/// The operator is told when the secret key is another one, before a token is made or refused.
#[test]
fn another_secret_key_is_refused_in_words() {
    on_each_engine(async |world| {
        world.node().await;
        let options = AccessOptions { secret_key: [1; 32], ..world.options() };
        let words = refused(Access::open(world.db.clone(), options).await);
        assert_eq!(words, "secret_key is not the one this database's signing keys were sealed with");
        assert_eq!(rows::signing_keys(&world.db).await.unwrap().len(), 1);
    });
}

/// Lifetimes out of bounds are refused in words.
#[test]
fn lifetimes_are_bounded() {
    on_each_engine(async |world| {
        use std::time::Duration;
        for (token, refresh, word) in
            [(59, 3600, "60 seconds"), (12 * 3600 + 1, 99_999, "12 hours"), (3600, 60, "refresh")]
        {
            let options = AccessOptions {
                token_lifetime: Duration::from_secs(token),
                refresh_lifetime: Duration::from_secs(refresh),
                ..world.options()
            };
            let words = refused(Access::open(world.db.clone(), options).await);
            assert!(words.contains(word), "{words}");
        }
    });
}

/// No key signs for more than 30 days; a token made just before the change is good to its end, on a node that was started long
/// before and has made no token since.
#[test]
fn rotation() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let idle = world.node().await;
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let mut kids = std::collections::BTreeMap::new();
        let mut last = String::new();
        for _ in 0..200 {
            let token = ask(&node, signed_in(&key), &[], false).await.unwrap().token;
            assert!(bearer(&idle, &token).await.is_ok());
            *kids.entry(kid(&token)).or_insert(0) += 1;
            if !last.is_empty() && kid(&last) != kid(&token) {
                world.pass(-DAY / 2 + 1800 * SECOND);
                for node in [&node, &idle, &world.node().await] {
                    assert!(bearer(node, &last).await.is_ok());
                }
                world.pass(DAY / 2 - 1800 * SECOND);
            }
            last = token;
            world.pass(DAY / 2);
        }
        assert!(kids.values().all(|times| *times <= 60) && (4..=5).contains(&kids.len()), "{kids:?}");
    });
}

/// The next key is there a day before it is needed, so that other nodes know it by then.
#[test]
fn the_next_key_is_made_ahead() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let next = world.now.load(Ordering::Relaxed) / (30 * DAY) + 1;
        world.now.store(next * 30 * DAY - DAY / 2, Ordering::Relaxed);
        ask(&node, signed_in(&key), &[], false).await.unwrap();
        let made = rows::signing_keys(&world.db).await.unwrap();
        assert!(made.iter().any(|stored| stored.kid == next.to_string()));
    });
}

/// A key that is not known has the table read again, but not for each token that names one: and what was made in between is found
/// with the next reading.
#[test]
fn unknown_keys_are_looked_for_now_and_then() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let behind = world.node().await;
        world.pass(30 * DAY);
        let header = |kid: String| {
            let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
            header.kid = Some(kid);
            let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
            let own = jsonwebtoken::EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
            jsonwebtoken::encode(&header, &serde_json::json!({}), &own).unwrap()
        };
        let period = world.now.load(Ordering::Relaxed) / (30 * DAY);
        // Names that no node can have given since don't use up the reading, and don't bring the database any work.
        for kid in [period + 5, period - 5, i64::MAX, i64::MIN, 0] {
            assert_eq!(bearer(&behind, &header(kid.to_string())).await.unwrap_err(), Refusal::InvalidToken);
        }
        let token = ask(&node, signed_in(&key), &[], false).await.unwrap().token;
        assert!(bearer(&behind, &token).await.is_ok());

        world.pass(30 * DAY);
        let period = period + 1;
        // The table is read, and the key is not there yet.
        assert_eq!(bearer(&behind, &header(period.to_string())).await.unwrap_err(), Refusal::InvalidToken);
        let token = ask(&node, signed_in(&key), &[], false).await.unwrap().token;
        assert_eq!(bearer(&behind, &token).await.unwrap_err(), Refusal::InvalidToken, "read a moment ago");
        world.pass(SECOND);
        assert!(bearer(&behind, &token).await.is_ok());
    });
}

fn refused(opened: Result<Access, OpenError>) -> String {
    match opened {
        Err(OpenError::Refused(words)) => words,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}
