//! One upload: digests, empty blobs, repeats, aborts, what is lost and what is not.

use bytes::Bytes;
use roadstead_blobs::{BlobError, Bucket, FinishError, UploadState};
use roadstead_model::{Algorithm, Digest};

use crate::kinds::{PART_BYTES, collect, content, directory, kinds, read_all};

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
        assert_eq!((finished.size, bucket.size(&finished.key).await), (0, Ok(Some(0))));
        assert_eq!(collect(bucket.read(&finished.key, 0..0).await.expect("found")).await, Ok(vec![]));
        // The same with requests that carry nothing before it, and a digest that nobody announced.
        let state = bucket.append(begin(bucket), None).await.expect("begun").flush().await.expect("flushed");
        let digest = Digest::of(Algorithm::Sha512, b"");
        let finished =
            bucket.append(reread(&state), None).await.expect("gone on").finish(&digest).await.expect("finished");
        assert_eq!(bucket.size(&finished.key).await, Ok(Some(0)));
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
            assert_eq!(read_all(bucket, &finished.key).await.expect("read"), whole);
        }
    }
}

#[tokio::test]
async fn a_wrong_digest_that_was_not_announced_leaves_no_object() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        for whole in [Bytes::from_static(b"small"), large()] {
            let state = begin(bucket);
            let mut appender = bucket.append(state.clone(), None).await.expect("begun");
            appender.write(whole.clone()).await.expect("written");
            let wrong = Digest::of(Algorithm::Sha512, b"something else");
            let actual = Digest::of(Algorithm::Sha512, &whole);
            assert_eq!(appender.finish(&wrong).await, Err(FinishError::Mismatch { actual }));
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
                assert_eq!(read_all(bucket, &finished.key).await.expect("read"), whole);
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
                    assert_eq!(read_all(bucket, &finished.key).await.expect("read"), whole);
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
        assert_eq!(read_all(bucket, &finished.key).await.expect("read"), b"kept, then this");
    }
}

#[tokio::test]
async fn an_upload_waits_while_the_memory_budget_is_used_up() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let whole = kind.budget.take(kind.budget.total()).await;
        let mut appender = bucket.append(begin(bucket), None).await.expect("begun");
        let mut writing = Box::pin(appender.write(Bytes::from_static(b"abc")));
        assert!(futures::poll!(&mut writing).is_pending());
        drop(whole);
        writing.await.expect("written");
        assert!(kind.budget.free() < kind.budget.total());
        drop(appender);
        assert_eq!(kind.budget.free(), kind.budget.total());
    }
}

#[tokio::test]
async fn an_upload_whose_file_lost_acknowledged_bytes_has_to_begin_again() {
    let kind = directory().await;
    let mut appender = kind.bucket.append(begin(&kind.bucket), None).await.expect("begun");
    appender.write(Bytes::from_static(b"0123456789")).await.expect("written");
    let state = appender.flush().await.expect("flushed");
    drop(appender);
    let key = state.key();
    let folder = kind.folder.as_ref().expect("a directory").path().join("bucket/objects");
    let file = folder.join(&key[..2]).join(&key[2..4]).join(key);
    std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(9)).expect("cut off");
    assert_eq!(kind.bucket.append(state, None).await.err(), Some(BlobError::Missing));
}

#[tokio::test]
async fn an_algorithm_told_before_the_first_byte_saves_reading_again() {
    let kind = directory().await;
    let mut state = begin(&kind.bucket);
    state.announce(Algorithm::Sha512);
    let mut appender = kind.bucket.append(state, None).await.expect("begun");
    appender.write(Bytes::from_static(b"abc")).await.expect("written");
    let text: serde_json::Value =
        serde_json::from_str(&appender.flush().await.expect("flushed").to_text()).expect("JSON");
    assert_eq!(text["midstates"].as_array().map(Vec::len), Some(2));
    appender.finish(&Digest::of(Algorithm::Sha512, b"abc")).await.expect("finished");
}

/// A client that lost its connection comes back before the server noticed.
#[tokio::test]
async fn a_new_request_takes_the_upload_over_from_one_that_hangs() {
    let kind = directory().await;
    let mut hanging = kind.bucket.append(begin(&kind.bucket), None).await.expect("begun");
    hanging.write(Bytes::from_static(b"abc")).await.expect("written");
    let state = hanging.flush().await.expect("flushed");
    let mut newer = kind.bucket.append(reread(&state), None).await.expect("taken over");
    newer.write(Bytes::from_static(b"def")).await.expect("written");
    let state = newer.flush().await.expect("flushed");
    hanging.write(Bytes::from_static(b"xxxxxx")).await.expect("kept in memory");
    assert!(matches!(hanging.flush().await, Err(BlobError::Unavailable(_))));
    let digest = Digest::of(Algorithm::Sha256, b"abcdef");
    let finished = kind.bucket.append(state, None).await.expect("gone on").finish(&digest).await.expect("finished");
    assert_eq!(read_all(&kind.bucket, &finished.key).await.expect("read"), b"abcdef");
}
