//! Content digests: `sha256:...` and `sha512:...`.
//!
//! In the database a digest is one byte of algorithm followed by the hash; text only at the edges (schema rules).

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256, Sha512};

/// A hash function that a digest may name (protocol.md A3). Anything else is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`, 32 bytes.
    Sha256,
    /// `sha512`, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// A number for it that never changes and is never 0.
    pub fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The algorithm of a [`Self::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.code() == code)
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:hex`.
    #[error("a digest looks like sha256:<64 hexadecimal digits>")]
    Form,
    /// An algorithm that this registry does not know.
    #[error("this digest algorithm is not supported; sha256 and sha512 are")]
    Algorithm,
    /// The hash has the wrong length or letters other than `0-9a-f`.
    #[error("the hash of a sha256 digest has 64, of a sha512 digest 128 lower-case hexadecimal digits")]
    Hash,
}

/// Bytes of the longest hash.
const MAX_HASH_BYTES: usize = 64;

/// The name of some bytes by their hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hash: [u8; MAX_HASH_BYTES],
}

impl Digest {
    /// Bytes of the longest digest as text: `sha512:` and its digits.
    pub const MAX_TEXT_BYTES: usize = 7 + 2 * MAX_HASH_BYTES;

    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::from_hash(algorithm, &Sha256::digest(bytes)),
            Algorithm::Sha512 => Self::from_hash(algorithm, &Sha512::digest(bytes)),
        }
    }

    /// From the raw hash: what is missing of it is zeros, what is too much is cut.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        let mut padded = [0; MAX_HASH_BYTES];
        let length = hash.len().min(algorithm.size());
        padded[..length].copy_from_slice(&hash[..length]);
        Self { algorithm, hash: padded }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash, 32 or 64 bytes.
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.algorithm.size()]
    }

    /// The hash in lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(self.hash())
    }

    /// The form that is kept in the database: one byte of algorithm, then the hash.
    pub fn to_stored(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(1 + self.algorithm.size());
        stored.push(self.algorithm.code());
        stored.extend_from_slice(self.hash());
        stored
    }

    /// Reads [`Digest::to_stored`] back; `None` for bytes that it never makes.
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let (code, hash) = stored.split_first()?;
        let algorithm = Algorithm::from_code(*code)?;
        (hash.len() == algorithm.size()).then(|| Self::from_hash(algorithm, hash))
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm: Algorithm = algorithm.parse()?;
        let digits = digits.as_bytes();
        if digits.len() != 2 * algorithm.size() {
            return Err(DigestError::Hash);
        }
        let mut hash = [0; MAX_HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Ok(Self { algorithm, hash })
    }
}

fn digit(letter: u8) -> Result<u8, DigestError> {
    match letter {
        b'0'..=b'9' => Ok(letter - b'0'),
        b'a'..=b'f' => Ok(letter - b'a' + 10),
        _ => Err(DigestError::Hash),
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; 2 * bytes.len()];
    hex_into(bytes, &mut text);
    String::from_utf8(text).expect("digits are ASCII")
}

/// The same, in memory that is there: two bytes for each of `bytes`, as far as there is room.
pub fn hex_into<'t>(bytes: &[u8], text: &'t mut [u8]) -> &'t str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS[usize::from(half)];
    let end = text.len().min(2 * bytes.len());
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    str::from_utf8(&text[..end]).expect("digits are ASCII")
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(hex_into(self.hash(), &mut [0; 2 * MAX_HASH_BYTES]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_strictly() {
        let text = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(text.parse::<Digest>().map(|d| d.to_string()), Ok(text.to_owned()));
        assert_eq!(Digest::of(Algorithm::Sha256, b"{}").to_string(), text);
        for (bad, why) in [
            ("sha256", DigestError::Form),
            ("md5:44136fa355b3678a1146ad16f7e8649e", DigestError::Algorithm),
            ("sha256:44136FA355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", DigestError::Hash),
            ("sha256:totallywrong", DigestError::Hash),
            ("sha512:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", DigestError::Hash),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(why), "{bad}");
        }
    }
}
