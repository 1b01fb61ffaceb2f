//! What a token must be to be believed, against issuers whose keys are made here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeySize, PublicKeyComponents},
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures::{FutureExt as _, future::BoxFuture};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use roadstead_outgoing::{Answer, Fetch, Outgoing, OutgoingError, Request};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://issuer.example";
const NOW: i64 = 1_800_000_000;

/// Answers by address, and counts what it was asked.
#[derive(Clone, Default)]
struct Web(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    bodies: HashMap<String, String>,
    asked: Vec<String>,
}

impl Web {
    fn with(self, address: &str, body: &Value) -> Self {
        self.put(address, body);
        self
    }

    fn put(&self, address: &str, body: &Value) {
        self.0.lock().expect("a lock").bodies.insert(address.to_owned(), body.to_string());
    }

    fn asked(&self) -> usize {
        self.0.lock().expect("a lock").asked.len()
    }
}

impl Fetch for Web {
    fn fetch(&self, request: Request) -> BoxFuture<'_, Result<Answer, OutgoingError>> {
        let mut web = self.0.lock().expect("a lock");
        web.asked.push(request.address.clone());
        let answer =
            web.bodies.get(&request.address).map(|body| Answer { status: 200, body: body.clone().into_bytes() });
        async move { answer.ok_or_else(|| OutgoingError::Failed("nobody is there".to_owned())) }.boxed()
    }
}

/// A key pair: how it signs, and its public half as an issuer publishes it.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pair(algorithm: Algorithm, id: &str) -> Pair {
    let (private, public) = match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().expect("a key");
            let public = json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())});
            (EncodingKey::from_ed_der(pair.to_pkcs8().expect("a key").as_ref()), public)
        }
        Algorithm::ES256 | Algorithm::ES384 => {
            let (kind, curve) = match algorithm {
                Algorithm::ES256 => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
                _ => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            };
            let pair = EcdsaKeyPair::generate(kind).expect("a key");
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let public = json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)});
            (EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a key").as_ref()), public)
        }
        _ => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
            let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            let public = json!({"kty": "RSA", "n": text(&parts.n), "e": text(&parts.e)});
            let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key");
            let pem =
                format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
            (EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key"), public)
        }
    };
    let mut public = public;
    public["kid"] = id.into();
    public["use"] = "sig".into();
    Pair { algorithm, private, public }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "it", "aud": "us", "exp": NOW + 300, "iat": NOW, "nbf": NOW})
}

fn sign(pair: &Pair, claims: &Value) -> String {
    let mut header = Header::new(pair.algorithm);
    header.kid = pair.public["kid"].as_str().map(str::to_owned);
    encode(&header, claims, &pair.private).expect("a token")
}

fn raw(header: &Value, claims: &Value, signature: &[u8]) -> String {
    format!("{}.{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()), text(signature))
}

fn web(keys: &[&Pair]) -> Web {
    let document = json!({"issuer": ISSUER, "jwks_uri": "https://keys.example/jwks"});
    let keys: Vec<_> = keys.iter().map(|pair| &pair.public).collect();
    Web::default()
        .with("https://issuer.example/.well-known/openid-configuration", &document)
        .with("https://keys.example/jwks", &json!({"keys": keys}))
}

fn issuer(web: &Web) -> Issuer {
    let options = IssuerOptions { address: ISSUER.to_owned(), internal: false, keys: None };
    Issuer::new(options, Outgoing::of(web.clone())).expect("an issuer")
}

async fn refused(issuer: &Issuer, token: &str, words: &str) {
    match issuer.verify(token, NOW).await {
        Err(TokenError::Invalid(told)) => assert!(told.contains(words), "{told:?}, not {words:?}"),
        other => panic!("{words}: {other:?}"),
    }
}

#[tokio::test]
async fn each_kind_of_key_signs_with_its_own_algorithms() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let own = pair(algorithm, "one");
        let issuer = issuer(&web(&[&own]));
        let read = issuer.verify(&sign(&own, &claims()), NOW).await.expect("a right token");
        assert_eq!((read.issuer(), read.subject(), read.expires()), (ISSUER, "it", NOW + 300), "{algorithm:?}");
        assert!(read.is_for_alone("us") && !read.is_for_alone("them"));
        // Signed by somebody else, under the same name of a key.
        refused(&issuer, &sign(&pair(algorithm, "one"), &claims()), "signature").await;
    }
}

