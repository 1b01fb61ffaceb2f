//! The token flow of protocol.md 2, done as a client does it and strict about its form.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::http::{Response, escape, path_of};

/// What a 401 says about where a token can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Where.
    pub realm: String,
    /// For which service.
    pub service: String,
    /// For what, if anything is named.
    pub scope: Option<String>,
    /// Why the token that was presented does not do.
    pub error: Option<String>,
}

impl Challenge {
    /// Reads the one `WWW-Authenticate` of an answer, which must look as protocol.md 2.1 and 1.4 demand.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn of(answer: &Response) -> Self {
        answer.expect(401);
        let value = answer.header("WWW-Authenticate");
        let rest = value.strip_prefix("Bearer ").unwrap_or_else(|| panic!("not Bearer: {answer:?}"));
        assert!(rest.starts_with("realm="), "the realm comes first: {answer:?}");
        let mut parameters = BTreeMap::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let parameter = rest.split_once("=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?)));
            let (name, (value, after)) = parameter.unwrap_or_else(|| panic!("not double-quoted: {answer:?}"));
            let twice = parameters.insert(name, value.to_owned());
            assert!(twice.is_none(), "{name} comes twice: {answer:?}");
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        let realm = parameters.remove("realm").unwrap_or_default();
        let lower = realm.to_lowercase();
        assert!(!lower.contains("bearer") && !lower.contains("basic"), "the conformance program's regex: {answer:?}");
        let service = parameters.remove("service").unwrap_or_else(|| panic!("no service: {answer:?}"));
        let challenge = Self { realm, service, scope: parameters.remove("scope"), error: parameters.remove("error") };
        assert!(parameters.is_empty(), "parameters that nobody knows: {answer:?}");
        if !answer.asked.starts_with("HEAD ") {
            answer.expect_error(401, "UNAUTHORIZED");
        }
        challenge
    }

    /// Path and query of `GET /token` for this challenge and further scopes, one `scope` parameter each.
    pub fn target(&self, scopes: &[&str]) -> String {
        let mut target = format!("{}?service={}", path_of(&self.realm), escape(&self.service));
        for scope in self.scope.as_deref().into_iter().chain(scopes.iter().copied()) {
            target += &format!("&scope={}", escape(scope));
        }
        target
    }
}

/// The value of `Authorization` for HTTP Basic.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// The claims of a JWT, unverified.
///
/// # Panics
/// When it is none.
pub fn claims(token: &str) -> serde_json::Value {
    let part = token.split('.').nth(1).expect("a JWT has three parts");
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).expect("claims are base64url");
    serde_json::from_slice(&bytes).expect("claims are JSON")
}
