//! SHA-256 of a stream (FIPS 180-4) whose midstate can be saved, and which can be hashed together with another one.

use roadstead_machine::sha256::{Block, State, compress, compress_both};

const BLOCK: usize = size_of::<Block>();

/// The state before the first block (FIPS 180-4, 5.3.3).
const FIRST: State = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// A saved midstate has the form that `sha2` gives its own, as earlier versions saved it: state, whole blocks taken in, how many bytes of a block are
/// there, and those, zeros behind them; numbers with the lowest byte first.
pub(super) const SAVED: usize = size_of::<State>() + size_of::<u64>() + BLOCK;

/// What is known of a stream after so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sha256 {
    state: State,
    /// Bytes taken in.
    length: u64,
    /// Those that are not a whole block yet, at the beginning; the others are of no meaning.
    rest: Block,
}

impl Sha256 {
    pub(super) fn new() -> Self {
        Self { state: FIRST, length: 0, rest: [0; BLOCK] }
    }

    /// Takes the next bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.begin(bytes).as_chunks();
        compress(&mut self.state, blocks);
        self.keep(rest);
    }

    /// Takes the next bytes of two streams in, in less time than one after the other.
    pub(super) fn update_both([one, two]: [&mut Self; 2], [ones, twos]: [&[u8]; 2]) {
        let ((ones, ones_rest), (twos, twos_rest)) = (one.begin(ones).as_chunks(), two.begin(twos).as_chunks());
        compress_both([&mut one.state, &mut two.state], [ones, twos]);
        one.keep(ones_rest);
        two.keep(twos_rest);
    }

    /// Counts the bytes, and fills the block that was begun: what is left of them begins a block, or is nothing.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let begun = self.begun();
        self.length += bytes.len() as u64;
        if begun == 0 {
            return bytes;
        }
        let (filling, left) = bytes.split_at(bytes.len().min(BLOCK - begun));
        self.rest[begun..begun + filling.len()].copy_from_slice(filling);
        if begun + filling.len() == BLOCK {
            compress(&mut self.state, &[self.rest]);
        }
        left
    }

    /// What is less than a block: to be called with what [`Self::begin`] left, so nothing is begun where there is something.
    fn keep(&mut self, rest: &[u8]) {
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// How many bytes of a block are there.
    fn begun(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// The hash of all bytes so far.
    pub(super) fn hash(&self) -> [u8; 32] {
        let (mut state, begun) = (self.state, self.begun());
        // A one, zeros, and the length in bits, so that whole blocks come out (FIPS 180-4, 5.1.1).
        let mut last = [[0; BLOCK]; 2];
        last[0][..begun].copy_from_slice(&self.rest[..begun]);
        last[0][begun] = 0x80;
        let count = if begun < BLOCK - size_of::<u64>() { 1 } else { 2 };
        last[count - 1][BLOCK - size_of::<u64>()..].copy_from_slice(&(self.length << 3).to_be_bytes());
        compress(&mut state, &last[..count]);
        bytes_of(state)
    }

    pub(super) fn save(&self) -> [u8; SAVED] {
        let (mut saved, begun) = ([0; SAVED], self.begun());
        for (four, word) in saved.as_chunks_mut().0.iter_mut().zip(self.state) {
            *four = word.to_le_bytes();
        }
        saved[32..40].copy_from_slice(&(self.length / BLOCK as u64).to_le_bytes());
        // Less than a block, so one byte says how many.
        saved[40] = begun as u8;
        saved[41..][..begun].copy_from_slice(&self.rest[..begun]);
        saved
    }

    /// `None`: nothing that was saved looks like this.
    pub(super) fn load(saved: &[u8; SAVED]) -> Option<Self> {
        let (mut state, mut blocks, mut rest) = (FIRST, [0; 8], [0; BLOCK]);
        for (word, four) in state.iter_mut().zip(saved.as_chunks().0) {
            *word = u32::from_le_bytes(*four);
        }
        blocks.copy_from_slice(&saved[32..40]);
        let begun = usize::from(saved[40]);
        let (kept, zeros) = saved[41..].split_at_checked(begun)?;
        if begun >= BLOCK || zeros.iter().any(|byte| *byte != 0) {
            return None;
        }
        rest[..begun].copy_from_slice(kept);
        let length = u64::from_le_bytes(blocks).checked_mul(BLOCK as u64)?.checked_add(begun as u64)?;
        Some(Self { state, length, rest })
    }
}

fn bytes_of(state: State) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (four, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roadstead_model::{Algorithm, Digest};
    use sha2::{Digest as _, digest::common::hazmat::SerializableState as _};

    use super::*;

    fn expect(stream: &Sha256, bytes: &[u8]) {
        assert_eq!(stream.hash(), Digest::of(Algorithm::Sha256, bytes).hash());
    }

    proptest! {
        /// Cut anywhere, saved in between, alone or beside another one: it is the hash of the bytes.
        #[test]
        fn a_stream_has_the_hash_of_its_bytes(
            ones in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
            twos in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        ) {
            let (mut alone, mut one, mut two) = (Sha256::new(), Sha256::new(), Sha256::new());
            for number in 0..ones.len().max(twos.len()) {
                let [of_one, of_two] = [&ones, &twos].map(|all| all.get(number).map_or(&[][..], Vec::as_slice));
                Sha256::update_both([&mut one, &mut two], [of_one, of_two]);
                alone.update(of_one);
                alone = Sha256::load(&alone.save()).expect("just saved");
                two = Sha256::load(&two.save()).expect("just saved");
            }
            expect(&alone, &ones.concat());
            expect(&one, &ones.concat());
            expect(&two, &twos.concat());
        }
    }

    #[test]
    fn the_end_of_a_block_is_padded_right() {
        for length in 0..200 {
            let bytes = vec![0xa5; length];
            let mut stream = Sha256::new();
            stream.update(&bytes);
            expect(&stream, &bytes);
        }
    }

    /// Nodes of an earlier version, whose hasher was the library's, go on with an upload of ours, and we with theirs.
    #[test]
    fn a_midstate_is_the_one_of_the_library() {
        for length in 0..200 {
            let bytes = vec![0x5a; length];
            let (mut ours, mut theirs) = (Sha256::new(), sha2::Sha256::new());
            ours.update(&bytes);
            theirs.update(&bytes);
            assert_eq!(ours.save()[..], theirs.serialize()[..], "{length} bytes");
        }
        let mut saved = Sha256::new().save();
        saved[40] = 64;
        assert_eq!(Sha256::load(&saved), None);
        (saved[40], saved[50]) = (3, 1);
        assert_eq!(Sha256::load(&saved), None);
    }
}
