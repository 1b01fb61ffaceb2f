//! Secrets at rest: AES-256-GCM under the installation's secret key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// The first byte of what is sealed: how the rest is laid out. 1 = nonce of 12 bytes, ciphertext, tag of 16 bytes.
const VERSION: u8 = 1;

/// Seals and opens small secrets. What is sealed under one name does not open under another.
pub(crate) struct Sealer(RandomizedNonceKey);

impl Sealer {
    pub(crate) fn new(secret_key: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, secret_key).expect("AES-256 takes any 32 bytes"))
    }

    pub(crate) fn seal(&self, name: &str, secret: &[u8]) -> Vec<u8> {
        let mut body = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut body)
            .expect("AES-GCM fails for messages of many gigabytes only");
        [&[VERSION], nonce.as_ref().as_slice(), &body].concat()
    }

    /// `None` when it was sealed with another secret key or under another name, or was changed since.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let body = sealed.strip_prefix(&[VERSION])?;
        let (nonce, body) = body.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        Some(self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut body).ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sealed opens with the same secret key and name only, and not after a change of any byte.
    #[test]
    fn opens_for_its_own_key_and_name_only() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("one", b"secret");
        assert_eq!(sealer.open("one", &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(sealer.open("two", &sealed), None);
        assert_eq!(Sealer::new(&[8; 32]).open("one", &sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(sealer.open("one", &changed), None, "byte {index}");
            assert_eq!(sealer.open("one", &sealed[..index]), None, "first {index} bytes");
        }
        assert_ne!(sealer.seal("one", b"secret"), sealed, "a nonce is not used twice");
    }
}
