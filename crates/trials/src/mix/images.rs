//! The images of the mix: how large, how popular, and what their bytes are.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::RngExt;
use roadstead_testkit::{
    content::{Manifest, hex, types},
    mix,
    server::REGISTRY,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::content::Random;

/// Repositories: few, and always the same.
const REPOSITORIES: u64 = 24;

/// Blob sizes in bytes: 65 % up to 1 MiB, 15 % to 10 MiB, 15 % to 100 MiB, 5 % to 1 GiB, all divided by the scale.
pub(super) struct Sizes {
    scale: u64,
}

impl Sizes {
    pub(super) fn new(scale: u64) -> Self {
        Self { scale: scale.max(1) }
    }

    fn choose(&self, random: &mut Random) -> u64 {
        (mix::blob_size(random) / self.scale).max(1)
    }
}

/// A blob, whose bytes can be made from any place on.
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    seed: u64,
    /// A configuration has the bytes that it has.
    literal: Option<Vec<u8>>,
}

impl Blob {
    fn literal(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), size: bytes.len() as u64, seed: 0, literal: Some(bytes) }
    }

    fn seeded(seed: u64, size: u64) -> Self {
        let mut blob = Self { digest: String::new(), size, seed, literal: None };
        blob.digest = digest(&blob.bytes(0..size));
        blob
    }

    /// Some of its bytes.
    pub(super) fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        if let Some(bytes) = &self.literal {
            return bytes[range.start as usize..range.end as usize].to_vec();
        }
        let blocks = range.start / 8..range.end.div_ceil(8);
        let bytes: Vec<u8> = blocks.clone().flat_map(|block| mixed(self.seed, block).to_le_bytes()).collect();
        let skipped = (range.start - blocks.start * 8) as usize;
        bytes[skipped..skipped + (range.end - range.start) as usize].to_vec()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// SplitMix64: the n-th number of a seed without those before it.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// An image under a tag of its own.
pub(super) struct Image {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) manifest: Manifest,
    pub(super) digest: String,
    /// Configuration first.
    pub(super) blobs: Vec<Blob>,
    /// Somebody deletes it: from now on it may be gone.
    leaving: AtomicBool,
}

impl Image {
    pub(super) fn new(random: &mut Random, sizes: &Sizes, tag: &str) -> Self {
        let config = json!({"architecture": "amd64", "os": "linux", "created_by": tag, "nonce": random.random::<u64>(),
            "rootfs": {"type": "layers", "diff_ids": []}});
        let layers = (0..random.random_range(1..=3)).map(|_| Blob::seeded(random.random(), sizes.choose(random)));
        let blobs: Vec<_> = std::iter::once(Blob::literal(config.to_string().into_bytes())).chain(layers).collect();
        let named =
            |media_type: &str, blob: &Blob| json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size});
        let layers: Vec<Value> = blobs[1..].iter().map(|blob| named(types::LAYER, blob)).collect();
        let manifest = Manifest::new(&json!({"schemaVersion": 2, "mediaType": types::MANIFEST,
            "config": named(types::CONFIG, &blobs[0]), "layers": layers}));
        Self {
            repository: format!("{REGISTRY}/team{}/app", random.random_range(0..REPOSITORIES)),
            tag: tag.to_owned(),
            digest: manifest.digest(),
            manifest,
            blobs,
            leaving: AtomicBool::new(false),
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// The images that are stored, the most popular first.
#[derive(Default)]
pub(super) struct Stock {
    images: Vec<Arc<Image>>,
    bytes: u64,
}

impl Stock {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A new image may become as popular as any other.
    pub(super) fn enter(&mut self, image: Arc<Image>, random: &mut Random) {
        self.bytes += image.bytes();
        self.images.push(image);
        let last = self.images.len() - 1;
        self.images.swap(random.random_range(0..=last), last);
    }

    /// An image by Zipf's law with exponent 1: the n-th is asked for 1/n as often as the first.
    pub(super) fn popular(&self, random: &mut Random) -> Option<Arc<Image>> {
        self.images.get(mix::popular(random, self.images.len())?).cloned()
    }

    /// Takes one out to be deleted.
    pub(super) fn take_any(&mut self, random: &mut Random) -> Option<Arc<Image>> {
        if self.images.is_empty() {
            return None;
        }
        let image = self.images.swap_remove(random.random_range(0..self.images.len()));
        self.bytes -= image.bytes();
        image.leaving.store(true, Ordering::SeqCst);
        Some(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::random;

    #[test]
    fn a_part_of_a_blob_is_the_part_of_its_whole() {
        let blob = Blob::seeded(7, 1003);
        let whole = blob.bytes(0..1003);
        assert_eq!(whole.len(), 1003);
        for (start, end) in [(0, 1), (5, 17), (8, 16), (1000, 1003), (3, 3)] {
            assert_eq!(blob.bytes(start..end), whole[start as usize..end as usize]);
        }
        assert_ne!(whole, Blob::seeded(8, 1003).bytes(0..1003));
    }

    #[test]
    fn sizes_are_those_of_the_mix() {
        let (mut random, sizes) = (random(1), Sizes::new(1));
        let chosen: Vec<u64> = (0..10_000).map(|_| sizes.choose(&mut random)).collect();
        let up_to = |most: u64| chosen.iter().filter(|size| **size <= most << 20).count();
        assert!((6300..6700).contains(&up_to(1)) && (9400..9600).contains(&up_to(100)), "{} {}", up_to(1), up_to(100));
        assert!(chosen.iter().all(|size| *size <= 1 << 30));
        assert!((0..1000).all(|_| Sizes::new(1 << 10).choose(&mut random) <= 1 << 20));
    }

    #[test]
    fn the_first_is_asked_for_twice_as_often_as_the_second() {
        let mut random = random(1);
        let mut stock = Stock::default();
        for number in 0..100 {
            let image = Image::new(&mut random, &Sizes::new(1 << 20), &number.to_string());
            stock.enter(Arc::new(image), &mut random);
        }
        let first = stock.images[0].tag.clone();
        let second = stock.images[1].tag.clone();
        let asked: Vec<String> = (0..20_000).filter_map(|_| Some(stock.popular(&mut random)?.tag.clone())).collect();
        let count = |tag: &str| asked.iter().filter(|it| *it == tag).count() as f64;
        let ratio = count(&first) / count(&second);
        assert!((1.7..2.3).contains(&ratio), "{ratio}");
        let before = stock.bytes();
        assert!(stock.take_any(&mut random).is_some_and(|image| image.is_leaving()) && stock.bytes() < before);
    }
}