#[tokio::test]
async fn no_signature_and_a_shared_secret_are_none() {
    let own = pair(Algorithm::RS256, "one");
    let issuer = issuer(&web(&[&own]));
    refused(&issuer, &raw(&json!({"alg": "none", "kid": "one"}), &claims(), b""), "don't know").await;
    refused(&issuer, &raw(&json!({"alg": "None", "kid": "one"}), &claims(), b""), "don't know").await;
    // What everybody knows, the public key, as the secret of an HMAC.
    for secret in [own.public["n"].as_str().unwrap_or_default().to_owned(), own.public.to_string()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let forged = encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes())).expect("a token");
        refused(&issuer, &forged, "HS256").await;
    }
    let right = sign(&own, &claims());
    let (head, rest) = right.split_once('.').expect("a token");
    refused(&issuer, &format!("{head}.{}", rest.split_once('.').expect("a token").0), "can read").await;
    refused(&issuer, &format!("{head}.{rest}.x"), "can read").await;
    let other = raw(&json!({"alg": "RS256", "kid": "one"}), &json!({"iss": ISSUER, "sub": "admin"}), b"");
    let (_, signature) = right.rsplit_once('.').expect("a token");
    refused(&issuer, &format!("{}.{signature}", other.rsplit_once('.').expect("a token").0), "signature").await;
    let critical = raw(&json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false}), &claims(), b"");
    refused(&issuer, &critical, "crit").await;
    refused(&issuer, &"x".repeat(MAX_TOKEN_BYTES + 1), "bytes").await;
}

/// A key is for what its kind and its `alg` say; keys for encryption sign nothing.
#[tokio::test]
async fn a_key_is_for_its_own_use() {
    let mut own = pair(Algorithm::RS256, "one");
    own.public["alg"] = "PS256".into();
    refused(&issuer(&web(&[&own, &pair(Algorithm::ES256, "two")])), &sign(&own, &claims()), "no such key").await;
    own.public["alg"] = "RS256".into();
    own.public["use"] = "enc".into();
    let signing = pair(Algorithm::EdDSA, "two");
    refused(&issuer(&web(&[&own, &signing])), &sign(&own, &claims()), "no such key").await;
    // Under the name of an elliptic key, signed with RSA.
    let mut forged = pair(Algorithm::RS256, "one");
    forged.public["kid"] = "two".into();
    refused(&issuer(&web(&[&signing])), &sign(&forged, &claims()), "no such key").await;
}

#[tokio::test]
async fn times_issuer_and_audience_must_be_right() {
    let own = pair(Algorithm::EdDSA, "one");
    let issuer = issuer(&web(&[&own]));
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        sign(&own, &claims)
    };
    for (name, value, words) in [
        ("iss", json!("https://other.example"), "another issuer"),
        ("iss", json!("https://issuer.example/"), "another issuer"),
        ("exp", json!(NOW - 60), "expired"),
        ("exp", json!("soon"), "no time"),
        ("exp", Value::Null, "no time"),
        ("nbf", json!(NOW + 61), "not valid yet"),
        ("iat", json!(NOW + 61), "future"),
        ("sub", json!(""), "subject"),
        ("sub", json!(7), "subject"),
        ("aud", Value::Null, "audience"),
        ("aud", json!([1]), "audiences"),
    ] {
        refused(&issuer, &with(name, value), words).await;
    }
    for (name, value) in [("exp", json!(NOW - 59)), ("nbf", json!(NOW + 60)), ("exp", json!(1_800_000_100.5))] {
        issuer.verify(&with(name, value), NOW).await.expect("within the leeway");
    }
    let several = issuer.verify(&with("aud", json!(["us", "them"])), NOW).await.expect("a right token");
    assert!(!several.is_for_alone("us"), "whoever is `them` could show it, too");
    assert!(several.check_sign_in("us", "n").is_err());
}

