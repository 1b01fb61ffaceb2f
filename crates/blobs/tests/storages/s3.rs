//! What only an object store does: parts, checkpoints, keys, addresses, failures.

use std::time::Duration;

use bytes::Bytes;
use roadstead_blobs::{
    BlobError, Bucket, BucketKind, BucketOptions, FinishError, MemoryBudget, S3Options, UploadState,
};
use roadstead_model::{Algorithm, Digest, Reach};
use roadstead_testkit::engines;

use crate::kinds::{PART_BYTES, content, key_of, read_all, s3, s3_options};

fn part() -> usize {
    usize::try_from(PART_BYTES).expect("a small number")
}

#[tokio::test]
async fn a_stored_part_asks_to_be_saved_and_another_node_goes_on_from_it() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    let whole = content(part() * 2 + 7);
    let mut appender = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
    appender.write(whole.slice(..part())).await.expect("written");
    assert!(appender.checkpoint().is_none(), "a part that may be the last one is not stored yet");
    appender.write(whole.slice(part()..part() + 1)).await.expect("written");
    let state = appender.checkpoint().expect("a part was stored");
    assert_eq!(state.offset(), PART_BYTES);
    assert!(appender.checkpoint().is_none());
    drop(appender);
    let mut other = bucket.append(state, None).await.expect("gone on");
    other.write(whole.slice(part()..)).await.expect("written");
    let finished = other.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
    assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), whole);
}

#[tokio::test]
async fn a_small_blob_is_its_tail_object_and_finishing_writes_nothing() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    let state = UploadState::new(bucket.fresh_key(), None);
    let fixed = state.key().to_owned();
    let mut appender = bucket.append(state, None).await.expect("begun");
    appender.write(Bytes::from_static(b"one ")).await.expect("written");
    let first = appender.flush().await.expect("flushed");
    let mut appender = bucket.append(first, None).await.expect("gone on");
    appender.write(Bytes::from_static(b"two")).await.expect("written");
    let second = appender.flush().await.expect("flushed");
    assert_eq!(second.superseded().len(), 1, "the first tail is no longer needed");
    let appender = bucket.append(second, None).await.expect("gone on");
    let finished = appender.finish(&Digest::of(Algorithm::Sha256, b"one two")).await.expect("finished");
    assert_ne!(key_of(&finished), fixed);
    assert_eq!(finished.superseded, Vec::<String>::new());
    assert_eq!(bucket.size(&fixed).await, Ok(None));
}

#[tokio::test]
async fn what_comes_in_one_go_lies_under_the_fixed_key() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    for length in [part() - 1, part(), part() + 1] {
        let state = UploadState::new(bucket.fresh_key(), None);
        let fixed = state.key().to_owned();
        let whole = content(length);
        let mut appender = bucket.append(state, Some(length as u64)).await.expect("begun");
        appender.write(whole.clone()).await.expect("written");
        let finished = appender.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
        assert_eq!((key_of(&finished), &finished.superseded[..]), (&fixed[..], &[][..]));
    }
}

#[tokio::test]
async fn a_tail_is_superseded_when_its_bytes_are_in_a_part() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    let whole = content(part() + 10);
    let mut appender = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
    appender.write(whole.slice(..20)).await.expect("written");
    let state = appender.flush().await.expect("flushed");
    assert_eq!(state.superseded(), &[] as &[String]);
    let mut appender = bucket.append(state, None).await.expect("gone on");
    appender.write(whole.slice(20..)).await.expect("written");
    let state = appender.checkpoint().expect("a part was stored");
    assert_eq!((state.offset(), state.superseded().len()), (PART_BYTES, 1));
    bucket.delete(&state.superseded()[0]).await.expect("deleted");
    let finished = appender.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
    assert_eq!(read_all(bucket, key_of(&finished)).await.expect("read"), whole);
}

/// Uploads with parts of the usual size work as well, and the address that clients are sent to gives their bytes.
#[tokio::test]
async fn parts_of_five_mebibytes_and_a_presigned_address() {
    let Some(kind) = s3(5 << 20).await else { return };
    let bucket = &kind.bucket;
    assert_eq!((bucket.kind_name(), bucket.is_shared()), ("s3", true));
    let whole = content((12 << 20) + 3);
    let mut appender = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
    for at in (0..whole.len()).step_by(300_000) {
        appender.write(whole.slice(at..whole.len().min(at + 300_000))).await.expect("written");
    }
    let finished = appender.finish(&Digest::of(Algorithm::Sha256, &whole)).await.expect("finished");
    let address = bucket.presign(key_of(&finished), Reach::Public).await.expect("signed").expect("redirects are on");
    let answer = reqwest::get(&address).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.expect("the body"), whole);
    let tampered = address.replace(key_of(&finished), &bucket.fresh_key());
    assert_eq!(reqwest::get(tampered).await.expect("an answer").status(), 403);
}

#[tokio::test]
async fn the_check_names_what_is_wrong() {
    let Some(options) = s3_options().await else { return };
    let change = |change: fn(&mut S3Options)| {
        let mut options = options.clone();
        options.part_timeout = Duration::from_secs(5);
        options.part_bytes = PART_BYTES;
        if let BucketKind::S3(s3) = &mut options.kind {
            change(s3);
        }
        options
    };
    let words = async |options: BucketOptions| {
        let bucket = Bucket::open(options, MemoryBudget::new(64)).await.expect("settings that look right");
        match bucket.check().await {
            Err(BlobError::Refused(words)) => words,
            other => format!("{other:?}"),
        }
    };
    let wrong = words(change(|s3| s3.secret_access_key = Some("wrong".into()))).await;
    assert!(wrong.contains("credentials"), "{wrong}");
    let wrong = words(change(|s3| s3.signing_endpoint = Some("http://127.0.0.1:1".into()))).await;
    assert!(wrong.contains("presigned address (http://127.0.0.1:1/") && !wrong.contains("Signature"), "{wrong}");
}

