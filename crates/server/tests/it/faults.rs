//! What every fault that the service lives through has in common: clear answers while it lasts, a process that lives on,
//! and work that goes on by itself afterwards. The faults are in `faults_disk`, `faults_files`, `faults_s3`,
//! `faults_postgres` and `faults_clients`.

use roadstead_testkit::{Client, Response, Server, content::random_bytes, digest, http::with_parameter, until};

pub(crate) const MIB: usize = 1024 * 1024;

/// MiB of memory that a server may use beyond what it used before a fault. Its bodies may take 32 in these tests; the rest
/// is for caches, stacks and what an allocator keeps.
const MORE_MEMORY: u64 = 192;

/// Asserts that it is the region's trouble, said so that clients come again: 503 with a time, in the form of an error.
#[track_caller]
pub(crate) fn expect_trouble(answer: &Response) {
    answer.expect_error(503, "UNAVAILABLE");
    let seconds: u32 = answer.header("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{answer:?}");
}

/// Pushes a random blob through; its digest.
#[track_caller]
pub(crate) fn push_and_pull(client: &Client, repository: &str, length: usize) -> String {
    let bytes = random_bytes(length);
    let digest = client.push_blob(repository, &bytes);
    assert!(client.pull_blob(repository, &digest) == bytes, "{length} bytes came back as others");
    digest
}

/// Waits until blobs can be pushed again, without any help; then pushes and pulls one.
pub(crate) fn recovers(server: &Server, repository: &str) {
    let client = server.client();
    until("pushes work again by themselves", || {
        let bytes = random_bytes(1000);
        let begun = client.post(&format!("/v2/{repository}/blobs/uploads/"));
        if begun.status != 202 {
            expect_trouble(&begun);
            return None;
        }
        let answer = client.put(&with_parameter(&begun.location_path(), "digest", &digest(&bytes)), &bytes);
        if answer.status != 201 {
            expect_trouble(&answer);
        }
        (answer.status == 201).then_some(())
    });
    push_and_pull(&client, repository, 6 * MIB);
    until("it is ready again", || (client.anonymous().get("/readyz").status == 200).then_some(()));
}

/// The number of bytes that the status of an upload speaks of, with the Location to go on at.
#[track_caller]
pub(crate) fn stored(client: &Client, location: &str) -> (usize, String) {
    let status = client.get(location);
    let last: usize = status.expect(204).header("Range").strip_prefix("0-").unwrap().parse().unwrap();
    (if last == 0 { 0 } else { last + 1 }, status.location_path())
}

/// Goes on with an upload from where its status says, and finishes it; the bytes must be the right ones.
#[track_caller]
pub(crate) fn go_on(client: &Client, repository: &str, location: &str, bytes: &[u8]) {
    let (stored, location) = stored(client, location);
    let location = client.patch(&location, Some(stored), &bytes[stored..]).expect(202).location_path();
    let digest = digest(bytes);
    client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    assert!(client.pull_blob(repository, &digest) == bytes);
}

/// A server under watch: that it has not panicked, is the same process, and its memory is bounded.
pub(crate) struct Watched<'s> {
    server: &'s Server,
    pid: rustix::process::Pid,
    memory_kib: u64,
}

impl<'s> Watched<'s> {
    pub(crate) fn new(server: &'s Server) -> Self {
        Self { server, pid: server.pid(), memory_kib: server.memory_kib() }
    }

    /// Asserts that it lives well.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.server.client().anonymous().get("/healthz").status, 200);
        assert_eq!(self.server.pid(), self.pid);
        let now = self.server.memory_kib();
        assert!(now < self.memory_kib + MORE_MEMORY * 1024, "{} KiB before, {now} KiB now", self.memory_kib);
        assert!(!self.server.output().text().contains("panicked"), "it panicked");
    }
}
