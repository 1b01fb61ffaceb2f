//! What all tests of bad input have in common: a server of their own, and what must be true of it whatever it was sent.

use std::{cell::Cell, fmt::Display};

use roadstead_testkit::{
    Body, Client, Request, Response, Server, content,
    server::{KEY_ID, KEY_SECRET, REGISTRY},
    token::basic,
    until,
    wire::converse,
};

use crate::scene::Storage;

/// So much more memory than before the server may hold: its pools and caches, filled.
const GROWTH_KIB: u64 = 128 << 10;

/// What a server printed and held before.
pub(crate) struct Watch {
    printed: Cell<usize>,
    memory: u64,
    files: usize,
}

impl Watch {
    pub(crate) fn new(server: &Server) -> Self {
        let printed = Cell::new(server.output().position());
        Self { printed, memory: server.memory_kib(), files: server.open_files() }
    }

    /// Nothing has panicked, nobody heard of a fault of the server, and its memory has not grown beyond what the settings allow.
    #[track_caller]
    pub(crate) fn nothing_failed(&self, server: &Server, trick: &dyn Display) {
        let memory = server.memory_kib();
        assert!(memory < self.memory + GROWTH_KIB, "after {trick}: {memory} KiB, {} before", self.memory);
        let since = server.output().since(self.printed.get());
        self.printed.set(self.printed.get() + since.len());
        let is_fault = |line: &&String| ["panicked", " ERROR ", "status=5"].iter().any(|word| line.contains(word));
        let faults: Vec<_> = since.iter().filter(is_fault).collect();
        assert!(faults.is_empty(), "after {trick}: {faults:#?}");
    }

    /// At the end: what was opened is closed.
    #[track_caller]
    pub(crate) fn holds_no_more_than_before(&self, server: &Server) {
        self.nothing_failed(server, &"all of them");
        until("no more files are open than before", || {
            // A few connections to database and bucket come and go.
            (server.open_files() <= self.files + 16).then_some(())
        });
    }
}

/// A server that is sent what no client sends.
pub(crate) struct Victim {
    pub(crate) server: Server,
    pub(crate) client: Client,
    /// A repository with an image, tag `good`.
    pub(crate) repo: String,
    /// The digest of its layer, 1000 bytes.
    pub(crate) layer: String,
    watch: Watch,
}

impl Victim {
    /// Starts it; clients that do nothing are given up soon.
    pub(crate) fn start(storage: &Storage) -> Self {
        Self::of(Server::start(storage.setup().set("ROADSTEAD_LIMITS_IDLE_SECONDS", "3")))
    }

    pub(crate) fn of(server: Server) -> Self {
        let (client, repo) = (server.client(), format!("{REGISTRY}/bad"));
        let image = content::image(1);
        client.push_image(&repo, "good", &image);
        let layer = content::digest(&image.blobs[1]);
        Self { watch: Watch::new(&server), server, client, repo, layer }
    }

    /// `/v2/REPOSITORY/REST`.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repo)
    }

    /// A line of headers with the key of the administrator.
    pub(crate) fn login(&self) -> String {
        format!("Authorization: {}\r\n", basic(KEY_ID, KEY_SECRET))
    }

    /// What came of bytes on a connection of their own, which must end.
    #[track_caller]
    pub(crate) fn converse(&self, bytes: impl AsRef<[u8]>) -> Vec<Response> {
        converse(self.server.address(), bytes.as_ref())
    }

    /// After each trick: an honest client is served, and [`Watch::nothing_failed`].
    #[track_caller]
    pub(crate) fn is_well(&self, trick: &dyn Display) {
        let pulled = self.client.get(&self.at("manifests/good"));
        assert!(pulled.status == 200, "after {trick}: {pulled:?}");
        self.watch.nothing_failed(&self.server, trick);
    }

    /// See [`Watch::holds_no_more_than_before`].
    #[track_caller]
    pub(crate) fn holds_no_more_than_before(&self) {
        self.watch.holds_no_more_than_before(&self.server);
    }
}

/// One trick: what is sent, and which status is right for it.
pub(crate) struct Trick {
    /// In words, for who reads the failure.
    pub(crate) name: String,
    /// What is sent. Without an `Authorization` of its own, with the administrator's.
    pub(crate) request: Request,
    /// Any of these.
    pub(crate) right: &'static [u16],
    /// The code of the error where the status is 4xx; empty for any.
    pub(crate) code: &'static str,
}

/// A trick with a request that has no body.
pub(crate) fn ask(method: &str, target: &str, right: &'static [u16], code: &'static str) -> Trick {
    let name = format!("{method} {}", target.chars().take(200).collect::<String>());
    Trick { name, request: Request::new(method, target), right, code }
}

impl Trick {
    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.name += &format!(" {name}: {}", value.chars().take(100).collect::<String>());
        self.request = self.request.header(name, value);
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.body(Body::Length(bytes.into()));
        self
    }

    /// With another name.
    pub(crate) fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Plays it; the answer, which is right and has the form of all errors.
    #[track_caller]
    pub(crate) fn play(&self, victim: &Victim) -> Response {
        let answer = match victim.client.try_send(&self.request) {
            Ok(answer) => answer,
            Err(error) => panic!("{}: {error}", self.name),
        };
        assert!(self.right.contains(&answer.status), "{}: expected {:?}: {answer:?}", self.name, self.right);
        // What is no HTTP at all is refused without a word, and the connection ends.
        let is_http = !(answer.body.is_empty() && [400, 414, 431].contains(&answer.status));
        if answer.status >= 400 && self.request.method != "HEAD" && is_http {
            let code = answer.error_code();
            assert!(self.code.is_empty() || code == self.code, "{}: expected {}: {answer:?}", self.name, self.code);
        }
        victim.is_well(&self.name);
        answer
    }
}
