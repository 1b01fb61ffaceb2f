//! Uploads into an object store: parts of one size as they fill, and the short tail as an object of its own, so that
//! whatever was acknowledged can be continued by any node, and a blob below one part never is written twice.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutPayload, multipart::PartId, path::Path};
use roadstead_model::Digest;
use tokio::task::JoinHandle;

use super::{
    Objects,
    failure::{reading, storing},
    path,
};
use crate::{
    BlobError, FinishError, Finished, MemoryShare, MemoryUse, Stored, UploadState,
    buffer::{BUFFER_BYTES, Buffer, memory_of},
    hashing::{Hashes, hash},
    state::{Multipart, Tail},
};

/// How much of a part a sender has to send before the memory of the whole part is taken for it.
const FIRST_BYTES: u64 = BUFFER_BYTES as u64;

/// More parts than this no store takes.
const PARTS: u64 = 10_000;

/// Part sizes that are chosen for large blobs are whole MiB.
const MEBIBYTE: u64 = 1 << 20;

/// Fewer bytes than this are hashed sooner than another thread could be asked to.
const HASH_INLINE: usize = 16 << 10;

/// The writer of one request. What `state` says is durable at any time; `part` and `segment` hold what comes after the
/// last stored part, the bytes of the tail object included once they are needed.
pub(crate) struct ObjectAppender {
    objects: Arc<Objects>,
    state: UploadState,
    part_bytes: u64,
    /// How many bytes the request still promises.
    remaining: Option<u64>,
    offset: u64,
    part: Vec<Bytes>,
    segment: Option<Buffer>,
    gathered: u64,
    /// The tail object holds bytes that `part` lacks.
    tail_stored_only: bool,
    /// Memory for as many bytes of the part as it says.
    share: Option<(MemoryShare, u64)>,
    hashing: Hashing,
    superseded: Vec<String>,
    to_save: bool,
}

enum Hashing {
    Idle(Hashes),
    Running(JoinHandle<Result<Hashes, BlobError>>),
    Lost,
}

impl ObjectAppender {
    pub(crate) async fn open(
        objects: &Arc<Objects>,
        mut state: UploadState,
        remaining: Option<u64>,
    ) -> Result<Self, BlobError> {
        path(&state.key)?;
        let stored = state.multipart.as_ref().map_or(0, Multipart::stored);
        let stored = stored.saturating_add(state.tail.as_ref().map_or(0, |tail| tail.bytes));
        if stored != state.offset {
            return Err(BlobError::Internal(format!(
                "an upload at {} has {stored} bytes in this bucket",
                state.offset
            )));
        }
        // Named by the state that is saved already, so deleted already.
        state.superseded.clear();
        let known = match state.hashes.clone() {
            Some(hashes) => Some(hashes),
            None if state.multipart.is_some() => {
                tracing::warn!(key = state.key, "an upload has an unknown hash state and parts that cannot be read");
                return Err(BlobError::Missing);
            }
            None => None,
        };
        let hash_again = known.is_none();
        let mut appender = Self {
            objects: Arc::clone(objects),
            part_bytes: part_bytes(&state, remaining, objects.part_bytes),
            remaining,
            offset: state.offset,
            part: Vec::new(),
            segment: None,
            gathered: 0,
            tail_stored_only: state.tail.is_some(),
            share: None,
            hashing: Hashing::Idle(known.unwrap_or_else(|| Hashes::new(state.announced))),
            superseded: Vec::new(),
            to_save: false,
            state,
        };
        if hash_again {
            appender.load_tail().await?;
            let mut hashes = appender.hashes().await?.clone();
            let part = appender.part.clone();
            let hashed = tokio::task::spawn_blocking(move || {
                part.iter().for_each(|bytes| hashes.update(bytes));
                hashes
            });
            appender.hashing = Hashing::Idle(hashed.await.map_err(|error| BlobError::Internal(error.to_string()))?);
        }
        Ok(appender)
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) async fn write(&mut self, mut chunk: &[u8]) -> Result<(), BlobError> {
        while !chunk.is_empty() {
            self.load_tail().await?;
            if self.gathered == self.part_bytes {
                self.store_part().await?;
            }
            self.take_share(self.gathered + 1, self.gathered).await?;
            let room = usize::try_from(self.part_bytes - self.gathered).unwrap_or(usize::MAX);
            let expected =
                self.remaining.map_or(usize::MAX, |bytes| usize::try_from(bytes.max(1)).unwrap_or(usize::MAX));
            // A sender may send more than it said; it has not taken memory for that yet.
            let shared = self.share.as_ref().map_or(0, |(_, bytes)| bytes.saturating_sub(self.gathered));
            let chunk_now = &chunk[..chunk.len().min(usize::try_from(shared).unwrap_or(usize::MAX))];
            let pool = &self.objects.pool;
            let segment = self.segment.get_or_insert_with(|| pool.buffer(room.min(expected)));
            let limit = segment.filled().len().saturating_add(room);
            let taken = segment.fill(chunk_now, limit);
            let full = segment.filled().len() == segment.capacity();
            chunk = &chunk[taken..];
            self.gathered += taken as u64;
            self.offset += taken as u64;
            self.remaining = self.remaining.map(|bytes| bytes.saturating_sub(taken as u64));
            if full || self.gathered == self.part_bytes {
                self.hash_segment().await?;
            }
        }
        Ok(())
    }

