//! Small objects: the mark that says whose bucket it is.

use bytes::Bytes;
use roadstead_blobs::BlobError;

use crate::kinds::{directory, kinds};

#[tokio::test]
async fn only_one_of_two_marks_is_written() {
    for kind in kinds().await {
        let bucket = &kind.bucket;
        let key = format!("marks/{}", bucket.fresh_key());
        assert_eq!(bucket.get_small(&key).await, Ok(None));
        assert_eq!(bucket.put_small(&key, Bytes::from_static(b"one"), true).await, Ok(true));
        assert_eq!(bucket.put_small(&key, Bytes::from_static(b"two"), true).await, Ok(false));
        assert_eq!(bucket.get_small(&key).await, Ok(Some(Bytes::from_static(b"one"))));
        assert_eq!(bucket.put_small(&key, Bytes::from_static(b"three"), false).await, Ok(true));
        assert_eq!(bucket.get_small(&key).await, Ok(Some(Bytes::from_static(b"three"))));
        bucket.delete(&key).await.expect("deleted");
        assert!(matches!(bucket.put_small("../outside", Bytes::new(), false).await, Err(BlobError::Refused(_))));
        if let Some(folder) = kind.folder {
            let left = std::fs::read_dir(folder.path().join("bucket/marks")).expect("the folder").count();
            assert_eq!(left, 0, "drafts are left behind");
        }
    }
}

#[tokio::test]
async fn a_draft_that_was_cut_off_is_swept_by_the_next_process_that_has_the_bucket_to_itself() {
    let kind = directory().await;
    let folder = kind.folder.expect("a directory");
    let root = folder.path().join("bucket");
    let draft = root.join(format!(".{}", kind.bucket.fresh_key()));
    for path in [&draft, &root.join(".of-somebody-else")] {
        std::fs::write(path, "half").expect("written");
    }
    let hold = kind.bucket.hold().expect("free");
    assert!(!draft.exists() && root.join(".of-somebody-else").exists());
    // While another process has it, the draft may be of that one.
    std::fs::write(&draft, "half").expect("written");
    assert!(kind.bucket.hold().is_err() && draft.exists());
    drop(hold);
}

#[tokio::test]
async fn a_working_bucket_passes_the_check_and_nothing_is_left_of_it() {
    for kind in kinds().await {
        assert_eq!(kind.bucket.check().await, Ok(None));
        if let Some(folder) = kind.folder {
            let mut folders = vec![folder.path().join("bucket")];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).expect("a folder") {
                    let entry = entry.expect("an entry");
                    assert!(entry.file_type().expect("a type").is_dir(), "{:?} is left behind", entry.path());
                    assert_eq!(entry.file_name(), "objects", "a folder is left behind");
                    folders.push(entry.path());
                }
            }
        }
    }
}
