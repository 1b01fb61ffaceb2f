//! How much memory one upload works with: the more of them there are, the less. A few that are fast fill the disk, and so do many that are
//! not.

use std::sync::Arc;

use crate::buffer::{BUFFER_BYTES, memory_of};

/// What a sender holds of memory until it has sent as much.
pub(super) const FIRST_BYTES: usize = 64 << 10;

/// After so many bytes an upload may have the memory that makes it fast. Whoever comes at the same moment is counted by then.
const AMPLE_AFTER: u64 = 256 << 10;

/// So many uploads at once may have [`Room::Ample`] each, 16 MiB together, ...
const FEW: usize = 8;
/// ... and so many [`Room::Little`], 8 MiB together.
const MANY: usize = 64;

/// The memory that an upload works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A MiB that is gathered while as much is written, so that the hand-over costs little.
    Ample,
    /// A small buffer that is gathered while one is written.
    Little,
    /// One that is gathered, then written.
    Least,
}

impl Room {
    /// The size of one buffer.
    pub(super) fn unit(self) -> usize {
        if self == Self::Ample { BUFFER_BYTES } else { FIRST_BYTES }
    }

    /// Buffers that are handed to the blocking thread at once.
    pub(super) fn batch(self) -> usize {
        if self == Self::Ample { 4 } else { 1 }
    }

    /// Whether the next ones are gathered while those are written.
    pub(super) fn gathers_meanwhile(self) -> bool {
        self != Self::Least
    }

    /// Memory in bytes for buffers of `unit` bytes.
    pub(super) fn bytes(self, unit: usize) -> u64 {
        let batches = if self.gathers_meanwhile() { 2 } else { 1 };
        batches * self.batch() as u64 * memory_of(unit)
    }
}

/// The uploads of one directory that want more than [`FIRST_BYTES`].
#[derive(Default)]
pub(super) struct Uploads(Arc<()>);

/// One of them, for as long as this lives.
pub(super) struct Place(Arc<()>);

impl Uploads {
    pub(super) fn join(&self) -> Place {
        Place(Arc::clone(&self.0))
    }
}

impl Place {
    /// What there is for one of them that has sent so many bytes.
    pub(super) fn room(&self, sent: u64) -> Room {
        match Arc::strong_count(&self.0) - 1 {
            ..=FEW if sent >= AMPLE_AFTER => Room::Ample,
            ..=MANY => Room::Little,
            _ => Room::Least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_less_for_each_in_a_crowd_and_more_when_it_is_gone() {
        let uploads = Uploads::default();
        let first = uploads.join();
        assert_eq!((first.room(0), first.room(AMPLE_AFTER)), (Room::Little, Room::Ample));
        let mut others: Vec<_> = (1..FEW).map(|_| uploads.join()).collect();
        assert_eq!(first.room(AMPLE_AFTER), Room::Ample);
        others.push(uploads.join());
        assert_eq!(first.room(AMPLE_AFTER), Room::Little);
        others.extend((0..MANY).map(|_| uploads.join()));
        assert_eq!((first.room(0), first.room(AMPLE_AFTER)), (Room::Least, Room::Least));
        drop(others);
        assert_eq!(first.room(AMPLE_AFTER), Room::Ample);
    }

    #[test]
    fn each_room_takes_less_than_the_one_before() {
        let bytes = |room: Room| room.bytes(room.unit());
        assert_eq!([Room::Ample, Room::Little, Room::Least].map(bytes), [2 << 20, 128 << 10, 64 << 10]);
    }
}
