//! Tokens that are not ours.

use aws_lc_rs::signature::KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::{
    prop_assert,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::*;
use crate::{Presented, claims::ISSUER};

/// A node, and a token of its administrator taken apart.
async fn attacked(world: &World) -> (Access, [String; 3]) {
    let (node, key) = world.with_administrator().await;
    let token = ask(&node, signed_in(&key), &["repository:reg/c:*"], false).await.unwrap().token;
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    (node, parts.try_into().unwrap())
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn read(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn assert_refused(node: &Access, what: &str, token: &str) {
    assert_eq!(bearer(node, token).await.unwrap_err(), Refusal::InvalidToken, "{what}");
}

#[test]
fn no_signature() {
    on_each_engine(async |world| {
        let (node, [header, payload, signature]) = attacked(&world).await;
        let kid = read(&header)["kid"].clone();
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = part(&json!({"alg": alg, "typ": "JWT", "kid": kid}));
            for signature in ["", &signature] {
                assert_refused(&node, alg, &format!("{header}.{payload}.{signature}")).await;
            }
        }
        assert_refused(&node, "no signature", &format!("{header}.{payload}.")).await;
        assert_refused(&node, "two parts", &format!("{header}.{payload}")).await;
        assert_refused(&node, "four parts", &format!("{header}.{payload}.{signature}.{signature}")).await;
        assert_refused(&node, "nothing", "").await;
        assert_refused(&node, "something behind it", &format!("{header}.{payload}.{signature} x")).await;
    });
}

/// The public key as the secret of a symmetric algorithm: the algorithm is pinned, whatever the header says.
#[test]
fn symmetric_with_the_public_key() {
    on_each_engine(async |world| {
        let (node, [header, payload, _]) = attacked(&world).await;
        let kid = read(&header)["kid"].as_str().unwrap().to_owned();
        let sealed = rows::signing_keys(&world.db).await.unwrap();
        let sealed = &sealed.iter().find(|key| key.kid == kid).unwrap().sealed;
        let seed = crate::seal::Sealer::new(&SECRET_KEY).open(&format!("signing key {kid}"), sealed).unwrap();
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some(kid.clone());
            let key = EncodingKey::from_secret(pair.public_key().as_ref());
            let token = encode(&header, &read(&payload), &key).unwrap();
            assert_refused(&node, "HMAC", &token).await;
        }
        // The same claims with the right key are taken: the refusals above are due to the algorithm.
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid);
        let key = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        let mut claims = read(&payload);
        claims["jti"] = "again".into();
        assert!(bearer(&node, &encode(&header, &claims, &key).unwrap()).await.is_ok());
        claims["padding"] = "x".repeat(13_000).into();
        assert_refused(&node, "longer than any of ours", &encode(&header, &claims, &key).unwrap()).await;
        // And what only our own programs can have signed is still held to its form.
        for (member, value) in [
            ("iss", json!("someone")),
            ("aud", json!("other.example")),
            ("aud", json!([HOST])),
            ("sub", json!("")),
            ("key", json!(null)),
            ("exp", json!(0)),
            ("nbf", json!(99_999_999_999_i64)),
            ("exp", json!("soon")),
        ] {
            let mut claims = read(&payload);
            claims[member] = value;
            assert_refused(&node, member, &encode(&header, &claims, &key).unwrap()).await;
            claims.as_object_mut().unwrap().remove(member);
            if member != "key" {
                assert_refused(&node, member, &encode(&header, &claims, &key).unwrap()).await;
            }
        }
    });
}

#[test]
fn another_key() {
    on_each_engine(async |world| {
        let (node, [header, payload, signature]) = attacked(&world).await;
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let own = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        let real: i64 = read(&header)["kid"].as_str().unwrap().parse().unwrap();
        for kid in [
            Some(real.to_string()),
            Some((real + 1).to_string()),
            Some("../../key".to_owned()),
            Some(String::new()),
            None,
        ] {
            let mut forged = Header::new(Algorithm::EdDSA);
            forged.kid = kid.clone();
            // A key that the header brings along counts for nothing.
            forged.jku = Some("https://attacker.example/keys".to_owned());
            assert_refused(&node, "own key", &encode(&forged, &read(&payload), &own).unwrap()).await;
            let mut changed = read(&header);
            changed["kid"] = json!(kid);
            changed["x"] = json!(1);
            assert_refused(&node, "changed header", &format!("{}.{payload}.{signature}", part(&changed))).await;
        }
    });
}

#[test]
fn changed_payload() {
    on_each_engine(async |world| {
        let (node, [header, payload, signature]) = attacked(&world).await;
        for (member, value) in [
            ("exp", json!(99_999_999_999_i64)),
            ("key", json!(2)),
            ("aud", json!("other.example")),
            ("access", json!([{"type": "registry", "name": "catalog", "actions": ["*"]}])),
        ] {
            let mut claims = read(&payload);
            claims[member] = value;
            assert_refused(&node, member, &format!("{header}.{}.{signature}", part(&claims))).await;
        }
        assert_eq!(read(&payload)["iss"], ISSUER);
        assert!(bearer(&node, &format!("{header}.{payload}.{signature}")).await.is_ok());
    });
}

/// protocol.md 2.4: a token made for one host never fits another's, also when its signature is known already.
#[test]
fn another_audience() {
    on_each_engine(async |world| {
        let (node, parts) = attacked(&world).await;
        let header = format!("Bearer {}", parts.join("."));
        assert!(node.authenticate(Some(&header), HOST, FROM).await.is_ok());
        for service in ["other.example", "registry.example", "", "REGISTRY.EXAMPLE:5000"] {
            assert_eq!(
                node.authenticate(Some(&header), service, FROM).await.unwrap_err(),
                Refusal::InvalidToken,
                "{service}"
            );
        }
    });
}

#[test]
fn oversize() {
    on_each_engine(async |world| {
        let (node, [header, payload, signature]) = attacked(&world).await;
        for length in [16 * 1024, 16 << 20] {
            assert_refused(&node, "long", &"a".repeat(length + 1)).await;
            assert_refused(&node, "long", &format!("{header}.{payload}{}.{signature}", "A".repeat(length))).await;
            assert_refused(&node, "dots", &".".repeat(length)).await;
        }
    });
}

/// Any header is refused or nobody's; none is anybody's, and none does harm.
#[test]
fn any_authorization_header() {
    const HEADERS: &str =
        "(Bearer |Basic |bearer|)[ -~]{0,200}|.{0,50}|Bearer ([A-Za-z0-9_-]{0,40}\\.){2}[A-Za-z0-9_-]{0,90}";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::on_sqlite());
    let node = runtime.block_on(world.node());
    let checked = TestRunner::new(Config::with_cases(1000)).run(&HEADERS, |header| {
        let caller = runtime.block_on(node.authenticate(Some(&header), HOST, FROM));
        prop_assert!(!caller.is_ok_and(|caller| caller.presented() != Presented::Nothing));
        Ok(())
    });
    checked.unwrap();
}
