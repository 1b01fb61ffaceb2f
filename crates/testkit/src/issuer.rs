//! An issuer of tokens on this machine, with a key of its own: a CI service, or a provider that people sign in at.
//!
//! It is strict where a provider must be: a code is redeemed only by a known client with the verifier of its challenge (PKCE) and the
//! address that it was asked for with. What tokens say is up to the test, also what is wrong.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as TEXT};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{random_bytes, token::basic};

/// Whom the provider knows, and with which secret.
pub const CLIENT: (&str, &str) = ("roadstead", "secret of the client");

/// A running issuer. It answers until the test's process ends.
#[derive(Clone)]
pub struct Issuer {
    /// What its tokens name as `iss`.
    pub address: String,
    key: Arc<Ed25519KeyPair>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    codes: HashMap<String, Code>,
    asked: Vec<String>,
}

/// What a code is good for.
struct Code {
    challenge: String,
    back: String,
    token: String,
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

impl Issuer {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let key = Arc::new(Ed25519KeyPair::generate().expect("a key"));
        let issuer = Self { address, key, state: Arc::default() };
        let answering = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answering.answer(stream);
            }
        });
        issuer
    }

    /// Its keys, as it publishes them.
    pub fn keys(&self) -> Value {
        let x = TEXT.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "one", "x": x}]})
    }

    /// Claims that are right for five minutes, and these on top.
    ///
    /// # Panics
    /// When `more` is no object.
    pub fn claims(&self, audience: &str, more: &Value) -> Value {
        let now = now();
        let mut claims =
            json!({"iss": self.address, "sub": "somebody", "aud": audience, "iat": now, "nbf": now, "exp": now + 300});
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": "one"});
        let signed = format!("{}.{}", TEXT.encode(head.to_string()), TEXT.encode(claims.to_string()));
        format!("{signed}.{}", TEXT.encode(self.key.sign(signed.as_bytes()).as_ref()))
    }

    /// Somebody has signed in on this page, and the browser is sent back: where to, with a code for a token that says this. Nonce and audience are
    /// those that were asked for, unless `more` says otherwise.
    pub fn sign_in(&self, page: &str, more: &Value) -> String {
        let asked = query(page);
        let mut claims = self.claims(&asked["client_id"], more);
        if more.get("nonce").is_none() {
            claims["nonce"] = asked["nonce"].clone().into();
        }
        self.sign_in_with(page, self.sign(&claims))
    }

    /// The same with any token.
    ///
    /// # Panics
    /// When the page was not asked for as it must be.
    pub fn sign_in_with(&self, page: &str, token: String) -> String {
        let asked = query(page);
        assert!(page.starts_with(&format!("{}/authorize?", self.address)), "{page}");
        for (name, value) in [("response_type", "code"), ("code_challenge_method", "S256"), ("client_id", CLIENT.0)] {
            assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}: {page}");
        }
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"), "{page}");
        assert!(["state", "nonce", "code_challenge"].iter().all(|name| asked[*name].len() == 43), "{page}");
        let code = TEXT.encode(random_bytes(16));
        let (challenge, back) = (asked["code_challenge"].clone(), asked["redirect_uri"].clone());
        self.state().codes.insert(code.clone(), Code { challenge, back, token });
        format!(
            "{}?state={}&code={code}&session_state=x&iss={}",
            asked["redirect_uri"],
            asked["state"],
            crate::http::escape(&self.address)
        )
    }

    /// Paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request on a connection; who breaks off gets no answer.
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(&stream);
        let (mut head, mut line) = (Vec::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            head.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        let header = |name: &str| {
            head.iter()
                .find_map(|line| line.split_once(": ").filter(|(own, _)| own.eq_ignore_ascii_case(name)))
                .map(|(_, value)| value)
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        self.state().asked.push(path.to_owned());
        let (status, answer) = match path {
            "/.well-known/openid-configuration" => (200, self.document()),
            "/keys" => (200, self.keys()),
            "/token" => self.redeem(header("authorization"), &String::from_utf8_lossy(&body)),
            _ => (404, json!({})),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let _ = (&stream).write_all(format!("{head}{answer}").as_bytes());
    }

    fn document(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.address);
        json!({"issuer": self.address, "jwks_uri": at("/keys"), "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token")})
    }

    fn redeem(&self, authorization: Option<&str>, form: &str) -> (u16, Value) {
        let refused = |words: &str| (400, json!({"error": words}));
        if authorization != Some(basic(&encoded(CLIENT.0), &encoded(CLIENT.1)).as_str()) {
            return (401, json!({"error": "invalid_client"}));
        }
        let form = query(&format!("?{form}"));
        let given = |name: &str| form.get(name).map_or("", String::as_str);
        if given("grant_type") != "authorization_code" {
            return refused("unsupported_grant_type");
        }
        let state = self.state();
        let Some(code) = state.codes.get(given("code")) else { return refused("invalid_grant") };
        let proven = TEXT.encode(Sha256::digest(given("code_verifier"))) == code.challenge;
        if !proven || given("redirect_uri") != code.back {
            return refused("invalid_grant");
        }
        (200, json!({"access_token": "x", "token_type": "Bearer", "id_token": code.token}))
    }
}

/// As a form has it.
fn encoded(text: &str) -> String {
    text.replace(' ', "+")
}

/// The parameters of an address.
pub fn query(address: &str) -> HashMap<String, String> {
    let (_, query) = address.split_once('?').unwrap_or_default();
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}
