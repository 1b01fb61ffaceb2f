//! What tokens are given to whom, and what they are good for afterwards (protocol.md 2.2-2.6).

use roadstead_model::scope::Actions;
use serde_json::Value;

use super::*;
use crate::{Presented, authenticate::RECENT};

/// protocol.md T1: without credentials there is an anonymous token, which names pull where anyone may pull and nothing else.
#[test]
fn t1_anonymous() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let scopes =
            ["repository:open/a:pull,push repository:closed/a:*", "repository:absent/a:pull registry:catalog:*"];
        let grant = ask(&node, Credentials::Nobody, &scopes, true).await.unwrap();
        assert_eq!(grant.scope.to_string(), "repository:open/a:pull");
        assert_eq!(grant.refresh_token, None);
        let caller = bearer(&node, &grant.token).await.unwrap();
        assert_eq!((caller.presented(), caller.key(), caller.key_id()), (Presented::Token, None, ""));
        assert!(caller.allows(&place("open/a"), Actions::PULL));
        assert!(!caller.allows(&place("open/a"), Actions::PUSH));
        assert!(!caller.allows(&place("closed/a"), Actions::PULL));
        assert!(!caller.allows(&place("absent/a"), Actions::PULL));
        assert!(!caller.allows_catalog());
    });
}

/// There are fewer places for them than tokens.
#[test]
fn tokens_that_share_a_place_are_not_mixed_up() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let name = |number: usize| format!("open/r{number}");
        let mut tokens = Vec::new();
        for number in 0..2 * RECENT {
            let scope = format!("repository:{}:pull", name(number));
            tokens.push(ask(&node, Credentials::Nobody, &[&scope], false).await.unwrap().token);
        }
        for (number, token) in tokens.iter().enumerate().chain(tokens.iter().enumerate()) {
            let caller = bearer(&node, token).await.unwrap();
            assert!(caller.allows(&place(&name(number)), Actions::PULL));
            assert!(!caller.allows(&place(&name(number + 1)), Actions::PULL));
        }
    });
}

/// Somebody without a role may what anyone may, but is known by name.
#[test]
fn a_person_without_roles() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let key = world.person().await;
        let scopes = ["repository:open/a:* repository:closed/a:* registry:catalog:*"];
        let grant = ask(&node, signed_in(&key), &scopes, false).await.unwrap();
        assert_eq!(grant.scope.to_string(), "repository:open/a:pull");
        assert_eq!(bearer(&node, &grant.token).await.unwrap().key_id(), key.key_id);
    });
}

/// protocol.md T2: wrong credentials are wrong, whichever part is, and never make an anonymous caller.
#[test]
fn t2_wrong_credentials() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        for (id, secret) in [
            (key.key_id.as_str(), "wrong"),
            (key.key_id.as_str(), ""),
            ("", key.secret.as_str()),
            ("RSKAAAAAAAAAAAAAAAAA", key.secret.as_str()),
            ("x\0y", "z"),
            (&"x".repeat(1000), "z"),
            (&key.key_id.to_lowercase(), key.secret.as_str()),
        ] {
            let asked = ask(&node, Credentials::password(id.into(), secret.into()), &[], false).await;
            assert_eq!(asked, Err(TokenError::WrongCredentials), "{id:?}");
            assert_eq!(basic(&node, id, secret).await.unwrap_err(), Refusal::Unauthenticated, "{id:?}");
        }
        let caller = basic(&node, &key.key_id, &key.secret).await.unwrap();
        assert_eq!((caller.presented(), caller.key_id()), (Presented::Basic, key.key_id.as_str()));
        for header in ["Negotiate x", "", "Basic", "Basic %%%"] {
            assert_eq!(
                node.authenticate(Some(header), HOST, FROM).await.unwrap_err(),
                Refusal::Unauthenticated,
                "{header:?}"
            );
        }
        for header in [None, Some("Basic Og==")] {
            assert_eq!(node.authenticate(header, HOST, FROM).await.unwrap().presented(), Presented::Nothing);
        }
    });
}

