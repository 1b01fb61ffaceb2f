//! The bytes of one file: as programs see them, and as they are on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::{RngExt, rngs::StdRng};

/// What the kernel writes back at once, in bytes.
const PAGE: usize = 4096;
/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

type Page = [u8; PAGE];

/// One state of a file. A page that is not there is zeros; what lies beyond the size is zeros too.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    size: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

/// Both states of a file. They share the pages that are the same.
#[derive(Clone, Default)]
pub(super) struct Content {
    live: Bytes,
    durable: Bytes,
    /// Pages that may differ between the two.
    dirty: BTreeSet<u64>,
}

/// What a power cut leaves of what was written to a file and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing of it.
    Lost,
    /// All of it: the kernel had written it back already.
    Kept,
    /// Some pages, some of them torn between two sectors, and any size between the two.
    Torn,
    /// The new size, with zeros where the disk holds no bytes yet.
    Zeros,
}

impl Content {
    /// Bytes from `offset` on, fewer at the end of the file.
    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        self.live.read(offset, length)
    }

    pub(super) fn size(&self) -> u64 {
        self.live.size
    }

    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut at = offset;
        while !bytes.is_empty() {
            let (page, within) = place(at);
            let taken = bytes.len().min(PAGE - within);
            let target = self.live.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(target)[within..within + taken].copy_from_slice(&bytes[..taken]);
            self.dirty.insert(page);
            at += taken as u64;
            bytes = &bytes[taken..];
        }
        self.live.size = self.live.size.max(at);
    }

    pub(super) fn set_size(&mut self, size: u64) {
        self.dirty.extend(self.live.set_size(size));
    }

    /// Everything that was written is on the disk from now on.
    pub(super) fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            match self.live.pages.get(&page) {
                Some(bytes) => self.durable.pages.insert(page, Arc::clone(bytes)),
                None => self.durable.pages.remove(&page),
            };
        }
        self.durable.size = self.live.size;
    }

    /// What the kernel does at any time without being asked: one page of those that wait goes to the disk as it is now.
    pub(super) fn write_back_one(&mut self, random: &mut StdRng) {
        let Some(highest) = self.dirty.last() else { return };
        let from = random.random_range(0..=*highest);
        let Some(page) = self.dirty.range(from..).next() else { return };
        if let Some(bytes) = self.live.pages.get(page) {
            self.durable.pages.insert(*page, Arc::clone(bytes));
            self.durable.size = self.durable.size.max(self.live.size.min((page + 1) * PAGE as u64));
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.dirty.is_empty() && self.live.size == self.durable.size
    }

    /// The file after a power cut, and what became of what was not synced.
    pub(super) fn survive(&self, random: &mut StdRng) -> (Self, Option<Fate>) {
        let fate = match random.random_range(0..100) {
            _ if self.is_synced() => return (Self::on_disk(self.durable.clone()), None),
            0..30 => Fate::Lost,
            30..45 => Fate::Kept,
            45..85 => Fate::Torn,
            _ => Fate::Zeros,
        };
        let bytes = match fate {
            Fate::Lost => self.durable.clone(),
            Fate::Kept => self.live.clone(),
            Fate::Torn => self.torn(random),
            Fate::Zeros => {
                let mut bytes = self.durable.clone();
                let _ = bytes.set_size(self.live.size);
                bytes
            }
        };
        (Self::on_disk(bytes), Some(fate))
    }

    fn torn(&self, random: &mut StdRng) -> Bytes {
        let (small, large) = (self.durable.size.min(self.live.size), self.durable.size.max(self.live.size));
        let size = match random.random_range(0..4) {
            0 => self.durable.size,
            1 => self.live.size,
            _ => (random.random_range(small..=large) / SECTOR as u64 * SECTOR as u64).max(small),
        };
        let mut bytes = self.durable.clone();
        for page in &self.dirty {
            let Some(new) = self.live.pages.get(page) else { continue };
            match random.random_range(0..3) {
                0 => {}
                1 => {
                    bytes.pages.insert(*page, Arc::clone(new));
                }
                _ => {
                    let old = bytes.pages.entry(*page).or_insert_with(|| Arc::new([0; PAGE]));
                    let sectors = Arc::make_mut(old).chunks_mut(SECTOR).zip(new.chunks(SECTOR));
                    sectors.filter(|_| random.random()).for_each(|(old, new)| old.copy_from_slice(new));
                }
            }
        }
        // Cut to the size from above: what a page holds beyond it is not in the file.
        bytes.size = u64::MAX;
        let _ = bytes.set_size(size);
        bytes
    }

    fn on_disk(bytes: Bytes) -> Self {
        Self { live: bytes.clone(), durable: bytes, dirty: BTreeSet::new() }
    }
}