    pub(crate) fn checkpoint(&mut self) -> Option<UploadState> {
        self.to_save.then(|| self.give_state())
    }

    pub(crate) async fn flush(&mut self) -> Result<UploadState, BlobError> {
        if self.offset > self.state.offset {
            if self.gathered == self.part_bytes {
                self.store_part().await?;
            } else {
                self.store_tail().await?;
            }
        }
        Ok(self.give_state())
    }

    pub(crate) async fn finish(mut self, expected: &Digest) -> Result<Finished, FinishError> {
        self.settle().await?;
        let hashed = self.hashes().await?.digest(expected.algorithm());
        if let Some(actual) = hashed.filter(|actual| actual != expected) {
            return Err(FinishError::Mismatch { actual });
        }
        let key = self.publish(expected).await?;
        let size = self.offset;
        if hashed.is_none() {
            let actual = self.read_back(&key, size, expected).await?;
            // The object goes with the upload: only who holds that knows that nobody has made a blob of it meanwhile.
            if actual != *expected {
                return Err(FinishError::Mismatch { actual });
            }
        }
        Ok(Finished { stored: Stored::Object(key), size, superseded: self.superseded })
    }

    /// Makes one object of all the bytes; its key.
    async fn publish(&mut self, expected: &Digest) -> Result<String, BlobError> {
        let key = self.state.key.clone();
        if self.state.multipart.is_some() {
            self.load_tail().await?;
            if !self.complete(&path(&key)?).await? {
                self.must_be_ours(&key, expected).await?;
            }
        } else {
            if let Some(tail) = self.state.tail.as_ref().filter(|tail| tail.bytes == self.offset) {
                return Ok(tail.key.clone());
            }
            if !self.objects.put(&key, self.payload(), PutMode::Create).await? {
                self.must_be_ours(&key, expected).await?;
            }
        }
        self.superseded.extend(self.state.tail.take().map(|tail| tail.key));
        Ok(key)
    }

