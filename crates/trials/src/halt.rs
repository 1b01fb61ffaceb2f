//! A node is halted (SIGSTOP) in the middle of uploads, another one takes them over, and then the first one wakes up and goes on
//! as if nothing had been. It must not spoil what the other one did.

use std::{net::SocketAddr, path::Path, thread::ScopedJoinHandle, time::Duration};

use rand::RngExt;
use roadstead_testkit::{Body, Request, Response, digest, http::with_parameter, server::REGISTRY};

use crate::{
    audit,
    content::{Content, random},
    kill::{PROMISE, Plan},
    ledger::{Ledger, lock},
    region::{Addresses, Region},
    report::{self, Row},
    talk::{Talk, stored},
    verify,
};

/// Uploads that are in the hands of the node when it is halted.
const UPLOADS: usize = 8;

/// What the other node does with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takeover {
    /// It appends the rest and finishes it, before the first node wakes up.
    Finish,
    /// It finishes it with the rest in the PUT.
    FinishWithRest,
    /// It appends some; the first node wakes up; then it appends the rest and finishes it.
    FinishLater,
    /// It cancels it.
    Cancel,
    /// Nothing: the first node wakes up and goes on.
    Leave,
}

const TAKEOVERS: [Takeover; 5] =
    [Takeover::Finish, Takeover::FinishWithRest, Takeover::FinishLater, Takeover::Cancel, Takeover::Leave];

/// One upload.
struct Case {
    path: String,
    content: Content,
    digest: String,
    takeover: Takeover,
    /// The first node is halted in the last request, not in a `PATCH`.
    in_put: bool,
}

/// Halts a node `plan.times` times. True: nothing was found.
///
/// # Panics
/// When the region has fewer than two nodes.
pub fn run(mut region: Region, binary: &Path, plan: &Plan) -> bool {
    assert!(region.nodes() > 1, "nobody is there to take over");
    let ledger = Ledger::new();
    if let Err(said) = region.start() {
        println!("FAILED: {said}");
        return false;
    }
    let mut random = random(plan.seed);
    let mut times = 0;
    while times < plan.times && ledger.findings().is_empty() {
        let sleeper = random.random_range(0..region.nodes());
        Halt { ledger: &ledger, seed: random.random(), round: times, sleeper }.run(&mut region);
        times += 1;
        println!("{times} halts, {} uploads taken over", ledger.counted("uploads gone on with"));
    }
    let row = Row {
        fault: "a node halts (`SIGSTOP`) and wakes up".to_owned(),
        engine: region.engine(),
        how: format!(
            "{UPLOADS} uploads each are halted in the middle of a PATCH or PUT, taken over by the other node (finished, gone on with, cancelled, left), then the first one wakes up and goes on"
        ),
        promised: format!("the node that wakes up changes nothing of what the other one did; {PROMISE}"),
        times,
    };
    report::report(&row, &ledger, binary, plan.record)
}

struct Halt<'a> {
    ledger: &'a Ledger,
    seed: u64,
    round: u64,
    sleeper: usize,
}

