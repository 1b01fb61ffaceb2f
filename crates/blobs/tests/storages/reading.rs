//! Bodies: exact lengths, ranges, and never a short one that looks whole.

use bytes::Bytes;
use http_body::Body as _;
use roadstead_blobs::{BlobError, Bucket, UploadState};
use roadstead_model::{Algorithm, Digest, Reach};

use crate::kinds::{collect, content, directory, kinds};

async fn store(bucket: &Bucket, whole: &Bytes) -> String {
    let state = UploadState::new(bucket.fresh_key(), None);
    let mut appender = bucket.append(state, Some(whole.len() as u64)).await.expect("begun");
    appender.write(whole.clone()).await.expect("written");
    appender.finish(&Digest::of(Algorithm::Sha256, whole)).await.expect("finished").key().expect("an object").to_owned()
}

#[tokio::test]
async fn a_range_is_read_exactly_and_its_length_is_known_before() {
    for kind in kinds().await {
        let whole = content(700_001);
        let key = store(&kind.bucket, &whole).await;
        for range in [0..700_001, 0..1, 4095..4097, 262_143..524_289, 700_000..700_001, 5..5] {
            let body = kind.bucket.read(&key, range.start as u64..range.end as u64).await.expect("found");
            assert_eq!(body.size_hint().exact(), Some(range.len() as u64));
            assert_eq!(collect(body).await.expect("read"), whole[range]);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    for kind in kinds().await {
        let key = kind.bucket.fresh_key();
        assert_eq!(kind.bucket.read(&key, 0..1).await.err(), Some(BlobError::Missing));
        assert_eq!(kind.bucket.size(&key).await, Ok(None));
        assert_eq!(kind.bucket.delete(&key).await, Ok(()));
        assert!(matches!(kind.bucket.read("../x", 0..1).await, Err(BlobError::Refused(_))));
    }
}

#[tokio::test]
async fn an_object_shorter_than_promised_is_an_error() {
    for kind in kinds().await {
        let key = store(&kind.bucket, &content(1000)).await;
        assert!(
            matches!(kind.bucket.read(&key, 0..1001).await, Err(BlobError::Internal(_))),
            "{}",
            kind.bucket.kind_name()
        );
    }
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_breaks_the_body() {
    let kind = directory().await;
    let key = store(&kind.bucket, &content(1_000_000)).await;
    let body = kind.bucket.read(&key, 0..1_000_000).await.expect("found");
    let folder = kind.folder.as_ref().expect("a directory").path().join("bucket/objects");
    let file = folder.join(&key[..2]).join(&key);
    std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(300_000)).expect("cut off");
    assert!(matches!(collect(body).await, Err(BlobError::Internal(_))));
}

#[tokio::test]
async fn a_directory_gives_no_addresses() {
    let kind = directory().await;
    assert_eq!(kind.bucket.presign(&kind.bucket.fresh_key(), Reach::Public).await, Ok(None));
    assert_eq!((kind.bucket.kind_name(), kind.bucket.is_shared()), ("directory", false));
}

/// A file stays open for those who ask for its next part, but no longer than its object is there.
#[tokio::test]
async fn a_deleted_file_is_not_kept_open() {
    let kind = directory().await;
    let key = store(&kind.bucket, &content(1000)).await;
    let reads = || async { kind.bucket.read(&key, 10..20).await };
    for _ in 0..2 {
        assert_eq!(collect(reads().await.expect("found")).await.expect("read"), content(1000)[10..20]);
    }
    let late = reads().await.expect("found");
    kind.bucket.delete(&key).await.expect("deleted");
    assert_eq!(reads().await.err(), Some(BlobError::Missing));
    assert_eq!(collect(late).await.expect("whoever began goes on"), content(1000)[10..20]);
    let open = std::fs::read_dir("/proc/self/fd").expect("listed").flatten();
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    assert!(!open.iter().any(|path| path.to_string_lossy().contains(&key)), "{open:?}");
}