impl Bytes {
    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let (page, within) = place(offset + bytes.len() as u64);
            let taken = (length - bytes.len()).min(PAGE - within);
            match self.pages.get(&page) {
                Some(page) => bytes.extend_from_slice(&page[within..within + taken]),
                None => bytes.resize(bytes.len() + taken, 0),
            }
        }
        bytes
    }

    /// The pages that this changed.
    fn set_size(&mut self, size: u64) -> Vec<u64> {
        let mut changed = Vec::new();
        if size < self.size {
            let (last, within) = place(size);
            changed.extend(self.pages.split_off(&(last + u64::from(within > 0))).into_keys());
            if let Some(page) = self.pages.get_mut(&last) {
                Arc::make_mut(page)[within..].fill(0);
                changed.push(last);
            }
        }
        self.size = size;
        changed
    }
}

/// Number of the page that holds a position, and the position in it.
fn place(offset: u64) -> (u64, usize) {
    let within = usize::try_from(offset % PAGE as u64).unwrap_or(0);
    (offset / PAGE as u64, within)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn fates(content: &Content) -> Vec<(Vec<u8>, Option<Fate>)> {
        let mut random = StdRng::seed_from_u64(7);
        let mut fates = || {
            let (left, fate) = content.survive(&mut random);
            (left.read(0, 1 << 20), fate)
        };
        (0..400).map(|_| fates()).collect()
    }

    #[test]
    fn what_was_synced_survives_every_cut_and_what_was_not_may_be_lost_torn_or_zeros() {
        let mut content = Content::default();
        content.write(0, &[1; 10_000]);
        content.sync();
        assert!(fates(&content).iter().all(|(bytes, fate)| fate.is_none() && *bytes == vec![1; 10_000]));

        content.write(5_000, &[2; 10_000]);
        let fates = fates(&content);
        for wanted in [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Zeros] {
            assert!(fates.iter().any(|(_, fate)| *fate == Some(wanted)), "{wanted:?} never happens");
        }
        for (bytes, fate) in fates {
            // The page that the write touched may be old or new; the one before it was synced and not written again.
            assert!((10_000..=15_000).contains(&bytes.len()) && bytes[..4096].iter().all(|byte| *byte == 1));
            match fate {
                Some(Fate::Lost) => assert_eq!(bytes, vec![1; 10_000]),
                Some(Fate::Kept) => assert!(bytes[..5_000] == [1; 5_000] && bytes[5_000..] == [2; 10_000]),
                Some(Fate::Zeros) => assert!(bytes[..10_000] == [1; 10_000] && bytes[10_000..] == [0; 5_000]),
                Some(Fate::Torn) => {
                    let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
                    assert!(bytes[5_120..9_728].chunks(SECTOR).all(whole), "torn inside a sector");
                }
                None => panic!("it was not synced"),
            }
        }
    }

    #[test]
    fn bytes_that_were_cut_off_do_not_come_back_when_the_file_grows() {
        let mut content = Content::default();
        content.write(0, &[1; 9_000]);
        content.set_size(100);
        content.write(8_999, &[3]);
        assert!(content.read(0, 100) == [1; 100] && content.read(100, 8_899) == [0; 8_899]);
        content.sync();
        assert!(fates(&content).iter().all(|(bytes, _)| bytes.len() == 9_000 && bytes[100..8_999] == [0; 8_899]));
    }

    #[test]
    fn a_page_may_be_on_the_disk_without_being_asked_for() {
        let mut content = Content::default();
        content.write(0, &[1; 4096]);
        let mut random = StdRng::seed_from_u64(1);
        content.write_back_one(&mut random);
        content.write(0, &[2; 4096]);
        let (left, _) = loop {
            let (left, fate) = content.survive(&mut random);
            if fate == Some(Fate::Lost) {
                break (left, fate);
            }
        };
        assert_eq!(left.read(0, 4096), [1; 4096]);
    }
}
