//! Hashing of one stream with one algorithm.

use std::fmt;

use roadstead_model::{Algorithm, Digest};
use sha2::{Digest as _, Sha512, digest::common::hazmat::SerializableState};

use super::sha256::Sha256;

/// Hashes a stream with one algorithm; its midstate can be saved and taken up by another process (invariant 7).
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// A saved midstate cannot be read: hash the bytes again from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownState;

/// First byte of a saved midstate. It changes when the form does; an unknown one means hashing again.
const STATE_FORMAT: u8 = 1;

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// The algorithm it hashes with.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(stream) => stream.update(bytes),
            Self::Sha512(stream) => stream.update(bytes),
        }
    }

    /// Takes the next bytes of two streams in: together, where that takes less time.
    pub(super) fn update_both([one, two]: [&mut Self; 2], [ones, twos]: [&[u8]; 2]) {
        match (one, two) {
            (Self::Sha256(one), Self::Sha256(two)) => Sha256::update_both([one, two], [ones, twos]),
            (one, two) => {
                one.update(ones);
                two.update(twos);
            }
        }
    }

    /// The digest of all bytes so far; the hasher can go on afterwards.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Sha256(stream) => Digest::from_hash(Algorithm::Sha256, &stream.hash()),
            Self::Sha512(stream) => Digest::from_hash(Algorithm::Sha512, &stream.clone().finalize()),
        }
    }

    /// The midstate, with the form's number and the algorithm before it.
    pub(super) fn save(&self) -> Vec<u8> {
        let mut saved = vec![STATE_FORMAT, self.algorithm().code()];
        match self {
            Self::Sha256(stream) => saved.extend_from_slice(&stream.save()),
            Self::Sha512(stream) => saved.extend_from_slice(&stream.serialize()),
        }
        saved
    }

    /// Takes a saved midstate up again.
    pub(super) fn load(saved: &[u8]) -> Result<Self, UnknownState> {
        let [STATE_FORMAT, code, state @ ..] = saved else { return Err(UnknownState) };
        match Algorithm::from_code(*code).ok_or(UnknownState)? {
            Algorithm::Sha256 => {
                let state = state.try_into().map_err(|_| UnknownState)?;
                Sha256::load(state).map(Self::Sha256).ok_or(UnknownState)
            }
            Algorithm::Sha512 => {
                let state = state.try_into().map_err(|_| UnknownState)?;
                Sha512::deserialize(state).map(Self::Sha512).map_err(|_| UnknownState)
            }
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm().name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unknown_midstate_is_refused() {
        for unknown in [&[][..], &[9, 1, 2], &[1, 1, 0], &[1, 2, 0], &[1; 106], &[2; 1000]] {
            assert!(Hasher::load(unknown).is_err(), "{unknown:?}");
        }
    }

    proptest! {
        #[test]
        fn a_hash_goes_on_from_its_midstate(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0usize..600, long: bool) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let cut = cut.min(bytes.len());
            let mut first = Hasher::new(algorithm);
            first.update(&bytes[..cut]);
            let mut second = Hasher::load(&first.save()).expect("a state just saved");
            second.update(&bytes[cut..]);
            prop_assert_eq!(second.digest(), Digest::of(algorithm, &bytes));
            prop_assert_eq!(Digest::from_stored(&second.digest().to_stored()), Some(second.digest()));
        }
    }
}
