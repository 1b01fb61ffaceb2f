//! Reading an `Authorization` header. What comes out has not been checked against anything.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD_PAD_INDIFFERENT};

/// The longest Basic credentials that are decoded, in bytes of base64: the token of a CI's job may be the password.
const MAX_BASIC_BYTES: usize = 12 << 10;

/// What a client shows in order to get a token. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing: it gets an anonymous token.
    Nobody,
    /// Key id and secret; or `PROJECT/ROBOT`, and the token of a job that the robot trusts.
    Key {
        /// What came as user name.
        id: String,
        /// What came as password.
        secret: String,
    },
    /// A refresh token.
    Refresh(String),
}

impl Credentials {
    /// The credentials of a token request by GET: the value of its `Authorization` header, if it has one (protocol.md 2.2).
    /// `None` for a header that is not Basic or cannot be read, which is to be answered as wrong credentials.
    pub fn from_header(authorization: Option<&str>) -> Option<Self> {
        let Some(header) = authorization else { return Some(Self::Nobody) };
        match Authorization::parse(header)? {
            Authorization::Basic { id, secret } => Some(Self::password(id, secret)),
            Authorization::Bearer(_) => None,
        }
    }

    /// User name and password, of Basic or of the password grant. Both empty is nobody: clients without credentials send
    /// `Basic Og==` (protocol.md 1.4).
    pub fn password(id: String, secret: String) -> Self {
        if id.is_empty() && secret.is_empty() { Self::Nobody } else { Self::Key { id, secret } }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Key { id, .. } => f.debug_struct("Key").field("id", id).finish_non_exhaustive(),
            Self::Refresh(_) => f.write_str("Refresh(..)"),
        }
    }
}

/// An `Authorization` header of one of the two schemes that we know. Not `Debug`: it holds secrets.
#[derive(PartialEq, Eq)]
pub enum Authorization<'a> {
    /// A token.
    Bearer(&'a str),
    /// User name and password.
    Basic {
        /// What came as user name; has no colon.
        id: String,
        /// What came as password.
        secret: String,
    },
}

impl<'a> Authorization<'a> {
    /// `None` for another scheme, or a Basic that cannot be read.
    pub fn parse(header: &'a str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer(rest))
        } else if scheme.eq_ignore_ascii_case("basic") && rest.len() <= MAX_BASIC_BYTES {
            let decoded = String::from_utf8(STANDARD_PAD_INDIFFERENT.decode(rest).ok()?).ok()?;
            // A secret may hold colons, a key id may not (protocol.md T11).
            let (id, secret) = decoded.split_once(':')?;
            Some(Self::Basic { id: id.to_owned(), secret: secret.to_owned() })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// protocol.md T11 and 1.4: passwords with colons and UTF-8, empty Basic, padding or not, any case of the scheme.
    #[test]
    fn t11_basic() {
        let key = |id: &str, secret: &str| Some(Credentials::Key { id: id.into(), secret: secret.into() });
        for (header, expected) in [
            (None, Some(Credentials::Nobody)),
            (Some("Basic Og=="), Some(Credentials::Nobody)),
            (Some("Basic Og"), Some(Credentials::Nobody)),
            (Some("basic  dTpwOnE="), key("u", "p:q")),
            (Some("BASIC dTrDpA=="), key("u", "ä")),
            (Some("Basic dTo="), key("u", "")),
            (Some("Basic OnA="), key("", "p")),
            (Some("Basic dQ=="), None),
            (Some("Basic"), None),
            (Some("Basic dTr/"), None),
            (Some("Basic !!"), None),
            (Some("Bearer x"), None),
            (Some("Negotiate abc"), None),
            (Some(""), None),
        ] {
            assert_eq!(Credentials::from_header(header), expected, "{header:?}");
        }
        let long = format!("Basic {}", "A".repeat(MAX_BASIC_BYTES + 4));
        assert_eq!(Credentials::from_header(Some(&long)), None);
    }

    /// What is logged by accident holds no secret.
    #[test]
    fn debug_shows_no_secret() {
        let shown = [Credentials::password("id".into(), "hush".into()), Credentials::Refresh("hush".into())];
        assert!(!format!("{shown:?}").contains("hush"));
    }
}
