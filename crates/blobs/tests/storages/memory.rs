//! The memory that bodies hold: little while little is sent or read, and nobody waits for it for ever.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use http_body::Body as _;
use roadstead_blobs::{BlobError, Bucket, ByteBody, MemoryBudget, MemoryUse, UploadState};
use roadstead_model::{Algorithm, Digest};

use crate::kinds::{Kind, PART_BYTES, collect, content, directory, directory_within, kinds, kinds_within, s3};

fn begin(bucket: &Bucket) -> UploadState {
    UploadState::new(bucket.fresh_key(), None)
}

async fn store(bucket: &Bucket, whole: &Bytes) -> String {
    let mut appender = bucket.append(begin(bucket), Some(whole.len() as u64)).await.expect("begun");
    appender.write(whole.clone()).await.expect("written");
    appender.finish(&Digest::of(Algorithm::Sha256, whole)).await.expect("finished").key().expect("an object").to_owned()
}

fn used(kind: &Kind) -> u64 {
    kind.budget.total() - kind.budget.free()
}

async fn next(body: &mut ByteBody) -> Result<Bytes, BlobError> {
    let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    Ok(frame.expect("a frame")?.into_data().expect("data"))
}

#[tokio::test]
async fn an_upload_waits_while_the_memory_budget_is_used_up() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let whole = kind.budget.take(MemoryUse::Starting, kind.budget.total()).await.expect("free");
        let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
        let mut writing = Box::pin(appender.write(Bytes::from_static(b"abc")));
        assert!(futures::poll!(&mut writing).is_pending());
        drop(whole);
        writing.await.expect("written");
        assert!(used(&kind) > 0);
        drop(appender);
        assert_eq!(used(&kind), 0);
    }
}

#[tokio::test]
async fn a_sender_of_few_bytes_holds_little_memory() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let (first, then) = if bucket.is_shared() { (256 << 10, PART_BYTES) } else { (64 << 10, 128 << 10) };
        let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
        appender.write(Bytes::from_static(b"a")).await.expect("written");
        assert_eq!(used(&kind), first);
        appender.write(content(usize::try_from(first).expect("a small number"))).await.expect("written");
        assert!((then..then + first).contains(&used(&kind)), "{} of {}", used(&kind), bucket.kind_name());
    }
}

/// Alone, as a ninth, and among more than 64, who takes the room of a fast one, of a slow one, or the least; what it sends is stored all the same.
#[tokio::test]
async fn an_upload_holds_less_in_a_crowd_and_more_when_that_is_gone() {
    let kind = directory().await;
    let bucket = &kind.bucket;
    let open = || bucket.append(begin(bucket), None);
    let (mut whole, mut others) = (Vec::new(), Vec::new());
    let mut upload = open().await.expect("begun");
    for (crowd, expected) in [(1, 2 << 20), (8, 2 << 20), (9, 128 << 10), (65, 64 << 10), (9, 128 << 10), (1, 2 << 20)]
    {
        others.truncate(crowd - 1);
        while others.len() < crowd - 1 {
            others.push(open().await.expect("begun"));
        }
        // More than two batches of the room before: they are written with what that was. No whole pages, so that the next begin in one.
        let bytes = content(3_000_001);
        upload.write(bytes.clone()).await.expect("written");
        whole.extend_from_slice(&bytes);
        assert_eq!(used(&kind), expected, "one of {crowd}");
    }
    let digest = Digest::of(Algorithm::Sha256, &whole);
    let finished = upload.finish(&digest).await.expect("finished");
    assert_eq!(finished.size, whole.len() as u64);
    assert_eq!(used(&kind), 0);
    let body = bucket.read(finished.key().expect("an object"), 0..finished.size).await.expect("found");
    assert!(collect(body).await.expect("read") == whole);
}

#[tokio::test]
async fn a_blob_of_a_few_bytes_holds_no_more_than_it_needs() {
    for kind in kinds().await {
        let mut appender = kind.bucket.append(begin(&kind.bucket), Some(5000)).await.expect("begun");
        appender.write(content(5000)).await.expect("written");
        assert_eq!(used(&kind), 8192);
    }
}

