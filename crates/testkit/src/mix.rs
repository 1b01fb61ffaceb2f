//! The realistic mix of requests (architecture.md 3): how large its blobs are, and how popular what is stored is.

use rand::{Rng, RngExt};

const MIB: f64 = 1048576.0;

/// Size of a blob in bytes: 65 % up to 1 MiB, 15 % to 10 MiB, 15 % to 100 MiB, 5 % to 1 GiB. Of one class every order of magnitude is as
/// likely as another.
pub fn blob_size(random: &mut impl Rng) -> u64 {
    let (least, most) = match random.random_range(0..100) {
        0..65 => (1024.0, MIB),
        65..80 => (MIB, 10.0 * MIB),
        80..95 => (10.0 * MIB, 100.0 * MIB),
        _ => (100.0 * MIB, 1024.0 * MIB),
    };
    let size: f64 = random.random_range(f64::ln(least)..f64::ln(most));
    size.exp() as u64
}

/// A number below `count` by Zipf's law with exponent 1: the n-th is asked for 1/n as often as the first. `None` of none.
pub fn popular(random: &mut impl Rng, count: usize) -> Option<usize> {
    let weights = || (1..=count).map(|rank| 1.0 / rank as f64);
    let mut chosen = random.random_range(0.0..=1.0) * weights().sum::<f64>();
    let rank = weights().position(|weight| {
        chosen -= weight;
        chosen < 0.0
    });
    // Rounding may leave a little after the last.
    rank.or(count.checked_sub(1))
}
