//! Object keys: fresh ones, and where a key lies in a bucket.

use std::{fmt, sync::Arc};

use roadstead_model::{Algorithm, Digest, digest::hex};

use crate::BlobError;

/// Where fresh object keys come from: 32 lower-case hexadecimal digits each, never twice the same.
#[derive(Clone)]
pub struct KeySource(Arc<dyn Fn() -> String + Send + Sync>);

impl KeySource {
    /// Keys from `source`, for tests that want to know them.
    pub fn new(source: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// A new key.
    pub fn fresh(&self) -> String {
        (self.0)()
    }
}

impl Default for KeySource {
    /// 128 random bits each.
    fn default() -> Self {
        Self::new(|| hex(&rand::random::<[u8; 16]>()))
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource")
    }
}

/// A key for the `number`th thing that belongs to `key`: whoever knows both can tell it, and it is never another one's.
pub(crate) fn derived(key: &str, number: i64) -> String {
    let digest = Digest::of(Algorithm::Sha256, format!("{key} {number}").as_bytes());
    hex(&digest.hash()[..16])
}

/// The path of `key` below the root of the bucket, on every kind of bucket: our own keys are spread over
/// `objects/ab/KEY`, any other key (of an adopted bucket, or the identity marker) is a path as it stands.
pub(crate) fn path_of(key: &str) -> Result<String, BlobError> {
    if is_own(key) {
        return Ok(format!("objects/{}/{key}", &key[..2]));
    }
    let plain = !key.is_empty()
        && key.len() <= 1024
        && !key.bytes().any(|byte| byte == 0 || byte == b'\\' || byte.is_ascii_control())
        && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain { Ok(key.to_owned()) } else { Err(BlobError::Refused(format!("{key:?} is no object key"))) }
}

/// Whether `key` has the form that [`KeySource`] makes.
pub(crate) fn is_own(key: &str) -> bool {
    key.len() == 32 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_are_spread_and_others_lie_where_they_lie() {
        assert_eq!(
            path_of("0123456789abcdef0123456789abcdef").as_deref(),
            Ok("objects/01/0123456789abcdef0123456789abcdef")
        );
        assert_eq!(
            path_of("docker/registry/v2/blobs/sha256/ab/abc/data").as_deref(),
            Ok("docker/registry/v2/blobs/sha256/ab/abc/data")
        );
        let fresh = KeySource::default();
        assert!(is_own(&fresh.fresh()) && fresh.fresh() != fresh.fresh());
    }

    #[test]
    fn no_key_leaves_the_bucket() {
        for bad in ["", "/etc/passwd", "..", "a/../b", "../a", "a//b", "a/", "./a", "a\0b", "a\\..\\b", "a\nb"] {
            assert!(matches!(path_of(bad), Err(BlobError::Refused(_))), "{bad:?}");
        }
    }
}