#[tokio::test]
async fn an_id_token_is_of_one_sign_in() {
    let own = pair(Algorithm::EdDSA, "one");
    let issuer = issuer(&web(&[&own]));
    let check = async |change: Value| {
        let mut claims = claims();
        claims["nonce"] = "n".into();
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        issuer.verify(&sign(&own, &claims), NOW).await.expect("a right token").check_sign_in("us", "n")
    };
    assert_eq!(check(json!({})).await, Ok(()));
    assert_eq!(check(json!({"aud": ["us", "them"], "azp": "us"})).await, Ok(()));
    for wrong in [
        json!({"nonce": "m"}),
        json!({"nonce": null}),
        json!({"aud": "them"}),
        json!({"azp": "them"}),
        json!({"aud": ["us", "them"]}),
        json!({"aud": ["us", "them"], "azp": "them"}),
    ] {
        assert!(matches!(check(wrong.clone()).await, Err(TokenError::Invalid(_))), "{wrong}");
    }
}

/// Made-up names of keys cost their issuer one request in half a minute; a key that is really new is found.
#[tokio::test]
async fn nobody_makes_us_hammer_an_issuer() {
    let (own, new) = (pair(Algorithm::EdDSA, "one"), pair(Algorithm::EdDSA, "two"));
    let web = web(&[&own]);
    let issuer = issuer(&web);
    issuer.verify(&sign(&own, &claims()), NOW).await.expect("a right token");
    assert_eq!(web.asked(), 2, "the document, and the keys");
    for number in 0..50 {
        let forged = pair(Algorithm::EdDSA, &format!("made-up-{number}"));
        assert!(issuer.verify(&sign(&forged, &claims()), NOW + 29).await.is_err());
    }
    issuer.verify(&sign(&own, &claims()), NOW + 29).await.expect("a right token");
    assert_eq!(web.asked(), 2);
    web.put("https://keys.example/jwks", &json!({"keys": [own.public, new.public]}));
    issuer.verify(&sign(&new, &claims()), NOW + 30).await.expect("the new key");
    assert_eq!(web.asked(), 4);
    issuer.verify(&sign(&own, &claims()), NOW + 300).await.expect("a right token");
    assert_eq!(web.asked(), 4);
}

/// While an issuer is not there its keys hold for a day, and it is asked once in half a minute.
#[tokio::test]
async fn an_issuer_that_is_away_is_asked_again() {
    let own = pair(Algorithm::EdDSA, "one");
    let web = web(&[&own]);
    let issuer = issuer(&web);
    let day = 24 * 3600;
    let long = {
        let mut claims = claims();
        claims["exp"] = (NOW + 10 * day).into();
        sign(&own, &claims)
    };
    issuer.verify(&long, NOW).await.expect("a right token");
    web.0.lock().expect("a lock").bodies.clear();
    issuer.verify(&long, NOW + day - 1).await.expect("keys of yesterday");
    for _ in 0..5 {
        assert!(matches!(issuer.verify(&long, NOW + day + 29).await, Err(TokenError::Unavailable(_))));
    }
    assert_eq!(web.asked(), 4);
    // Another one in its place is not believed.
    let document = json!({"issuer": "https://other.example", "jwks_uri": "https://keys.example/jwks"});
    web.put("https://issuer.example/.well-known/openid-configuration", &document);
    web.put("https://keys.example/jwks", &json!({"keys": [own.public]}));
    match issuer.verify(&long, NOW + 2 * day).await {
        Err(TokenError::Unavailable(words)) => assert!(words.contains("https://other.example"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn given_keys_are_never_fetched() {
    let own = pair(Algorithm::RS256, "one");
    let web = Web::default();
    let given = |keys: Value| {
        let options = IssuerOptions { address: ISSUER.to_owned(), internal: false, keys: Some(keys.to_string()) };
        Issuer::new(options, Outgoing::of(web.clone()))
    };
    let issuer = given(json!({"keys": [own.public]})).expect("an issuer");
    issuer.verify(&sign(&own, &claims()), NOW).await.expect("a right token");
    refused(&issuer, &sign(&pair(Algorithm::RS256, "two"), &claims()), "no such key").await;
    assert_eq!(web.asked(), 0);
    assert!(given(json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})).is_err(), "a shared secret is no key here");
    assert!(given(json!({})).is_err());
    assert_eq!(issuer_of(&sign(&own, &claims())).as_deref(), Some(ISSUER));
    assert_eq!(issuer_of("x.y.z"), None);
}
