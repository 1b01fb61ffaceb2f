//! The hashes of an upload: made once while its bytes pass, their midstates kept with the upload.

mod hasher;
mod queue;
mod sha256;

use roadstead_model::{Algorithm, Digest};

use self::hasher::Hasher;
pub(crate) use self::queue::hash;

/// The hashers of one upload: always sha256, and sha512 when the client announced it. The default hashes nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashes(Vec<Hasher>);

impl Hashes {
    pub(crate) fn new(announced: Option<Algorithm>) -> Self {
        let mut hashers = vec![Hasher::new(Algorithm::Sha256)];
        hashers.extend(announced.filter(|algorithm| *algorithm != Algorithm::Sha256).map(Hasher::new));
        Self(hashers)
    }

    /// Hashing with one algorithm alone, to read an object back.
    pub(crate) fn only(algorithm: Algorithm) -> Self {
        Self(vec![Hasher::new(algorithm)])
    }

    /// Takes saved midstates up; `None` if one of them has a form that this program does not know.
    pub(crate) fn load<'a>(saved: impl IntoIterator<Item = &'a [u8]>, announced: Option<Algorithm>) -> Option<Self> {
        let hashers: Vec<_> = saved.into_iter().map(|state| Hasher::load(state).ok()).collect::<Option<_>>()?;
        let wanted = Self::new(announced);
        (hashers.iter().map(Hasher::algorithm).eq(wanted.0.iter().map(Hasher::algorithm))).then_some(Self(hashers))
    }

    pub(crate) fn save(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().map(Hasher::save)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.0 {
            hasher.update(bytes);
        }
    }

    /// The next bytes of two uploads.
    fn update_both([one, two]: [&mut Self; 2], [ones, twos]: [&[u8]; 2]) {
        let (mut of_one, mut of_two) = (one.0.iter_mut(), two.0.iter_mut());
        loop {
            match (of_one.next(), of_two.next()) {
                (Some(one), Some(two)) => Hasher::update_both([one, two], [ones, twos]),
                (Some(one), None) => one.update(ones),
                (None, Some(two)) => two.update(twos),
                (None, None) => return,
            }
        }
    }

    /// The digest of all bytes so far; `None` if they were not hashed with this algorithm.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        self.0.iter().find(|hasher| hasher.algorithm() == algorithm).map(Hasher::digest)
    }
}
