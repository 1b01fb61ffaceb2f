//! A bucket in a directory, on a disk that keeps nothing but what was synced.

use std::{fs, path::Path};

use roadstead_blobs::{Bucket, BucketKind, BucketOptions, MemoryBudget, UploadState, sync_way_to};
use roadstead_model::{Algorithm, Digest};
use roadstead_trials::power::{
    Via,
    lossy::{Control, Lossy},
};

/// Each is another seed: what is not durable survives some cuts and not others.
const CUTS: u64 = 24;

/// Cuts the power after `before` and gives what `after` finds, many times. Empty, with a word, where nothing can be mounted.
async fn cuts<T>(before: impl AsyncFn(&Path) -> T, after: impl AsyncFn(&Path, T) -> bool) -> Vec<bool> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut found = Vec::new();
    for seed in 0..CUTS {
        if let Err(missing) = Via::Fuse.usable() {
            eprintln!("left out: {missing}");
            return found;
        }
        let mut lossy = Lossy::mount(directory.path(), seed, Control::None).expect("mounted");
        let made = before(directory.path()).await;
        lossy.cut(|| ());
        lossy.restore().expect("mounted again");
        found.push(after(directory.path(), made).await);
    }
    found
}

async fn bucket(path: &Path) -> Bucket {
    let kind = BucketKind::Directory { path: path.join("service/data"), shared: false };
    let options = BucketOptions { small_bytes: 0, ..BucketOptions::new(kind) };
    Bucket::open(options, MemoryBudget::new(64)).await.expect("opened")
}

/// Uploads so many bytes; the object's key.
async fn upload(bucket: &Bucket, size: usize) -> String {
    let bytes = vec![7; size];
    let state = UploadState::new(bucket.fresh_key(), None);
    let mut appender = bucket.append(state, Some(size as u64)).await.expect("begun");
    appender.write(bytes.clone().into()).await.expect("written");
    let finished = appender.finish(&Digest::of(Algorithm::Sha256, &bytes)).await.expect("finished");
    finished.key().expect("an object").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_upload_survives_also_in_a_bucket_that_was_made_a_moment_ago() {
    let found = cuts(
        async |path| upload(&bucket(path).await, 300_000).await,
        async |path, key| bucket(path).await.size(&key).await == Ok(Some(300_000)),
    );
    assert!(found.await.into_iter().all(|survived| survived));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_killed_before_the_way_to_its_bucket_was_durable_leaves_that_to_the_next() {
    let found = cuts(
        async |path| {
            // As far as a start came.
            fs::create_dir_all(path.join("service/data/objects")).expect("made");
            upload(&bucket(path).await, 10).await
        },
        async |path, key| bucket(path).await.size(&key).await == Ok(Some(10)),
    );
    assert!(found.await.into_iter().all(|survived| survived));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_object_does_not_come_back() {
    let found = cuts(
        async |path| {
            let bucket = bucket(path).await;
            let key = upload(&bucket, 10).await;
            bucket.delete(&key).await.expect("deleted");
            // Repeated by whoever goes on for one that was killed.
            bucket.delete(&key).await.expect("deleted before");
            key
        },
        async |path, key| bucket(path).await.size(&key).await == Ok(None),
    );
    assert!(found.await.into_iter().all(|gone| gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_not_synced_may_be_gone_with_all_that_lies_at_its_end() {
    for synced in [false, true] {
        let found = cuts(
            async |path| {
                let end = path.join("a/b/c");
                fs::create_dir_all(&end).expect("made");
                if synced {
                    sync_way_to(&end).expect("synced");
                }
            },
            async |path, ()| path.join("a/b/c").exists(),
        )
        .await;
        assert!(found.is_empty() || found.into_iter().all(|there| there) == synced);
    }
}
