//! Who hashes what was gathered: as many threads as there are processors. While each of them is at work, two pieces that wait are hashed
//! together, in less time than one after the other; until then each has a processor of its own.

use std::{
    collections::VecDeque,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Hashes;
use crate::BlobError;

/// What is to be hashed in turn. The processors are those of the whole process, so it has one queue.
static QUEUE: LazyLock<Mutex<Queue>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Mutex::new(Queue { waiting: VecDeque::new(), working: 0, most: processors })
});

struct Queue {
    waiting: VecDeque<Piece>,
    /// Threads at work, or about to be.
    working: usize,
    most: usize,
}

/// The next bytes of a stream.
struct Piece {
    hashes: Hashes,
    bytes: Vec<Bytes>,
    done: oneshot::Sender<Hashes>,
}

/// Takes bytes in, in their order.
pub(crate) async fn hash(hashes: Hashes, bytes: Vec<Bytes>) -> Result<Hashes, BlobError> {
    let (done, hashed) = oneshot::channel();
    if queue().enter(Piece { hashes, bytes, done }) {
        let mut worker = Worker { gone: false };
        tokio::task::spawn_blocking(move || worker.work());
    }
    hashed.await.map_err(|_| BlobError::Internal("the bytes were not hashed".to_owned()))
}

impl Queue {
    /// Whether one more is to work for it.
    fn enter(&mut self, piece: Piece) -> bool {
        self.waiting.push_back(piece);
        let more = self.working < self.most;
        self.working += usize::from(more);
        more
    }

    /// A piece that nobody else would take now waits for its like.
    fn is_alone(&self) -> bool {
        self.waiting.len() == 1 && self.working == self.most
    }

    /// The next piece, and one more if nobody else would take it now. Where nothing waits there is one less at work: in the same moment, so that
    /// whoever enters next finds it so.
    fn next(&mut self) -> Option<(Piece, Option<Piece>)> {
        let Some(piece) = self.waiting.pop_front() else {
            self.working -= 1;
            return None;
        };
        let other = if self.working == self.most { self.waiting.pop_front() } else { None };
        Some((piece, other))
    }
}

/// One of those that work.
struct Worker {
    /// It is counted no more.
    gone: bool,
}

impl Worker {
    fn work(&mut self) {
        loop {
            if queue().is_alone() {
                // Those that gather have the processor first: they may bring another one.
                thread::yield_now();
            }
            let next = queue().next();
            match next {
                Some((piece, Some(other))) => both(piece, other),
                Some((piece, None)) => one(piece),
                None => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

impl Drop for Worker {
    /// A runtime that ends drops what it has not begun: others may wait for it.
    fn drop(&mut self) {
        if !self.gone {
            self.work();
        }
    }
}

// The bytes are let go first: who waits takes as many again. It may have gone, too, and want no answer.

fn one(Piece { mut hashes, bytes, done }: Piece) {
    bytes.iter().for_each(|bytes| hashes.update(bytes));
    drop(bytes);
    let _ = done.send(hashes);
}

fn both(one: Piece, two: Piece) {
    let (mut of_one, mut of_two) = (one.hashes, two.hashes);
    for number in 0..one.bytes.len().max(two.bytes.len()) {
        let [ones, twos] = [&one.bytes, &two.bytes].map(|all| all.get(number).map_or(&[][..], Bytes::as_ref));
        Hashes::update_both([&mut of_one, &mut of_two], [ones, twos]);
    }
    drop((one.bytes, two.bytes));
    let _ = one.done.send(of_one);
    let _ = two.done.send(of_two);
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use roadstead_model::{Algorithm, Digest};

    use super::*;

    #[test]
    fn two_go_together_where_nobody_is_free_and_none_is_left_behind() {
        let piece = || Piece { hashes: Hashes::default(), bytes: Vec::new(), done: oneshot::channel().0 };
        let mut queue = Queue { waiting: VecDeque::new(), working: 0, most: 2 };
        assert!(queue.enter(piece()) && !queue.is_alone());
        assert!(matches!(queue.next(), Some((_, None))));
        assert!(queue.enter(piece()) && queue.is_alone() && !queue.enter(piece()) && !queue.enter(piece()));
        assert!(matches!(queue.next(), Some((_, Some(_)))));
        assert!(matches!(queue.next(), Some((_, None))));
        // Who comes when one has found nothing has one more work for it.
        assert!(queue.next().is_none() && queue.enter(piece()));
    }

    /// More of them than processors, so that they go together; also with hashes that the other has not.
    #[tokio::test]
    async fn each_of_many_streams_keeps_its_own_bytes() {
        let stream = |number: u8| async move {
            let mut hashes = Hashes::new(number.is_multiple_of(3).then_some(Algorithm::Sha512));
            let mut all = Vec::new();
            for turn in 0..20 {
                let piece = |size: usize| Bytes::from(vec![number ^ turn; size]);
                let bytes = vec![piece(1000 * usize::from(turn)), piece(64 * usize::from(number)), piece(4096)];
                all.extend_from_slice(&bytes.concat());
                hashes = hash(hashes, bytes).await.unwrap();
            }
            assert_eq!(hashes.digest(Algorithm::Sha256), Some(Digest::of(Algorithm::Sha256, &all)));
            let long = hashes.digest(Algorithm::Sha512);
            assert_eq!(long, number.is_multiple_of(3).then(|| Digest::of(Algorithm::Sha512, &all)));
        };
        futures::future::join_all((0..50).map(|number| tokio::spawn(stream(number))))
            .await
            .into_iter()
            .for_each(|done| done.unwrap());
    }
}
