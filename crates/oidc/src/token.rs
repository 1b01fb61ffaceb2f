//! Taking a token apart, and checking its signature.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::TokenError;

/// The longest token that is looked at, in bytes. Those of CI services have up to three thousand.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// What may sign a token. Never `none`, never a shared secret.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// The issuer that a token names, which nothing has proven yet: only for finding out whose keys to look at.
pub fn issuer_of(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let payload: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    payload.get("iss")?.as_str().map(str::to_owned)
}

/// What a token's header says.
pub(crate) struct Head {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: Option<String>,
}

/// Reads a token's header.
pub(crate) fn head(token: &str) -> Result<Head, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::invalid(format!("it has more than {MAX_TOKEN_BYTES} bytes")));
    }
    let header = decode_header(token).map_err(|_| {
        TokenError::invalid("it is no token that we can read (JWT), or signed in a way that we don't know")
    })?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(TokenError::invalid(format!("it is signed with {:?}, which is not taken", header.alg)));
    }
    // What we don't know must not be passed over (RFC 7515, 4.1.11).
    if header.crit.is_some() {
        return Err(TokenError::invalid("its header asks for something that we don't know (`crit`)"));
    }
    Ok(Head { algorithm: header.alg, key: header.kid })
}

/// What a token says, if its signature is right.
pub(crate) fn open(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Map<String, Value>, TokenError> {
    let mut validation = Validation::new(algorithm);
    // The library reads the machine's clock; all of this is checked with ours by `Claims`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let opened = decode::<Map<String, Value>>(token, key, &validation);
    opened.map(|data| data.claims).map_err(|_| TokenError::invalid("its signature is wrong"))
}
