//! What a token says, once its signature is right.

use serde_json::{Map, Value};

use crate::{LEEWAY, TokenError};

/// So many entries of a list are looked at, such as groups.
const MOST_ENTRIES: usize = 1000;

/// What a token says whose signature, issuer and times are right. Whom it is for is asked by who takes it.
#[derive(Clone, Debug)]
pub struct Claims {
    issuer: String,
    subject: String,
    audiences: Vec<String>,
    expires: i64,
    all: Map<String, Value>,
}

impl Claims {
    /// Reads what a token of this issuer says; `now` in seconds since 1970.
    pub(crate) fn read(all: Map<String, Value>, issuer: &str, now: i64) -> Result<Self, TokenError> {
        let text = |name: &str| all.get(name).and_then(Value::as_str).map(str::to_owned);
        if text("iss").as_deref() != Some(issuer) {
            return Err(TokenError::invalid("it names another issuer"));
        }
        let subject =
            text("sub").filter(|subject| !subject.is_empty() && subject.len() <= 1024 && !subject.contains('\0'));
        let subject = subject.ok_or_else(|| TokenError::invalid("it has no subject of up to 1024 bytes"))?;
        let audiences = match all.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                let texts: Option<Vec<_>> = several.iter().map(|one| one.as_str().map(str::to_owned)).collect();
                texts.ok_or_else(|| TokenError::invalid("its audiences are not texts"))?
            }
            _ => return Err(TokenError::invalid("it has no audience")),
        };
        let time = |name: &str| match all.get(name) {
            None => Ok(None),
            Some(value) => {
                seconds(value).map(Some).ok_or_else(|| TokenError::invalid(format!("its `{name}` is no time")))
            }
        };
        let expires = time("exp")?.ok_or_else(|| TokenError::invalid("it has no end (`exp`)"))?;
        if expires.saturating_add(LEEWAY) <= now {
            return Err(TokenError::invalid("it has expired"));
        }
        for (name, words) in [("nbf", "it is not valid yet"), ("iat", "it was made in the future")] {
            if time(name)?.is_some_and(|time| time.saturating_sub(LEEWAY) > now) {
                return Err(TokenError::invalid(words));
            }
        }
        Ok(Self { issuer: issuer.to_owned(), subject, audiences, expires, all })
    }

    /// Who made the token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whom it is about: unique and fixed for good at its issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }

    /// Whether it is for this audience and no other: who else may take a token may show it to us, too.
    pub fn is_for_alone(&self, audience: &str) -> bool {
        matches!(self.audiences.as_slice(), [only] if only == audience)
    }

    /// Whether it is the ID token of a client for the sign-in that it began with this nonce (OpenID Connect Core 1.0, 3.1.3.7).
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_sign_in(&self, client: &str, nonce: &str) -> Result<(), TokenError> {
        if !self.audiences.iter().any(|audience| audience == client) {
            return Err(TokenError::invalid("it is for another client"));
        }
        let party = self.all.get("azp");
        if party.is_some_and(|party| party != client) || (self.audiences.len() > 1 && party.is_none()) {
            return Err(TokenError::invalid("it was made for another client (`azp`)"));
        }
        if !self.all.contains_key("iat") {
            return Err(TokenError::invalid("it does not say when it was made (`iat`)"));
        }
        if self.all.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(TokenError::invalid("it belongs to another sign-in (`nonce`)"));
        }
        Ok(())
    }

    /// A claim as text: a text, a number or a truth value.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.all.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }

    /// A claim as a list of texts; one text alone is a list of one, and what is no text is left out.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.all.get(name) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(entries)) => {
                entries.iter().take(MOST_ENTRIES).filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A time of RFC 7519: seconds since 1970, perhaps with a fraction.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "far beyond what is a time it is cut to the last one")]
    let whole = |fraction: f64| fraction.is_finite().then_some(fraction.floor() as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}
