//! Two streams hashed with SHA-256 (FIPS 180-4) at once. One stream alone leaves the processor's unit for it idle every other moment, since each
//! round waits for the one before: two take about a fifth less than one after the other.

/// The eight words between two blocks.
pub type State = [u32; 8];

/// What a state takes in at once.
pub type Block = [u8; 64];

/// Takes blocks into a state.
pub fn compress(state: &mut State, blocks: &[Block]) {
    sha2::block_api::compress256(state, blocks);
}

/// Takes blocks of two streams into their states, as [`compress`] does with each.
pub fn compress_both(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    let together = together(states, blocks);
    for (state, blocks) in together.0.into_iter().zip(together.1) {
        compress(state, blocks);
    }
}

type Rest<'a> = ([&'a mut State; 2], [&'a [Block]; 2]);

/// What is left when as many of them as both have were taken in.
#[cfg(target_arch = "x86_64")]
fn together<'a>([one, two]: [&'a mut State; 2], [ones, twos]: [&'a [Block]; 2]) -> Rest<'a> {
    if !(is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")) {
        return ([one, two], [ones, twos]);
    }
    let both = ones.len().min(twos.len());
    let ((ones, more_ones), (twos, more_twos)) = (ones.split_at(both), twos.split_at(both));
    // SAFETY: The processor has what the function is compiled for, as was looked up just now; all else in it is safe code.
    #[expect(unsafe_code, reason = "the processor is known only when the program runs")]
    unsafe {
        x86::compress_both([one, two], [ones, twos]);
    }
    ([one, two], [more_ones, more_twos])
}

#[cfg(not(target_arch = "x86_64"))]
fn together<'a>(states: [&'a mut State; 2], blocks: [&'a [Block]; 2]) -> Rest<'a> {
    (states, blocks)
}

/// With the instructions for SHA of x86 (Intel's "SHA Extensions"): they keep the state as the words a, b, e, f and c, d, g, h, and do two rounds each.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
        _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::{Block, State};

    /// The constants of the rounds, sixteen by sixteen (FIPS 180-4, 4.2.2).
    const ROUNDS: [[[u32; 4]; 4]; 4] = [
        [
            [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
            [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
            [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
            [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        ],
        [
            [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
            [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
            [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
            [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        ],
        [
            [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
            [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
            [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
            [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        ],
        [
            [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
            [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
            [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
            [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
        ],
    ];

    /// The bytes of a block are words with the highest byte first.
    const TURNED: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

    /// As many blocks of each.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn compress_both(states: [&mut State; 2], blocks: [&[Block]; 2]) {
        let [one, two] = states;
        let (mut first, mut second) = (Lane::load(one), Lane::load(two));
        for (ones, twos) in blocks[0].iter().zip(blocks[1]) {
            let before = (first, second);
            let (mut w, mut v) = (words(ones), words(twos));
            let [constants, later @ ..] = &ROUNDS;
            for place in 0..4 {
                first.four_rounds(w[place], &constants[place]);
                second.four_rounds(v[place], &constants[place]);
            }
            for constants in later {
                for place in 0..4 {
                    schedule(&mut w, place);
                    schedule(&mut v, place);
                    first.four_rounds(w[place], &constants[place]);
                    second.four_rounds(v[place], &constants[place]);
                }
            }
            first.add(before.0);
            second.add(before.1);
        }
        first.store(one);
        second.store(two);
    }

    /// The state of one stream.
    #[derive(Clone, Copy)]
    struct Lane {
        abef: __m128i,
        cdgh: __m128i,
    }

    impl Lane {
        fn load([a, b, c, d, e, f, g, h]: &State) -> Self {
            Self { abef: bytemuck::cast([*f, *e, *b, *a]), cdgh: bytemuck::cast([*h, *g, *d, *c]) }
        }

        fn store(self, state: &mut State) {
            let [[f, e, b, a], [h, g, d, c]]: [[u32; 4]; 2] = [bytemuck::cast(self.abef), bytemuck::cast(self.cdgh)];
            *state = [a, b, c, d, e, f, g, h];
        }

        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn four_rounds(&mut self, words: __m128i, constants: &[u32; 4]) {
            let input = _mm_add_epi32(words, bytemuck::cast(*constants));
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, input);
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0b00_00_11_10>(input));
        }

        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn add(&mut self, before: Self) {
            self.abef = _mm_add_epi32(self.abef, before.abef);
            self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
        }
    }

    /// The first 16 words of a block.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn words(block: &Block) -> [__m128i; 4] {
        let turned = bytemuck::cast(TURNED);
        let [a, b, c, d]: [__m128i; 4] = bytemuck::pod_read_unaligned(block);
        // No closure: it would not be part of this function, which alone may use the instructions directly.
        [
            _mm_shuffle_epi8(a, turned),
            _mm_shuffle_epi8(b, turned),
            _mm_shuffle_epi8(c, turned),
            _mm_shuffle_epi8(d, turned),
        ]
    }

    /// The next four words in the place of the oldest ones (FIPS 180-4, 6.2.2).
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn schedule(w: &mut [__m128i; 4], place: usize) {
        let [oldest, second, third, newest] = [w[place], w[(place + 1) % 4], w[(place + 2) % 4], w[(place + 3) % 4]];
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, second), _mm_alignr_epi8::<4>(newest, third));
        w[place] = _mm_sha256msg2_epu32(sum, newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look like chance.
    fn blocks(count: usize, mut seed: u32) -> Vec<Block> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        (0..count).map(|_| std::array::from_fn(|_| next())).collect()
    }

    #[test]
    fn two_at_once_are_what_each_is_by_itself() {
        for (ones, twos) in [(0, 0), (0, 3), (1, 1), (2, 1), (5, 17), (64, 64)] {
            let (ones, twos) = (blocks(ones, 1), blocks(twos, 2));
            let mut both: [State; 2] = [[7; 8], [0x6a09e667, 1, 2, 3, 4, 5, 6, u32::MAX]];
            let mut each = both;
            let [one, two] = &mut both;
            compress_both([one, two], [&ones, &twos]);
            compress(&mut each[0], &ones);
            compress(&mut each[1], &twos);
            assert_eq!(both, each);
        }
    }
}
