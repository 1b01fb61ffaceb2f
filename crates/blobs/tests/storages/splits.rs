//! Any split of any bytes over any number of requests gives the same object (invariant 7).

use proptest::prelude::*;
use roadstead_blobs::{Finished, MemoryBudget, Stored, UploadState};
use roadstead_model::{Algorithm, Digest};

use crate::kinds::{Kind, PART_BYTES, content, directory_with, read_all, s3_with};

const PART: usize = PART_BYTES as usize;

/// What happens to the next so many bytes.
#[derive(Clone, Debug)]
struct Step {
    bytes: usize,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    WriteOn,
    Flush,
    /// The request ends: flush, save, another request goes on; it may say how much it sends.
    NewRequest {
        declared: bool,
    },
    /// The request is cut off: what was not saved has to be sent again.
    CutOff,
}

/// Up to `most` steps, of sizes around the one where a storage begins something new.
fn steps(part: usize, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![0..50usize, 0..3 * part, Just(part), Just(part - 1), Just(part + 1)];
    let then = prop_oneof![
        3 => Just(Then::WriteOn),
        2 => Just(Then::Flush),
        2 => any::<bool>().prop_map(|declared| Then::NewRequest { declared }),
        1 => Just(Then::CutOff),
    ];
    prop::collection::vec((bytes, then).prop_map(|(bytes, then)| Step { bytes, then }), 0..most)
}

/// Up to how many bytes an upload becomes no object, sometimes none.
fn small(part: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..100usize, 1..4 * part]
}

async fn push(kind: &Kind, steps: &[Step], announced: Option<Algorithm>, asked: Algorithm) -> (Finished, u64) {
    let bucket = &kind.bucket;
    let whole = content(steps.iter().map(|step| step.bytes).sum());
    let mut saved = UploadState::new(bucket.fresh_key(), announced).to_text();
    let at = |position: u64| usize::try_from(position).expect("a small number");
    let save = |state: &UploadState| state.to_text();
    let read = |text: &str| UploadState::from_text(text).expect("a text just saved");
    let mut appender = bucket.append(read(&saved), None).await.expect("begun");
    let mut target = 0u64;
    for step in steps {
        target += step.bytes as u64;
        while appender.offset() < target {
            let from = appender.offset();
            let to = target.min(from + 100_000);
            appender.write(whole.slice(at(from)..at(to))).await.expect("written");
            if let Some(state) = appender.checkpoint() {
                saved = save(&state);
                for key in state.superseded() {
                    bucket.delete(key).await.expect("deleted");
                }
            }
        }
        match step.then {
            Then::WriteOn => {}
            Then::Flush | Then::NewRequest { .. } => {
                let state = appender.flush().await.expect("flushed");
                assert_eq!(state.offset(), target);
                saved = save(&state);
                for key in state.superseded() {
                    bucket.delete(key).await.expect("deleted");
                }
                if let Then::NewRequest { declared } = step.then {
                    let rest = whole.len() as u64 - target;
                    drop(appender);
                    appender = bucket.append(read(&saved), declared.then_some(rest)).await.expect("gone on");
                }
            }
            Then::CutOff => {
                drop(appender);
                appender = bucket.append(read(&saved), None).await.expect("gone on");
            }
        }
    }
    let from = appender.offset();
    appender.write(whole.slice(at(from)..)).await.expect("written");
    let finished = appender.finish(&Digest::of(asked, &whole)).await.expect("finished");
    assert_eq!(finished.size, whole.len() as u64);
    match &finished.stored {
        Stored::Object(key) => assert_eq!(read_all(bucket, key).await.expect("read"), whole),
        Stored::Bytes(bytes) => assert_eq!(bytes, &whole),
    }
    // The superseded objects are no longer needed by anyone.
    for key in &finished.superseded {
        bucket.delete(key).await.expect("deleted");
    }
    if let Some(key) = finished.key() {
        assert_eq!(bucket.size(key).await, Ok(Some(finished.size)));
    }
    (finished, kind.budget.free())
}

fn holds(kind: impl Future<Output = Option<Kind>>, small: usize, steps: &[Step], announced: bool, long: bool) {
    let announced = announced.then_some(Algorithm::Sha512);
    let asked = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if let Some(kind) = kind.await {
            let (finished, free) = push(&kind, steps, announced, asked).await;
            assert_eq!(finished.key().is_none(), small > 0 && finished.size <= small as u64);
            assert_eq!(free, kind.budget.total(), "memory was not given back");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_file(steps in steps(256 << 10, 8), small in small(256 << 10), announced: bool, long: bool) {
        holds(async { Some(directory_with(small, MemoryBudget::new(64)).await) }, small, &steps, announced, long);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_object_on_s3(
        steps in steps(PART, 5), small in small(PART), announced: bool, long: bool
    ) {
        holds(s3_with(PART_BYTES, small, MemoryBudget::new(64)), small, &steps, announced, long);
    }
}