#[tokio::test]
async fn the_check_finds_settings_that_remove_objects_or_keep_them() {
    let Some(options) = s3_options().await else { return };
    let s3 = engines::s3().expect("there are options of it");
    let check = async |name: &str| {
        let mut options = BucketOptions { part_bytes: PART_BYTES, ..options.clone() };
        if let BucketKind::S3(s3_options) = &mut options.kind {
            s3_options.name = name.to_owned();
            (s3_options.access_key_id, s3_options.secret_access_key) =
                (Some(s3.owner.0.clone()), Some(s3.owner.1.clone()));
        }
        let bucket = Bucket::open(options, MemoryBudget::new(64)).await.expect("settings that look right");
        bucket.check().await
    };
    let blocking = tokio::task::spawn_blocking(move || (s3.bucket(), s3.locked_bucket()));
    let (plain, locked) = blocking.await.expect("two buckets");
    let rule = |prefix: &str| {
        let rules = format!(
            "<Rule><ID>old</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>"
        );
        let plain = plain.clone();
        tokio::task::spawn_blocking(move || s3.set_lifecycle(&plain, &rules))
    };
    rule("logs/").await.expect("set");
    assert_eq!(check(&plain).await, Ok(None));
    rule("objects/").await.expect("set");
    let wrong = check(&plain).await;
    assert!(matches!(&wrong, Err(BlobError::Refused(words)) if words.contains("life-cycle rule \"old\"")), "{wrong:?}");
    if let Some(locked) = locked {
        let wrong = check(&locked).await;
        assert!(matches!(&wrong, Err(BlobError::Refused(words)) if words.contains("object lock is on")), "{wrong:?}");
    }
}

/// No server needed: nobody listens there.
#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable_within_the_promised_time() {
    let mut options = BucketOptions::new(BucketKind::S3(S3Options {
        name: "layers".into(),
        endpoint: Some("http://127.0.0.1:1".into()),
        access_key_id: Some("id".into()),
        secret_access_key: Some("secret".into()),
        ..S3Options::default()
    }));
    options.part_timeout = Duration::from_millis(200);
    options.small_bytes = 0;
    let bucket = Bucket::open(options, MemoryBudget::new(64)).await.expect("settings that look right");
    let begun = std::time::Instant::now();
    let mut appender = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
    appender.write(Bytes::from_static(b"abc")).await.expect("kept in memory");
    assert!(matches!(appender.flush().await, Err(BlobError::Unavailable(_))));
    assert!(matches!(bucket.read(&bucket.fresh_key(), 0..1).await, Err(BlobError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A node thought dead stores its own bytes as a part that its successor has stored already.
#[tokio::test]
async fn a_late_part_of_an_older_writer_is_never_published() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    let whole = content(part() * 2 + 7);
    let mut appender = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
    appender.write(whole.slice(..part() + 1)).await.expect("written");
    let state = appender.checkpoint().expect("a part was stored");
    drop(appender);
    let mut older = bucket.append(state.clone(), None).await.expect("gone on");
    let mut newer = bucket.append(state, None).await.expect("gone on");
    newer.write(whole.slice(part()..)).await.expect("written");
    assert!(newer.checkpoint().is_some());
    older.write(Bytes::from(vec![7; part() + 1])).await.expect("written");
    assert!(older.checkpoint().is_some());
    let finished = newer.finish(&Digest::of(Algorithm::Sha256, &whole)).await;
    // Stores may refuse to complete it, or take the part that was named.
    if let Ok(finished) = finished {
        assert!(
            read_all(bucket, key_of(&finished)).await.expect("read") == whole,
            "the older writer's bytes were published"
        );
    }
}

/// Two writers finish one upload with different bytes of one length: whoever is second fails, and takes or changes nothing.
#[tokio::test]
async fn the_object_of_another_writer_is_neither_written_over_nor_taken_for_ones_own() {
    let Some(kind) = s3(PART_BYTES).await else { return };
    let bucket = &kind.bucket;
    for length in [5, part() + 7] {
        let ours = content(length);
        let theirs = [&ours[..length - 1], b"x"].concat();
        let mut first = bucket.append(UploadState::new(bucket.fresh_key(), None), None).await.expect("begun");
        first.write(ours.slice(..length - 2)).await.expect("written");
        let state = first.checkpoint().unwrap_or_else(|| UploadState::new(bucket.fresh_key(), None));
        drop(first);
        let finish = async |whole: &[u8]| {
            let rest = Bytes::copy_from_slice(&whole[usize::try_from(state.offset()).expect("a small number")..]);
            let mut appender = bucket.append(state.clone(), None).await.expect("gone on");
            appender.write(rest).await.expect("written");
            appender.finish(&Digest::of(Algorithm::Sha256, whole)).await
        };
        let finished = finish(&ours).await.expect("finished");
        assert!(matches!(finish(&theirs).await, Err(FinishError::Blob(BlobError::Missing))));
        assert_eq!(finish(&ours).await.expect("its own object").key(), finished.key());
        assert!(read_all(bucket, key_of(&finished)).await.expect("read") == ours);
    }
}
