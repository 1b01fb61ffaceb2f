//! Tries everything that a running service needs of a bucket, and says in an operator's words what fails.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use roadstead_model::{Algorithm, Digest, Reach};

use crate::{
    BlobError, Bucket, ByteBody, FinishError, UploadState,
    bucket::Storage,
    key,
    objects::{Objects, rules},
    one_line,
};

/// What is written beyond one part, so that the upload has parts and a tail.
const BEYOND: u64 = 100_000;

pub(crate) async fn check(bucket: &Bucket, key: &str) -> Result<Option<String>, BlobError> {
    let part_bytes = match &bucket.storage {
        Storage::Directory(_) => BEYOND,
        Storage::Objects(objects) => objects.part_bytes(),
    };
    let content = content(part_bytes + 2 * BEYOND);
    let mut state = UploadState::new(key.to_owned(), None);
    state.tail_key = Some(tail_key(key));
    let made = match &bucket.storage {
        Storage::Directory(directory) => directory.missing_folders(&state.key).await?,
        Storage::Objects(_) => Vec::new(),
    };
    let mut trial = Trial { bucket, content, cut: part_bytes + BEYOND, state, warning: None };
    let result = trial.run().await;
    let mut swept = bucket.abort(&trial.state).await;
    if let (Ok(()), Storage::Directory(directory)) = (&swept, &bucket.storage) {
        swept = directory.remove_empty(made).await;
    }
    result?;
    swept.map_err(|error| words("deleting an object", &error))?;
    conditional_put(bucket, &small_key(key)).await?;
    if let Storage::Objects(objects) = &bucket.storage
        && let Some(words) = rules::trouble(objects).await
    {
        return Err(refused(&words));
    }
    Ok(trial.warning)
}

/// Removes what a check under this key may have left.
pub(crate) async fn sweep(bucket: &Bucket, key: &str) -> Result<(), BlobError> {
    for key in [key, &tail_key(key), &small_key(key)] {
        bucket.delete(key).await.map_err(|error| words("deleting an object", &error))?;
    }
    Ok(())
}

fn tail_key(key: &str) -> String {
    key::derived(key, 1)
}

fn small_key(key: &str) -> String {
    format!("roadstead-check-{key}")
}

/// An upload in two requests, as far as it got.
struct Trial<'a> {
    bucket: &'a Bucket,
    content: Bytes,
    cut: u64,
    state: UploadState,
    /// What is no trouble but should be known.
    warning: Option<String>,
}