/// Each of them needs more than there is, once all have begun.
#[tokio::test]
async fn many_uploads_through_little_memory_all_get_through() {
    for kind in kinds_within(MemoryBudget::new(2), MemoryBudget::new(8)).await {
        let whole = content(usize::try_from(PART_BYTES).expect("a small number") + 300_000);
        let digest = Digest::of(Algorithm::Sha256, &whole);
        let upload = async || {
            let mut appender = kind.bucket.append(begin(&kind.bucket), None).await.expect("begun");
            for at in (0..whole.len()).step_by(50_000) {
                appender.write(whole.slice(at..whole.len().min(at + 50_000))).await.expect("written");
                tokio::task::yield_now().await;
            }
            appender.finish(&digest).await.expect("finished")
        };
        let mut uploads: FuturesUnordered<_> = (0..12).map(|_| upload()).collect();
        while let Some(finished) = uploads.next().await {
            assert_eq!(finished.size, whole.len() as u64);
        }
        assert_eq!(used(&kind), 0);
    }
}

#[tokio::test]
async fn used_up_memory_is_told_and_pulls_go_on_where_pushes_cannot() {
    let budget = || MemoryBudget::new(32).with_patience(Duration::from_millis(50));
    for kind in kinds_within(budget(), budget()).await {
        let bucket = &kind.bucket;
        let whole = content(300_000);
        let key = store(bucket, &whole).await;
        let _starting = kind.budget.take(MemoryUse::Starting, u64::MAX).await.expect("free");
        let _writing = kind.budget.take(MemoryUse::Writing, u64::MAX).await.expect("free");
        let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
        let refused = appender.write(Bytes::from_static(b"abc")).await;
        assert!(matches!(&refused, Err(BlobError::NoMemory)), "{refused:?}");
        let body = bucket.read(&key, 0..300_000).await.expect("found");
        assert_eq!(collect(body).await.expect("read"), whole);

        let _reading = kind.budget.take(MemoryUse::Reading, u64::MAX).await.expect("free");
        let read = async { collect(bucket.read(&key, 0..300_000).await?).await };
        assert!(matches!(read.await, Err(BlobError::NoMemory)));
    }
}

#[tokio::test]
async fn a_download_holds_a_buffer_of_the_budget_only_as_long_as_its_bytes() {
    let kind = directory().await;
    let key = store(&kind.bucket, &content(1_000_000)).await;
    let mut body = kind.bucket.read(&key, 0..1_000_000).await.expect("found");
    let bytes = next(&mut body).await.expect("read");
    assert_eq!(used(&kind), 256 << 10);
    drop(bytes);
    assert_eq!(used(&kind), 0);
}

/// As many readers that take nothing as would need four times what there is.
#[tokio::test]
async fn readers_that_take_nothing_leave_room_for_one_that_does() {
    let kind = directory_within(MemoryBudget::new(32).with_patience(Duration::from_millis(50))).await;
    let whole = content(1_000_000);
    let key = store(&kind.bucket, &whole).await;
    let mut stuck = Vec::new();
    for _ in 0..256 {
        let mut body = kind.bucket.read(&key, 0..1_000_000).await.expect("found");
        stuck.push((next(&mut body).await.expect("read"), body));
    }
    let body = kind.bucket.read(&key, 0..1_000_000).await.expect("found");
    assert_eq!(collect(body).await.expect("read"), whole);
}

#[tokio::test]
async fn a_download_from_a_store_is_handed_out_no_faster_than_it_is_taken() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let whole = content(2_000_000);
    let key = store(&kind.bucket, &whole).await;
    let mut body = kind.bucket.read(&key, 0..2_000_000).await.expect("found");
    assert_eq!(used(&kind), 576 << 10);
    let mut read = Vec::new();
    let (first, second) = (next(&mut body).await.expect("read"), next(&mut body).await.expect("read"));
    assert!(first.len() <= 64 << 10 && second.len() <= 64 << 10);
    assert!(futures::poll!(Box::pin(next(&mut body))).is_pending());
    read.extend_from_slice(&first);
    read.extend_from_slice(&second);
    drop(body);
    assert_eq!(used(&kind), 576 << 10, "what was handed out still holds memory");
    drop((first, second));
    assert_eq!(used(&kind), 0);
    assert_eq!(read, whole[..read.len()]);
}

#[tokio::test]
async fn a_node_without_memory_finds_nothing_wrong_with_a_bucket() {
    let hurried = || MemoryBudget::new(64).with_patience(Duration::from_millis(1));
    for kind in kinds_within(hurried(), hurried()).await {
        let _whole = kind.budget.take(MemoryUse::Starting, kind.budget.total()).await.expect("free");
        assert_eq!(kind.bucket.check().await, Err(BlobError::NoMemory));
    }
}
