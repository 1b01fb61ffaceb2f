//! OpenID Connect: issuers of tokens and their keys, checking tokens, and the flow by which a person signs in at a provider.
//!
//! Guards one rule: nothing in a token is believed before its signature fits a key that its issuer has published, with an algorithm that
//! the key is made for. What comes from outside is bounded before it is parsed; nobody can make us ask an issuer often. Who asks gives
//! the time, in seconds since 1970, and the client that makes requests.

mod claims;
mod document;
mod issuer;
mod keys;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use self::{
    claims::Claims,
    issuer::{Issuer, IssuerOptions, Issuers},
    provider::{Begun, Flow, Provider, ProviderOptions},
    token::{MAX_TOKEN_BYTES, issuer_of},
};

/// How far the clocks of two machines may lie apart, in seconds.
const LEEWAY: i64 = 60;

/// Why a token is worth nothing. The texts are for the log and for whoever runs the service; no secret is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not right, or not any more.
    #[error("{0}")]
    Invalid(String),
    /// It can't be found out now: the issuer does not answer as it should.
    #[error("{0}")]
    Unavailable(String),
}

impl TokenError {
    fn invalid(words: impl Into<String>) -> Self {
        Self::Invalid(words.into())
    }
}