impl Trial<'_> {
    async fn run(&mut self) -> Result<(), BlobError> {
        let (cut, size) = (self.cut, self.content.len() as u64);
        let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let bucket = self.bucket;
        let mut first =
            bucket.append(self.state.clone(), None).await.map_err(|error| words("starting an upload", &error))?;
        first.write(self.content.slice(..at(cut))).await.map_err(|error| words("writing", &error))?;
        self.state = first.flush().await.map_err(|error| words("writing", &error))?;
        drop(first);
        if let Storage::Objects(objects) = &bucket.storage {
            self.warning = list_parts(objects, &self.state).await;
        }

        let saved = UploadState::from_text(&self.state.to_text())?;
        let what = "going on with an upload that another request began";
        let mut second = bucket.append(saved, Some(size - cut)).await.map_err(|error| words(what, &error))?;
        second.write(self.content.slice(at(cut)..)).await.map_err(|error| words(what, &error))?;
        let finished = second.finish(&Digest::of(Algorithm::Sha256, &self.content)).await;
        let finished = finished.map_err(|error| match error {
            FinishError::Blob(error) => words("finishing an upload", &error),
            FinishError::Mismatch { .. } => refused("finishing an upload: it was hashed to something else than it is"),
        })?;
        let key = finished.key().ok_or_else(|| refused("finishing an upload: it is no object"))?;
        self.read(key, size).await?;
        bucket.delete(key).await.map_err(|error| words("deleting an object", &error))?;
        match bucket.size(key).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(refused("deleting an object: it is still there afterwards")),
            Err(error) => Err(words("looking for a deleted object", &error)),
        }
    }

    async fn read(&self, key: &str, size: u64) -> Result<(), BlobError> {
        let found = self.bucket.size(key).await.map_err(|error| words("asking for an object's size", &error))?;
        if found != Some(size) {
            return Err(refused(&format!("an object of {size} bytes was stored, and then it has {found:?}")));
        }
        // Across the border of two parts, and the last bytes.
        for range in [self.cut - BEYOND - 10..self.cut - BEYOND + 10, self.cut - 10..self.cut + 10, size - 1..size] {
            let body = self.bucket.read(key, range.clone()).await.map_err(|error| words("reading a range", &error))?;
            let read = collect(body).await.map_err(|error| words("reading a range", &error))?;
            self.compare(&read, &range, "reading a range")?;
        }
        let signing = |error| words("signing an address", &error);
        let address = self.bucket.presign(key, Reach::Public).await.map_err(signing)?;
        let private = self.bucket.presign(key, Reach::Private).await.map_err(signing)?;
        if let Storage::Objects(objects) = &self.bucket.storage {
            for (address, settings) in [
                (address, "`signing_endpoint` and `redirect` decide"),
                (private, "inside the network; `private_signing_endpoint` decides"),
            ] {
                if let Some(address) = address {
                    self.follow(objects, &address, settings).await?;
                }
            }
        }
        Ok(())
    }

    /// Fetches a presigned address as a client would who is redirected to it.
    async fn follow(&self, objects: &Objects, address: &str, settings: &str) -> Result<(), BlobError> {
        let shown = address.split('?').next().unwrap_or_default();
        let what = format!("a presigned address ({shown}, as clients get it; {settings})");
        let range = 5..25;
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let unreachable = |error: reqwest::Error| {
            // The address stays out: whoever can read it can fetch the object.
            let error = error.without_url();
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            refused(&format!("{what} cannot be fetched: {error}{cause}"))
        };
        let answer =
            objects.http().get(address).header(http::header::RANGE, header).send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        match status {
            StatusCode::PARTIAL_CONTENT => self.compare(&body, &range, &what),
            StatusCode::OK => Err(refused(&format!("{what} ignores ranges"))),
            _ => {
                let said = one_line(&String::from_utf8_lossy(&body[..body.len().min(500)]));
                Err(refused(&format!("{what} is answered with {status}: {said}")))
            }
        }
    }

    fn compare(&self, read: &[u8], range: &Range<u64>, what: &str) -> Result<(), BlobError> {
        let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        match *read == self.content[at(range.start)..at(range.end)] {
            true => Ok(()),
            false => Err(refused(&format!("{what} gives other bytes than were written"))),
        }
    }
}

/// The service does not need it, but whoever looks for lost space does; so it is only said.
async fn list_parts(objects: &Objects, state: &UploadState) -> Option<String> {
    let listed = async {
        let Some(address) = objects.list_parts_address(state).await.ok()? else { return Some(true) };
        let answer = objects.http().get(address).send().await.ok()?;
        let listed = answer.status() == StatusCode::OK;
        Some(listed && answer.text().await.ok()?.contains("<PartNumber>1</PartNumber>"))
    };
    let words = "the object store does not let us list the parts of an unfinished upload; pushes work all the same";
    (listed.await != Some(true)).then(|| words.to_owned())
}

/// The mark that says whose bucket it is must be made by one of several nodes that start at once.
async fn conditional_put(bucket: &Bucket, key: &str) -> Result<(), BlobError> {
    let attempt = async {
        let first = bucket.put_small(key, Bytes::from_static(b"first"), true).await?;
        let second = bucket.put_small(key, Bytes::from_static(b"second"), true).await?;
        Ok((first, second, bucket.get_small(key).await?))
    };
    let result = attempt.await;
    let swept = bucket.delete(key).await;
    let what = "writing an object only if it is new (If-None-Match: *)";
    match result.map_err(|error: BlobError| words(what, &error))? {
        (true, false, Some(kept)) if kept == "first" => swept.map_err(|error| words("deleting an object", &error)),
        _ => Err(refused(&format!("{what}: the store does not heed the condition"))),
    }
}

/// A node without memory to spare can say nothing of a bucket.
fn words(what: &str, error: &BlobError) -> BlobError {
    if *error == BlobError::NoMemory {
        return BlobError::NoMemory;
    }
    refused(&format!("{what}: {}", one_line(&error.to_string())))
}

fn refused(words: &str) -> BlobError {
    BlobError::Refused(format!("the bucket does not do what is needed: {words}"))
}

async fn collect(mut body: ByteBody) -> Result<BytesMut, BlobError> {
    let mut read = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(bytes) = frame?.into_data() {
            read.extend_from_slice(&bytes);
        }
    }
    Ok(read)
}

/// Bytes that differ from place to place, so that a piece from the wrong place is noticed.
fn content(length: u64) -> Bytes {
    (0..length)
        .map(|position| (position ^ (position >> 8).wrapping_mul(31) ^ (position >> 16)).to_le_bytes()[0])
        .collect()
}