impl Halt<'_> {
    fn run(&self, region: &mut Region) {
        let addresses = region.addresses().all();
        let first = addresses[self.sleeper];
        let second = addresses[(self.sleeper + 1) % addresses.len()];
        let awake = Talk::new(Addresses::new(vec![second]), self.ledger.clone());
        let name = format!("{REGISTRY}/halt/r{}", self.round);
        let repository = self.ledger.repository(&name);
        let mut random = random(self.seed);
        let cases: Vec<Case> = (0..UPLOADS)
            .filter_map(|number| {
                let takeover = TAKEOVERS[random.random_range(0..TAKEOVERS.len())];
                let size = random.random_range(20 << 20..50 << 20);
                let content = Content::Seeded { seed: self.seed.wrapping_add(number as u64), size };
                let answer = awake.ask_at(second, Request::new("POST", &format!("/v2/{name}/blobs/uploads/")));
                let path = self.expect(answer, &[202])?.location_path();
                let digest = digest(&content.bytes());
                Some(Case { path, content, digest, takeover, in_put: random.random_bool(0.3) })
            })
            .collect();
        std::thread::scope(|scope| {
            let spawned: Vec<_> = cases.iter().map(|case| scope.spawn(|| self.send_to(first, case, &awake))).collect();
            std::thread::sleep(Duration::from_millis(random.random_range(20..1500)));
            region.freeze(self.sleeper);
            let taken: Vec<_> = cases.iter().map(|case| scope.spawn(|| self.take_over(case, &awake, second))).collect();
            let started: Vec<_> = taken.into_iter().map(joined).collect();
            region.thaw(self.sleeper);
            let answers: Vec<_> = spawned.into_iter().map(joined).collect();
            for ((case, taken), answer) in cases.iter().zip(started).zip(answers) {
                let there = self.end(case, taken, answer, &awake, second);
                let mut repository = lock(&repository);
                let fact = repository.blob(&case.digest, &case.content);
                fact.settle(there.unwrap_or(true));
                if there.is_none() {
                    fact.doubt(false);
                }
            }
        });
        let talk = Talk::new(region.addresses(), self.ledger.clone());
        verify::everything(&talk, self.seed);
        audit::audit(region, self.ledger);
        lock(&repository).retiring = true;
        // Manifests there are none; the second time forgets the repository.
        verify::retire(&talk, self.seed);
        verify::retire(&talk, self.seed);
    }

    /// What the client of the node that is halted does: it sends everything in one request.
    fn send_to(&self, first: SocketAddr, case: &Case, talk: &Talk) -> Option<Response> {
        let body = Body::streamed(&case.content.bytes());
        // Said with its place, as careful clients do: a node that had not begun with it before it was halted refuses it afterwards.
        let range = format!("0-{}", case.content.size() - 1);
        let request = match case.in_put {
            true => Request::new("PUT", &with_parameter(&case.path, "digest", &case.digest)),
            false => Request::new("PATCH", &case.path),
        };
        talk.ask_at(first, request.header("Content-Range", &range).body(body)).ok()
    }

    /// What the other node is asked for while the first one is halted. False: it was left alone, or was not open any more.
    fn take_over(&self, case: &Case, talk: &Talk, second: SocketAddr) -> bool {
        let bytes = case.content.bytes();
        match case.takeover {
            Takeover::Leave => false,
            Takeover::Cancel => {
                self.retried(|| talk.ask_at(second, Request::new("DELETE", &case.path)), &[204, 404]).is_some()
            }
            Takeover::Finish | Takeover::FinishWithRest => self.go_on(case, talk, second, &bytes),
            Takeover::FinishLater => {
                let Some(start) = self.offset(case, talk, second) else { return false };
                let part = &bytes[start..start + (bytes.len() - start) / 2];
                part.is_empty()
                    || self
                        .retried(|| talk.ask_at(second, ranged("PATCH", &case.path, start, part)), &[202, 404, 416])
                        .is_some()
            }
        }
    }

    /// Appends what is missing and finishes the upload.
    fn go_on(&self, case: &Case, talk: &Talk, second: SocketAddr, bytes: &[u8]) -> bool {
        let put = with_parameter(&case.path, "digest", &case.digest);
        loop {
            // Finished by the first node before it was halted: the PUT is repeated (protocol.md D19b).
            let start = self.offset(case, talk, second).unwrap_or(bytes.len());
            let rest = &bytes[start..];
            let answer = match (rest, case.takeover) {
                ([], _) => self.retried(|| talk.ask_at(second, Request::new("PUT", &put)), &[201]),
                (rest, Takeover::FinishWithRest) => {
                    self.retried(|| talk.ask_at(second, ranged("PUT", &put, start, rest)), &[201, 416])
                }
                (rest, _) => {
                    self.retried(|| talk.ask_at(second, ranged("PATCH", &case.path, start, rest)), &[202, 404, 416])
                }
            };
            match answer.map(|answer| answer.status) {
                Some(201) => {
                    self.ledger.count("uploads gone on with", 1);
                    return true;
                }
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Where the upload is to be gone on with; `None`: it is over.
    fn offset(&self, case: &Case, talk: &Talk, second: SocketAddr) -> Option<usize> {
        let answer = self.retried(|| talk.ask_at(second, Request::new("GET", &case.path)), &[204, 404])?;
        if answer.status == 404 { None } else { usize::try_from(stored(&answer, false)?).ok() }
    }

    /// After the first node woke up and answered its client: whether the blob must be there; `None`: it may be.
    fn end(&self, case: &Case, taken: bool, answer: Option<Response>, talk: &Talk, second: SocketAddr) -> Option<bool> {
        let acknowledged = answer.as_ref().is_some_and(|answer| answer.status == if case.in_put { 201 } else { 202 });
        if let Some(answer) = &answer {
            self.ledger.count(&format!("answers of the node that woke up: {}", answer.status), 1);
        }
        match case.takeover {
            Takeover::Finish | Takeover::FinishWithRest => taken.then_some(true),
            // It may have been finished before the node was halted.
            Takeover::Cancel if case.in_put && (acknowledged || answer.is_none()) => None,
            Takeover::Cancel => Some(false),
            Takeover::FinishLater | Takeover::Leave => {
                if case.in_put && acknowledged {
                    return Some(true);
                }
                self.go_on(case, talk, second, &case.content.bytes()).then_some(true)
            }
        }
    }

    /// Asks until there is an answer; one of another status is a finding.
    fn retried(
        &self,
        ask: impl Fn() -> Result<Response, crate::talk::Unanswered>,
        statuses: &[u16],
    ) -> Option<Response> {
        for _ in 0..200 {
            match ask() {
                Ok(answer) => return self.expect(Ok(answer), statuses),
                // Held by the other one still, or the database was in the way.
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
        self.ledger.find("an upload could not be taken over for minutes");
        None
    }

    fn expect(&self, answer: Result<Response, crate::talk::Unanswered>, statuses: &[u16]) -> Option<Response> {
        match answer {
            Ok(answer) if statuses.contains(&answer.status) => Some(answer),
            other => {
                self.ledger.find(format!("expected one of {statuses:?}: {other:?}"));
                None
            }
        }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ranged(method: &str, target: &str, start: usize, bytes: &[u8]) -> Request {
    let range = format!("{start}-{}", start + bytes.len() - 1);
    Request::new(method, target).header("Content-Range", &range).body(Body::Length(bytes.to_vec()))
}