    /// Adds the last part and completes the multipart upload. False: the store no longer knows the upload.
    async fn complete(&mut self, target: &Path) -> Result<bool, BlobError> {
        let Some(multipart) = self.state.multipart.clone() else { return Ok(true) };
        let done = async {
            let mut parts: Vec<_> = multipart.parts.into_iter().map(|content_id| PartId { content_id }).collect();
            if self.gathered > 0 {
                let last = self.objects.store.put_part(target, &multipart.id, parts.len(), self.payload());
                parts.push(self.objects.within(last, reading).await?);
            }
            let completed = self.objects.store.complete_multipart(target, &multipart.id, parts);
            self.objects.within(completed, reading).await
        };
        match done.await {
            Ok(_) => Ok(true),
            Err(BlobError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// There is an object under the key. With the right bytes it is that of an earlier attempt whose answer was lost; with others
    /// it is that of a node thought dead or of its successor, and must be neither taken for ours nor written over.
    async fn must_be_ours(&self, key: &str, expected: &Digest) -> Result<(), BlobError> {
        let alike = self.objects.size(key).await? == Some(self.offset)
            && self.read_back(key, self.offset, expected).await? == *expected;
        if alike { Ok(()) } else { Err(BlobError::Missing) }
    }

    async fn store_part(&mut self) -> Result<(), BlobError> {
        self.settle().await?;
        let target = path(&self.state.key)?;
        let (store, part_bytes) = (Arc::clone(&self.objects.store), self.part_bytes);
        if self.state.multipart.is_none() {
            let id = self.objects.within(store.create_multipart(&target), storing).await?;
            self.state.multipart = Some(Multipart { id, part_bytes, parts: Vec::new() });
        }
        let payload = self.payload();
        let hashes = self.hashes().await?.clone();
        let Some(multipart) = &mut self.state.multipart else { return Ok(()) };
        let index = multipart.parts.len();
        if index as u64 >= PARTS {
            let most = PARTS * part_bytes;
            let words = format!("a blob above {most} bytes can only be pushed by a client that says its length first");
            return Err(BlobError::Refused(words));
        }
        let stored = store.put_part(&target, &multipart.id, index, payload);
        multipart.parts.push(self.objects.within(stored, reading).await?.content_id);
        self.state.offset = multipart.stored();
        self.state.hashes = Some(hashes);
        self.superseded.extend(self.state.tail.take().map(|tail| tail.key));
        self.part.clear();
        self.gathered = 0;
        self.share = None;
        self.to_save = true;
        Ok(())
    }

    /// Stores what does not fill a part under a key of its own. A key is never written twice, so that nothing a node
    /// thought dead still does can change what its successor relies on.
    async fn store_tail(&mut self) -> Result<(), BlobError> {
        self.settle().await?;
        // That of the claim can be told by the next one if this process dies before the state is saved.
        let key = self.state.tail_key.take().unwrap_or_else(|| self.objects.keys.fresh());
        self.objects.put(&key, self.payload(), PutMode::Create).await?;
        let tail = Tail { key, bytes: self.gathered };
        self.superseded.extend(self.state.tail.replace(tail).map(|tail| tail.key));
        self.state.offset = self.offset;
        self.state.hashes = Some(self.hashes().await?.clone());
        Ok(())
    }

    fn payload(&self) -> PutPayload {
        self.part.iter().cloned().collect()
    }

    /// Fetches the bytes of the tail object, without which no part can be filled.
    async fn load_tail(&mut self) -> Result<(), BlobError> {
        let Some(tail) = self.state.tail.clone().filter(|_| self.tail_stored_only) else { return Ok(()) };
        self.take_share(tail.bytes, tail.bytes).await?;
        let target = path(&tail.key)?;
        let mut stream = self.objects.within(self.objects.store.get(&target), reading).await?.into_stream();
        let mut left = tail.bytes;
        let mut buffer: Option<Buffer> = None;
        while let Some(bytes) = self.objects.within(stream.try_next(), reading).await? {
            let mut bytes = &bytes[..];
            left = left.checked_sub(bytes.len() as u64).ok_or(BlobError::Missing)?;
            while !bytes.is_empty() {
                let target = buffer.get_or_insert_with(|| self.objects.pool.buffer(BUFFER_BYTES));
                bytes = &bytes[target.fill(bytes, BUFFER_BYTES)..];
                if target.filled().len() == target.capacity() {
                    self.part.extend(buffer.take().map(Buffer::into_bytes));
                }
            }
        }
        if left > 0 {
            return Err(BlobError::Unavailable(
                "the object store gave less than the whole tail of an upload".to_owned(),
            ));
        }
        self.part.extend(buffer.map(Buffer::into_bytes));
        self.gathered = tail.bytes;
        self.tail_stored_only = false;
        Ok(())
    }

    /// Takes the memory that `needed` bytes of the part need, before the last of them is kept: a little for the first bytes,
    /// then at once that of a whole part, or of what is left to come after the `kept` bytes.
    async fn take_share(&mut self, needed: u64, kept: u64) -> Result<(), BlobError> {
        if self.share.as_ref().is_some_and(|(_, bytes)| needed <= *bytes) {
            return Ok(());
        }
        // Who sends more than it said is taken for one that said nothing.
        let said = self.remaining.map(|bytes| bytes.saturating_add(kept)).filter(|bytes| *bytes >= needed);
        let coming = said.unwrap_or(self.part_bytes).min(self.part_bytes).max(needed);
        let (purpose, bytes) = match needed <= FIRST_BYTES {
            true => (MemoryUse::Starting, coming.min(FIRST_BYTES)),
            false => (MemoryUse::Writing, coming),
        };
        // Only from the first bytes to the whole part may one share be held while another is waited for.
        let starting = |(_, bytes): &(MemoryShare, u64)| *bytes <= FIRST_BYTES && purpose == MemoryUse::Writing;
        self.share = self.share.take().filter(starting);
        let memory = match purpose {
            MemoryUse::Starting => memory_of(usize::try_from(bytes).unwrap_or(usize::MAX)),
            _ => bytes.next_multiple_of(FIRST_BYTES),
        };
        self.share = Some((self.objects.budget.take(purpose, memory).await?, bytes));
        Ok(())
    }

    /// Has the segment hashed while the next one is gathered.
    async fn hash_segment(&mut self) -> Result<(), BlobError> {
        let Some(segment) = self.segment.take() else { return Ok(()) };
        self.hashes().await?;
        let Hashing::Idle(mut hashes) = std::mem::replace(&mut self.hashing, Hashing::Lost) else {
            return Err(BlobError::Internal("the hashes are gone".to_owned()));
        };
        let segment = segment.into_bytes();
        self.part.push(segment.clone());
        self.hashing = if segment.len() <= HASH_INLINE {
            hashes.update(&segment);
            Hashing::Idle(hashes)
        } else {
            Hashing::Running(tokio::spawn(hash(hashes, vec![segment])))
        };
        Ok(())
    }

    /// The hashes of all segments that were given to hash, as soon as they are made.
    async fn hashes(&mut self) -> Result<&Hashes, BlobError> {
        if let Hashing::Running(running) = &mut self.hashing {
            let joined = running.await;
            self.hashing = Hashing::Lost;
            self.hashing = Hashing::Idle(joined.map_err(|error| BlobError::Internal(error.to_string()))??);
        }
        match &self.hashing {
            Hashing::Idle(hashes) => Ok(hashes),
            _ => Err(BlobError::Internal("the hashes are gone".to_owned())),
        }
    }

    /// Afterwards all bytes are hashed and in `part`.
    async fn settle(&mut self) -> Result<(), BlobError> {
        self.hash_segment().await?;
        self.hashes().await.map(|_| ())
    }

    async fn read_back(&self, key: &str, size: u64, expected: &Digest) -> Result<Digest, BlobError> {
        let mut hashes = Hashes::only(expected.algorithm());
        if size > 0 {
            let target = path(key)?;
            let mut stream = self.objects.within(self.objects.store.get(&target), reading).await?.into_stream();
            while let Some(bytes) = self.objects.within(stream.try_next(), reading).await? {
                let hashed = tokio::task::spawn_blocking(move || {
                    hashes.update(&bytes);
                    hashes
                });
                hashes = hashed.await.map_err(|error| BlobError::Internal(error.to_string()))?;
            }
        }
        hashes
            .digest(expected.algorithm())
            .ok_or_else(|| BlobError::Internal("hashed with another algorithm".to_owned()))
    }

    /// The state to save; each superseded object is named once.
    fn give_state(&mut self) -> UploadState {
        self.to_save = false;
        UploadState { superseded: std::mem::take(&mut self.superseded), ..self.state.clone() }
    }
}

/// The size of the parts of this upload: fixed by its first part, until then as large as 10,000 of them need to be.
fn part_bytes(state: &UploadState, remaining: Option<u64>, configured: u64) -> u64 {
    if let Some(multipart) = &state.multipart {
        return multipart.part_bytes.max(1);
    }
    let whole = state.offset.saturating_add(remaining.unwrap_or(0));
    let needed = whole.div_ceil(PARTS);
    let tail = state.tail.as_ref().map_or(0, |tail| tail.bytes.saturating_add(1));
    let least = needed.max(tail);
    if least <= configured { configured } else { least.div_ceil(MEBIBYTE) * MEBIBYTE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_only_when_ten_thousand_would_not_do() {
        let state = UploadState::new("k".repeat(32), None);
        let size = |remaining| part_bytes(&state, remaining, 16 * MEBIBYTE);
        assert_eq!(size(None), 16 * MEBIBYTE);
        assert_eq!(size(Some(160_000 * MEBIBYTE)), 16 * MEBIBYTE);
        assert_eq!(size(Some(160_000 * MEBIBYTE + 1)), 17 * MEBIBYTE);
        assert_eq!(size(Some(5 << 40)), 525 * MEBIBYTE);
        let mut begun = state.clone();
        begun.multipart = Some(Multipart { id: "id".into(), part_bytes: 5 * MEBIBYTE, parts: vec![] });
        assert_eq!(part_bytes(&begun, Some(5 << 40), 16 * MEBIBYTE), 5 * MEBIBYTE);
    }

    #[test]
    fn a_tail_that_would_fill_a_newly_configured_part_still_fits() {
        let mut state = UploadState::new("k".repeat(32), None);
        state.offset = 6 * MEBIBYTE;
        state.tail = Some(Tail { key: "t".into(), bytes: 6 * MEBIBYTE });
        assert_eq!(part_bytes(&state, None, 5 * MEBIBYTE), 7 * MEBIBYTE);
    }
}