/// protocol.md T3, T4, T9, T14: an administrator is given all that was asked, united, also for what does not exist; a name that is
/// none is dropped; two spellings of one place add up.
#[test]
fn t3_t4_t9_t14_administrator() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let other_spelling = format!("repository:{HOST}/reg/c:delete");
        let scopes = [
            "repository:reg/c:pull repository:reg/c:pull,push registry:catalog:*",
            "repository:reg/d:*",
            "repository:NO/x:pull",
            "repository:nothing:pull",
            &other_spelling,
        ];
        let grant = ask(&node, signed_in(&key), &scopes, false).await.unwrap();
        assert_eq!(
            grant.scope.to_string(),
            format!("repository:reg/c:pull,push registry:catalog:* repository:reg/d:pull,push,delete {other_spelling}")
        );
        let caller = bearer(&node, &grant.token).await.unwrap();
        assert!(caller.key().is_some() && caller.allows_catalog());
        assert!(caller.allows(&place("reg/c"), Actions::ALL));
        assert!(caller.allows(&place("reg/d"), Actions::ALL));
        assert!(!caller.allows(&place("reg/e"), Actions::PULL));
    });
}

/// protocol.md 2.2, 2.3: the members of the answer.
#[test]
fn the_answer() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        world.now.store(1_795_257_045 * SECOND + 123_456, Ordering::Relaxed);
        let grant = ask(&node, signed_in(&key), &["repository:reg/c:pull"], true).await.unwrap();
        let answer: Value = serde_json::from_str(&grant.to_json()).unwrap();
        assert_eq!(answer["token"], answer["access_token"]);
        assert_eq!(answer["token"], grant.token);
        assert_eq!(answer["expires_in"], 3600);
        assert_eq!(answer["issued_at"], "2026-11-21T10:30:45Z");
        assert_eq!(answer["scope"], "repository:reg/c:pull");
        assert_eq!(answer["refresh_token"], grant.refresh_token.unwrap());
        let without = ask(&node, signed_in(&key), &[], false).await.unwrap().to_json();
        assert!(!without.contains("refresh_token"));
    });
}

/// protocol.md T7 and 2.4: a refresh token gives tokens again and again, at its host, until its key is revoked.
#[test]
fn t7_refresh_tokens() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let refresh = ask(&node, signed_in(&key), &[], true).await.unwrap().refresh_token.unwrap();
        assert_eq!(world.refresh_tokens(&key).await, 1);
        let with = |token: &str| Credentials::Refresh(token.to_owned());
        for offline in [true, false] {
            let grant = ask(&node, with(&refresh), &["repository:reg/c:push"], offline).await.unwrap();
            assert_eq!(grant.scope.to_string(), "repository:reg/c:push");
            assert_eq!(grant.refresh_token, offline.then(|| refresh.clone()), "not rotated");
            assert_eq!(bearer(&node, &grant.token).await.unwrap().key_id(), key.key_id);
        }
        assert_eq!(world.refresh_tokens(&key).await, 1);

        for wrong in ["", "x", &refresh[1..], &"x".repeat(43), &"x".repeat(100_000)] {
            assert_eq!(ask(&node, with(wrong), &[], false).await, Err(TokenError::InvalidGrant));
        }
        let elsewhere = ask_at(&node, "other.example", with(&refresh), &[], false).await;
        assert_eq!(elsewhere, Err(TokenError::InvalidGrant));

        node.keys().revoke(&key.key_id, None, &By::default()).await.unwrap();
        assert_eq!(ask(&node, with(&refresh), &[], false).await, Err(TokenError::InvalidGrant));
        assert_eq!(world.refresh_tokens(&key).await, 0);
    });
}

/// A refresh token ends when it has not been used for its lifetime, and goes on when it has.
#[test]
fn refresh_tokens_end() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let refresh = ask(&node, signed_in(&key), &[], true).await.unwrap().refresh_token.unwrap();
        let unused = ask(&node, signed_in(&key), &[], true).await.unwrap().refresh_token.unwrap();
        let at = async |days: i64, token: &str| {
            let node = world.node_later(days * DAY).await;
            ask(&node, Credentials::Refresh(token.to_owned()), &[], false).await.is_ok()
        };
        assert!(at(60, &refresh).await);
        assert!(at(89, &unused).await, "its use on this day lets it go on, too");
        assert!(at(149, &refresh).await);
        assert!(!at(240, &refresh).await);
        assert!(!at(180, &unused).await);
    });
}

