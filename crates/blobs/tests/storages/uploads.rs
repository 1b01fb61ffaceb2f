//! One upload: digests, empty blobs, repeats, aborts, what is lost and what is not.

use bytes::Bytes;
use roadstead_blobs::{BlobError, Bucket, FinishError, UploadState};
use roadstead_model::{Algorithm, Digest};

use crate::kinds::{PART_BYTES, collect, content, directory, key_of, kinds, read_all};

fn begin(bucket: &Bucket) -> UploadState {
    UploadState::new(bucket.fresh_key(), None)
}

fn reread(state: &UploadState) -> UploadState {
    UploadState::from_text(&state.to_text()).expect("its own text")
}

/// Several parts, and a tail.
fn large() -> Bytes {
    content(usize::try_from(PART_BYTES).expect("a small number") * 7 / 2)
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let digest = Digest::of(Algorithm::Sha256, b"");
        let finished =
            bucket.append(begin(bucket), Some(0)).await.expect("begun").finish(&digest).await.expect("finished");
        assert_eq!((finished.size, bucket.size(key_of(&finished)).await), (0, Ok(Some(0))));
        assert_eq!(collect(bucket.read(key_of(&finished), 0..0).await.expect("found")).await, Ok(vec![]));
        // The same with requests that carry nothing before it, and a digest that nobody announced.
        let state = bucket.append(begin(bucket), None).await.expect("begun").flush().await.expect("flushed");
        let digest = Digest::of(Algorithm::Sha512, b"");
        let finished =
            bucket.append(reread(&state), None).await.expect("gone on").finish(&digest).await.expect("finished");
        assert_eq!(bucket.size(key_of(&finished)).await, Ok(Some(0)));
    }
}

#[tokio::test]
async fn the_wrong_digest_publishes_nothing_and_the_upload_can_still_be_finished() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for whole in [Bytes::from_static(b"small"), large()] {
            let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
            appender.write(whole.clone()).await.expect("written");
            let state = appender.flush().await.expect("flushed");
            let wrong = Digest::of(Algorithm::Sha256, b"something else");
            let actual = Digest::of(Algorithm::Sha256, &whole);
            assert_eq!(appender.finish(&wrong).await, Err(FinishError::Mismatch { actual }));
            let appender = bucket.append(reread(&state), None).await.expect("gone on");
            let finished = appender.finish(&actual).await.expect("finished");
            assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), whole);
        }
    }
}

#[tokio::test]
async fn a_wrong_digest_that_was_not_announced_leaves_its_object_to_the_end_of_the_upload() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for whole in [Bytes::from_static(b"small"), large()] {
            let state = begin(bucket);
            let mut appender = bucket.append(state.clone(), None).await.expect("begun");
            appender.write(whole.clone()).await.expect("written");
            let wrong = Digest::of(Algorithm::Sha512, b"something else");
            let actual = Digest::of(Algorithm::Sha512, &whole);
            assert_eq!(appender.finish(&wrong).await, Err(FinishError::Mismatch { actual }));
            bucket.abort(&state).await.expect("aborted");
            assert_eq!(bucket.size(state.key()).await, Ok(None));
        }
    }
}

#[tokio::test]
async fn finishing_twice_is_harmless() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for (whole, flushed) in
            [(Bytes::from_static(b"small"), false), (Bytes::from_static(b"small"), true), (large(), true)]
        {
            let digest = Digest::of(Algorithm::Sha256, &whole);
            let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
            let mut state = reread(&begin(bucket));
            if flushed {
                appender.write(whole.clone()).await.expect("written");
                state = appender.flush().await.expect("flushed");
            }
            // The answer of the first is lost, so the client sends what it thinks is missing again.
            for _ in 0..2 {
                let mut appender = bucket.append(reread(&state), None).await.expect("gone on");
                if !flushed {
                    appender.write(whole.clone()).await.expect("written");
                }
                let finished = appender.finish(&digest).await.expect("finished");
                assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), whole);
            }
        }
    }
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing_and_cannot_be_continued() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for whole in [Bytes::from_static(b"small"), large()] {
            let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
            appender.write(whole.clone()).await.expect("written");
            let state = appender.flush().await.expect("flushed");
            drop(appender);
            bucket.abort(&state).await.expect("aborted");
            bucket.abort(&reread(&state)).await.expect("aborted once more");
            assert_eq!(bucket.size(state.key()).await, Ok(None));
            let more = async {
                let mut appender = bucket.append(reread(&state), None).await?;
                appender.write(whole.clone()).await?;
                appender.flush().await
            };
            assert_eq!(more.await.map(|state| state.offset()), Err(BlobError::Missing), "{}", bucket.kind_name());
        }
    }
}

#[tokio::test]
async fn an_unknown_hash_state_is_made_again_where_the_bytes_can_be_read() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for whole in [Bytes::from_static(b"small"), large()] {
            let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
            appender.write(whole.clone()).await.expect("written");
            let state = appender.flush().await.expect("flushed");
            drop(appender);
            let mut text: serde_json::Value = serde_json::from_str(&state.to_text()).expect("JSON");
            text["midstates"] = serde_json::json!(["ff01"]);
            let state = UploadState::from_text(&text.to_string()).expect("readable");
            match bucket.append(state, None).await {
                Ok(appender) => {
                    let finished = appender.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
                    assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), whole);
                }
                // Parts of an upload that is not complete cannot be read: the client has to begin again.
                Err(error) => assert!(error == BlobError::Missing && bucket.is_shared() && whole.len() > 5),
            }
        }
    }
}

#[tokio::test]
async fn bytes_beyond_the_acknowledged_offset_are_forgotten() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
        appender.write(Bytes::from_static(b"kept, ")).await.expect("written");
        let state = appender.flush().await.expect("flushed");
        appender.write(large()).await.expect("written");
        // Durable, but the state of it was never saved: the node died first.
        appender.flush().await.expect("flushed");
        drop(appender);
        let mut appender = bucket.append(reread(&state), None).await.expect("gone on");
        assert_eq!(appender.offset(), 6);
        appender.write(Bytes::from_static(b"then this")).await.expect("written");
        let digest = Digest::of(Algorithm::Sha256, b"kept, then this");
        let finished = appender.finish(&digest).await.expect("finished");
        assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), b"kept, then this");
    }
}

#[tokio::test]
async fn an_upload_into_a_directory_that_is_killed_goes_on_from_its_last_checkpoint() {
    const STEP: usize = 1 << 20;
    let kind = directory().await;
    let bucket = &kind.bucket;
    let whole = content(67 * STEP);
    let mut appender = bucket.append(begin(bucket), Some(whole.len() as u64)).await.expect("begun");
    let mut checkpoints = Vec::new();
    for at in (0..whole.len()).step_by(STEP) {
        appender.write(whole.slice(at..at + STEP)).await.expect("written");
        checkpoints.extend(appender.checkpoint());
    }
    drop(appender);
    let saved = reread(checkpoints.last().expect("something was durable before the end"));
    assert!((32 << 20..66 << 20).contains(&saved.offset()), "{}", saved.offset());
    let mut appender = bucket.append(saved, None).await.expect("gone on");
    let from = usize::try_from(appender.offset()).expect("a small number");
    appender.write(whole.slice(from..)).await.expect("written");
    let state = appender.flush().await.expect("flushed");
    assert_eq!(state.offset(), whole.len() as u64);
    assert!(appender.checkpoint().is_none(), "a checkpoint after a flush would be older than it");
    let finished = appender.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
    assert!(read_all(bucket, key_of(&finished)).await.expect("read") == whole);
}
