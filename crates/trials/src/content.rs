//! Bytes that need not be kept: made again from a seed when they are compared.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

/// The source of all randomness of a trial: the same seed makes the same choices.
pub type Random = Xoshiro256PlusPlus;

/// A source from a seed.
pub fn random(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

/// The bytes of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Made from a seed, so many.
    Seeded {
        /// The seed.
        seed: u64,
        /// How many bytes.
        size: usize,
    },
    /// As they stand: configurations of images.
    Literal(Arc<Vec<u8>>),
}

impl Content {
    /// How many bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Seeded { size, .. } => *size,
            Self::Literal(bytes) => bytes.len(),
        }
    }

    /// All of them.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Seeded { seed, size } => {
                let mut random = random(*seed);
                let mut bytes = vec![0; *size];
                for part in bytes.chunks_mut(8) {
                    part.copy_from_slice(&random.next_u64().to_le_bytes()[..part.len()]);
                }
                bytes
            }
            Self::Literal(bytes) => bytes.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_bytes_again_and_another_seed_others() {
        let content = |seed| Content::Seeded { seed, size: 1001 }.bytes();
        assert_eq!(content(7).len(), 1001);
        assert_eq!(content(7), content(7));
        assert_ne!(content(7), content(8));
    }
}