/// A key that ends by itself takes its refresh tokens along.
#[test]
fn an_expired_key_is_no_key() {
    on_each_engine(async |world| {
        let (node, _) = world.with_administrator().await;
        let key = node
            .keys()
            .create(
                KeyFor::Person("administrator".to_owned()),
                "for a day",
                Some(std::time::Duration::from_secs(86400)),
                &By::default(),
            )
            .await
            .unwrap();
        let refresh = ask(&node, signed_in(&key), &[], true).await.unwrap().refresh_token.unwrap();
        let tomorrow = world.node_later(DAY + SECOND).await;
        assert_eq!(ask(&tomorrow, signed_in(&key), &[], false).await, Err(TokenError::WrongCredentials));
        assert_eq!(ask(&tomorrow, Credentials::Refresh(refresh), &[], false).await, Err(TokenError::InvalidGrant));
        assert_eq!(basic(&tomorrow, &key.key_id, &key.secret).await.unwrap_err(), Refusal::Unauthenticated);
    });
}

/// protocol.md T8, 2.4: a token is good for its time and a minute of leeway on either side, cached or not.
#[test]
fn t8_expiry() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let other = world.node().await;
        let token = ask(&node, signed_in(&key), &[], false).await.unwrap().token;
        world.pass(-59 * SECOND);
        assert!(bearer(&node, &token).await.is_ok());
        world.pass(-2 * SECOND);
        assert_eq!(bearer(&node, &token).await.unwrap_err(), Refusal::InvalidToken);
        world.pass((61 + 3600 + 59) * SECOND);
        assert!(bearer(&node, &token).await.is_ok());
        world.pass(SECOND);
        for node in [node, other] {
            assert_eq!(bearer(&node, &token).await.unwrap_err(), Refusal::InvalidToken);
        }
    });
}

/// protocol.md T13: fifty at once, of one key; each gets what it asked for.
#[test]
fn t13_many_at_once() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let asked: Vec<_> = (0..50)
            .map(|number| {
                let (node, credentials) = (node.clone(), signed_in(&key));
                tokio::spawn(async move {
                    let scope = format!("repository:reg/r{number}:pull,push");
                    ask(&node, credentials, &[&scope], number % 2 == 0).await.unwrap().token
                })
            })
            .collect();
        for (number, token) in asked.into_iter().enumerate() {
            let caller = bearer(&node, &token.await.unwrap()).await.unwrap();
            assert!(caller.allows(&place(&format!("reg/r{number}")), Actions::PUSH));
        }
    });
}

/// Whatever is asked for, the token stays small enough to be taken: the first resources are in it.
#[test]
fn a_token_is_bounded() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let long = "a".repeat(250);
        let scopes: Vec<String> =
            (0..64).map(|number| format!("repository:{}/{long}{number:02}:*", "r".repeat(30))).collect();
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let grant = ask(&node, signed_in(&key), &scopes, false).await.unwrap();
        let granted = grant.scope.iter().count();
        assert!((10..64).contains(&granted), "{granted}");
        assert!(grant.token.len() < 12 * 1024, "{}", grant.token.len());
        let caller = bearer(&node, &grant.token).await.unwrap();
        assert!(caller.allows(&place(&format!("{}/{long}{:02}", "r".repeat(30), granted - 1)), Actions::ALL));

        let short: Vec<String> = (0..64).map(|number| format!("repository:reg/app{number}:*")).collect();
        let short: Vec<&str> = short.iter().map(String::as_str).collect();
        assert_eq!(ask(&node, signed_in(&key), &short, false).await.unwrap().scope.iter().count(), 64);
    });
}

/// A host that is none is refused before it gets into a token.
#[test]
fn a_service_is_bounded() {
    on_each_engine(async |world| {
        let (node, _) = world.with_administrator().await;
        for service in ["", "a\0b", &"a".repeat(301)] {
            let asked = ask_at(&node, service, Credentials::Nobody, &[], false).await;
            assert!(matches!(asked, Err(TokenError::Invalid(_))));
        }
    });
}
