//! The keys of an issuer (RFC 7517), and which algorithms each of them is for.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// So many keys of an issuer are looked at.
const MOST_KEYS: usize = 100;

/// Public keys for checking signatures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// What it is for: never an algorithm with a shared secret, for which a public key would do.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The members of a key that we ask for.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// The keys of a set that are for signatures and of a kind that we know; the others are none of ours.
    ///
    /// # Errors
    /// In words, when it is no set of keys.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text).map_err(|error| format!("not a set of keys (JWKS): {error}"))?;
        let known = |value: Value| serde_json::from_value::<Written>(value).ok().as_ref().and_then(Key::of);
        Ok(Self(set.keys.into_iter().take(MOST_KEYS).filter_map(known).collect()))
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a key of this name; without a name, whether there is any.
    pub(crate) fn has(&self, id: Option<&str>) -> bool {
        self.0.iter().any(|key| id.is_none() || key.id.as_deref() == id)
    }

    /// The one key of this name that is for this algorithm; without a name, the only one that is for it.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut found = self
            .0
            .iter()
            .filter(|key| (id.is_none() || key.id.as_deref() == id) && key.algorithms.contains(&algorithm));
        let first = found.next()?;
        found.next().is_none().then_some(&first.key)
    }
}

impl Key {
    fn of(written: &Written) -> Option<Self> {
        if written.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (possible, key): (&[Algorithm], _) = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => {
                let key = DecodingKey::from_rsa_components(written.n.as_deref()?, written.e.as_deref()?);
                (&[Algorithm::RS256, Algorithm::PS256], key)
            }
            ("EC", Some("P-256")) => (&[Algorithm::ES256], of_curve(written)?),
            ("EC", Some("P-384")) => (&[Algorithm::ES384], of_curve(written)?),
            ("OKP", Some("Ed25519")) => (&[Algorithm::EdDSA], DecodingKey::from_ed_components(written.x.as_deref()?)),
            _ => return None,
        };
        let said = |algorithm: &&Algorithm| written.alg.as_deref().is_none_or(|alg| names(**algorithm).contains(&alg));
        let algorithms: Vec<_> = possible.iter().filter(said).copied().collect();
        (!algorithms.is_empty()).then_some(Self { id: written.kid.clone(), algorithms, key: key.ok()? })
    }
}

fn of_curve(written: &Written) -> Option<jsonwebtoken::errors::Result<DecodingKey>> {
    Some(DecodingKey::from_ec_components(written.x.as_deref()?, written.y.as_deref()?))
}

/// The names of an algorithm in a key (RFC 7518; RFC 9864 gave EdDSA a second one).
fn names(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::RS256 => &["RS256"],
        Algorithm::PS256 => &["PS256"],
        Algorithm::ES256 => &["ES256"],
        Algorithm::ES384 => &["ES384"],
        Algorithm::EdDSA => &["EdDSA", "Ed25519"],
        _ => &[],
    }
}
