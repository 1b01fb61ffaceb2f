//! HTTP/2 as no client speaks it: floods that cost their sender little, and frames that make no sense. Each is borne or ends its
//! connection; others are served meanwhile, and memory and file descriptors come back. A new trick is a new line.

use std::iter::repeat_n;

use roadstead_testkit::{
    Request, Server, Setup, content,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, block, frame, integer,
    },
    h2,
    process::directory,
    random_bytes,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
};
use rustls_pki_types::CertificateDer;

use crate::{
    bad_input::{Victim, Watch},
    scene::BINARY,
};

/// How a trick may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is given up.
    GivenUp,
    /// It is borne or given up.
    Any,
}
use End::{Any, GivenUp};

type Trick = (&'static str, End, fn(&mut Frames));

const MANY: usize = 100_000;

fn get(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)])
}

fn post() -> Vec<u8> {
    let login = basic(KEY_ID, KEY_SECRET);
    let path =
        "/v2/conf/flood/blobs/uploads/?digest=sha256:0000000000000000000000000000000000000000000000000000000000000000";
    block(&[(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path), ("authorization", &*login)])
}

fn streams(count: usize) -> impl Iterator<Item = u32> {
    (1..).step_by(2).take(count)
}

/// What a client may do, done without end.
const FLOODS: &[Trick] = &[
    ("settings", Any, |c| {
        c.flood(repeat_n(frame(SETTINGS, 0, 0, &[]), MANY));
    }),
    ("settings, and nothing is read", Any, |c| {
        c.reads = false;
        c.flood(repeat_n(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]), MANY));
    }),
    ("acknowledgements", Any, |c| {
        c.flood(repeat_n(frame(SETTINGS, ACK, 0, &[]), MANY));
    }),
    ("pings", Any, |c| {
        c.flood(repeat_n(frame(PING, 0, 0, &[0; 8]), MANY));
    }),
    ("pings, and nothing is read", Any, |c| {
        c.reads = false;
        c.flood(repeat_n(frame(PING, 0, 0, &[0; 8]), 10 * MANY));
    }),
    ("priorities", Any, |c| {
        c.flood(repeat_n(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]), MANY));
    }),
    ("priorities of many streams", Any, |c| {
        c.flood(streams(MANY).map(|stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 9])));
    }),
    ("frames of an unknown type", Any, |c| {
        c.flood(repeat_n(frame(99, 255, 0, &[0; 100]), MANY));
    }),
    ("window updates", Any, |c| {
        c.flood(repeat_n(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), MANY));
    }),
    // CVE-2023-44487.
    ("streams that are reset at once", GivenUp, |c| {
        let both = |stream| {
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/v2/")),
                frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
            ]
        };
        c.flood(streams(MANY).map(|stream| both(stream).concat()));
    }),
    // CVE-2025-8671: the server is made to reset them.
    ("streams that the server must reset", GivenUp, |c| {
        let both =
            |stream| [frame(HEADERS, END_HEADERS, stream, &get("/v2/")), frame(WINDOW_UPDATE, 0, stream, &[0; 4])];
        c.flood(streams(MANY).map(|stream| both(stream).concat()));
    }),
    ("headers that are no request", GivenUp, |c| {
        c.flood(streams(MANY).map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x", "y")]))));
    }),
    // CVE-2024-27316 and its kin.
    ("continuations without end", GivenUp, |c| {
        c.write(&frame(HEADERS, 0, 1, &get("/v2/")));
        c.flood(repeat_n(frame(CONTINUATION, 0, 1, &block(&[("x", &*"y".repeat(1000))])), MANY));
    }),
    ("empty continuations", GivenUp, |c| {
        c.write(&frame(HEADERS, 0, 1, &get("/v2/")));
        c.flood(repeat_n(frame(CONTINUATION, 0, 1, &[]), MANY));
    }),
    ("empty data", Any, |c| {
        c.write(&frame(HEADERS, END_HEADERS, 1, &post()));
        c.flood(repeat_n(frame(DATA, 0, 1, &[]), 5 * MANY));
    }),
    ("data by the byte", Any, |c| {
        c.write(&frame(HEADERS, END_HEADERS, 1, &post()));
        c.flood(repeat_n(frame(DATA, 0, 1, b"x"), 5 * MANY));
    }),
    ("padding", Any, |c| {
        c.write(&frame(HEADERS, END_HEADERS, 1, &post()));
        c.flood(repeat_n(frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat()), MANY));
    }),
    ("headers of a megabyte", Any, |c| {
        c.write(&frame(HEADERS, 0, 1, &get("/v2/")));
        c.flood(repeat_n(frame(CONTINUATION, 0, 1, &block(&[("x", &*"y".repeat(15_000))])), 70));
        c.write(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    }),
    // CVE-2016-6581: four kilobytes in the table, named by one byte each.
    ("headers that unfold", Any, |c| {
        let mut start = get("/v2/");
        start.extend([0x40, 1, b'x']);
        integer(&mut start, 0, 7, 4000);
        start.extend([b'y'; 4000]);
        for stream in streams(200) {
            let names: Vec<u8> = repeat_n(0xbe, 16_000 - start.len()).collect();
            let request = if stream == 1 { start.clone() } else { get("/v2/") };
            c.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[request, names].concat()));
        }
    }),
    ("streams that are never finished", Any, |c| {
        c.flood(streams(5_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &post())));
    }),
    ("heads that are never finished", Any, |c| {
        c.write(&frame(HEADERS, 0, 1, &get("/v2/")));
    }),
    ("answers that nobody takes", Any, |c| {
        c.reads = false;
        c.write(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
        c.flood(streams(5_000).map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/v2/_catalog"))));
    }),
];

/// What a client must not do.
const BREACHES: &[Trick] = &[
    ("a window beyond its size", GivenUp, |c| {
        c.flood(repeat_n(frame(WINDOW_UPDATE, 0, 0, &[127, 255, 255, 255]), 2));
    }),
    ("an update of nothing", GivenUp, |c| {
        c.write(&frame(WINDOW_UPDATE, 0, 0, &[0; 4]));
    }),
    ("an update of no window", GivenUp, |c| {
        c.write(&frame(WINDOW_UPDATE, 0, 0, &[0; 3]));
    }),
    ("an update of an idle stream", GivenUp, |c| {
        c.write(&frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1]));
    }),
    ("a window that shrinks below nothing", GivenUp, |c| {
        c.write(&frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255]));
    }),
    ("a table beyond its size", GivenUp, |c| {
        let mut block = Vec::new();
        integer(&mut block, 0x20, 5, 1 << 24);
        block.extend(get("/v2/"));
        c.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    }),
    ("an entry that is not there", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]));
    }),
    ("an integer without end", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 1000]));
    }),
    ("a text longer than its frame", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 127, 0]));
    }),
    ("letters that are none", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 0x84, 255, 255, 255, 255]));
    }),
    ("a frame beyond the limit", GivenUp, |c| {
        c.write(&frame(DATA, 0, 1, &vec![0; 1 << 20]));
    }),
    ("data on no stream", GivenUp, |c| {
        c.write(&frame(DATA, 0, 0, b"x"));
    }),
    ("data on an idle stream", GivenUp, |c| {
        c.write(&frame(DATA, 0, 5, b"x"));
    }),
    ("headers on no stream", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS, 0, &get("/v2/")));
    }),
    ("headers on a stream of the server", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS, 2, &get("/v2/")));
    }),
    ("a continuation of nothing", GivenUp, |c| {
        c.write(&frame(CONTINUATION, END_HEADERS, 1, &get("/v2/")));
    }),
    ("another frame inside of a head", GivenUp, |c| {
        c.write(&[frame(HEADERS, 0, 1, &get("/v2/")), frame(PING, 0, 0, &[0; 8])].concat());
    }),
    ("a stream older than another", GivenUp, |c| {
        let of = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/v2/"));
        c.write(&[of(9), of(3)].concat());
    }),
    ("padding longer than its frame", GivenUp, |c| {
        c.write(&frame(HEADERS, END_HEADERS | 8, 1, &[200, 0, 0]));
    }),
    ("settings of half a value", GivenUp, |c| {
        c.write(&frame(SETTINGS, 0, 0, &[0; 5]));
    }),
    ("settings on a stream", GivenUp, |c| {
        c.write(&frame(SETTINGS, 0, 1, &[]));
    }),
    ("an acknowledgement with settings", GivenUp, |c| {
        c.write(&frame(SETTINGS, ACK, 0, &[0, 4, 0, 0, 0, 9]));
    }),
    ("a ping of seven bytes", GivenUp, |c| {
        c.write(&frame(PING, 0, 0, &[0; 7]));
    }),
    ("a reset of an idle stream", GivenUp, |c| {
        c.write(&frame(RST_STREAM, 0, 1, &[0; 4]));
    }),
    ("a promise", GivenUp, |c| {
        c.write(&frame(5, END_HEADERS, 1, &[0, 0, 0, 2]));
    }),
    ("random bytes", GivenUp, |c| {
        c.write(&random_bytes(100_000));
    }),
];

/// A server, with the certificate that it shows if it speaks TLS.
struct Target {
    server: Server,
    certificate: Option<CertificateDer<'static>>,
    watch: Watch,
}

fn setup() -> Setup {
    Setup::directory(BINARY).set("ROADSTEAD_LIMITS_IDLE_SECONDS", "3").set("ROADSTEAD_LIMITS_KEEP_ALIVE_SECONDS", "5")
}

impl Target {
    fn in_the_clear() -> Self {
        let server = Server::start(setup());
        Self { watch: Watch::new(&server), server, certificate: None }
    }

    fn over_tls() -> Self {
        let dir = directory("tls");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(dir.join("tls.pem"), made.cert.pem()).unwrap();
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let setup =
            setup().set("ROADSTEAD_TLS_CERTIFICATE", &file("tls.pem")).set("ROADSTEAD_TLS_KEY", &file("tls.key"));
        let server = Server::start(setup);
        Self { watch: Watch::new(&server), server, certificate: Some(made.cert.der().clone()) }
    }

    fn greet(&self) -> Frames {
        Frames::greet(self.server.address(), self.certificate.as_ref(), &[])
    }

    /// Another client is served on a connection of its own.
    #[track_caller]
    fn serves(&self, trick: &str) {
        let login = basic(KEY_ID, KEY_SECRET);
        let mut honest = self.greet();
        let request = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "x"),
            (":path", "/v2/"),
            ("authorization", &*login),
        ];
        honest.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&request)));
        let body = honest.wait_for("an honest answer comes", |frame| frame.kind == DATA && frame.stream == 1);
        assert!(body.is_some_and(|frame| frame.payload == b"{}"), "after {trick}: {:?}", honest.seen);
        self.watch.nothing_failed(&self.server, &trick);
    }

    #[track_caller]
    fn bears(&self, tricks: &[Trick]) {
        for (name, end, trick) in tricks {
            let mut connection = self.greet();
            trick(&mut connection);
            // Meanwhile, and while the connection is still there.
            self.serves(name);
            // One that has read nothing has to begin, or the server waits for it.
            connection.reads = true;
            let given_up = connection.is_given_up();
            assert!(given_up || *end == Any, "{name} was borne");
            drop(connection);
            self.serves(name);
        }
        self.watch.holds_no_more_than_before(&self.server);
    }
}

#[test]
fn floods_in_the_clear() {
    Target::in_the_clear().bears(FLOODS);
}

#[test]
fn floods_over_tls() {
    Target::over_tls().bears(FLOODS);
}

#[test]
fn breaches_in_the_clear() {
    Target::in_the_clear().bears(BREACHES);
}

#[test]
fn breaches_over_tls() {
    Target::over_tls().bears(BREACHES);
}

/// Many connections at once that greet and say no more are given up, and their file descriptors come back.
#[test]
fn clients_that_say_nothing() {
    let target = Target::in_the_clear();
    let silent: Vec<_> = (0..200)
        .map(|n| match n % 4 {
            0 => Frames::open(target.server.address(), None),
            1 => target.greet(),
            2 => {
                let mut half = Frames::open(target.server.address(), None);
                half.write(&PREFACE[..n % 24]);
                half
            }
            _ => {
                let mut open = target.greet();
                open.write(&frame(HEADERS, END_HEADERS, 1, &post()));
                open
            }
        })
        .collect();
    target.serves("clients that say nothing");
    // The server closes them, not we.
    target.watch.holds_no_more_than_before(&target.server);
    drop(silent);
}

/// RFC 9113 8.1.1, 8.2, 8.3: a request that is malformed, or that becomes another one where HTTP/1.1 follows, is refused on its stream.
#[test]
fn malformed_requests() {
    let v = Victim::of(Server::start(setup()));
    let plain = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/v2/hidden/x/tags/list")];
    let with = |name: &'static str, value: &'static str| [&plain[..], &[(name, value)]].concat();
    let without = |name: &str| plain.iter().filter(|(other, _)| *other != name).copied().collect::<Vec<_>>();
    let instead = |name: &'static str, value: &'static str| [&without(name)[..], &[(name, value)]].concat();
    for (what, headers) in [
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no scheme", without(":scheme")),
        ("two methods", with(":method", "PUT")),
        ("two paths", with(":path", "/v2/")),
        ("an unknown pseudo-header", with(":x", "y")),
        ("a status", with(":status", "200")),
        ("a pseudo-header at the end", [&[("x", "y")][..], &plain].concat()),
        ("an upper-case name", with("X-Upper", "y")),
        ("a name with a blank", with("x y", "z")),
        ("a name with a colon", with("x:y", "z")),
        ("a name with CR and LF", with("x\r\ny", "z")),
        ("an empty name", with("", "z")),
        ("a value with CR and LF", with("x", "y\r\n\r\nGET /v2/hidden HTTP/1.1")),
        ("a value with NUL", with("x", "y\0z")),
        ("a connection header", with("connection", "close")),
        ("a transfer coding", with("transfer-encoding", "chunked")),
        ("an upgrade", with("upgrade", "h2c")),
        ("TE of HTTP/1.1", with("te", "gzip")),
        ("two lengths", [&plain[..], &[("content-length", "1"), ("content-length", "2")]].concat()),
        ("a length that is none", with("content-length", "x")),
        ("a length of a body that is none", with("content-length", "5")),
        ("a path with CR and LF", instead(":path", "/v2/\r\nHost: y\r\n\r\n")),
        ("a path with a blank", instead(":path", "/v2/ HTTP/1.1")),
        ("an empty path", instead(":path", "")),
        ("a path without a slash", instead(":path", "v2/")),
        ("a method with a blank", instead(":method", "GET /v2/ HTTP/1.1\r\nx: ")),
        ("an empty method", instead(":method", "")),
        ("an authority with a user", instead(":authority", "a@x")),
        ("an authority with a path", instead(":authority", "x/y")),
        ("another host beside the authority", with("host", "y")),
        ("two hosts", [&without(":authority")[..], &[("host", "x"), ("host", "y")]].concat()),
    ] {
        let position = v.server.output().position();
        let mut connection = Frames::greet(v.server.address(), None, &[]);
        connection.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&headers)));
        let told = connection.wait_for("the request is refused", |frame| {
            frame.kind == GOAWAY || (frame.stream == 1 && matches!(frame.kind, RST_STREAM | HEADERS))
        });
        if told.is_some_and(|frame| frame.kind == HEADERS) {
            // An answer is a refusal of HTTP, which says nothing of what was asked for: 401 would. The line of the honest client that
            // was served before may come late.
            let answered = |line: &str| line.contains("status=") && !line.contains("/manifests/good");
            let line = v.server.output().wait_for(position, |line| answered(line).then(|| line.to_owned()));
            let line = line.expect("the answer is logged");
            assert!(line.contains("status=4") && !line.contains("status=401"), "{what}: {line}");
        }
        v.is_well(&what);
    }
    let honest = Request::new("GET", "/v2/").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    h2::exchange(v.server.address(), &honest).unwrap().expect(200);
    v.holds_no_more_than_before();
}

/// RFC 9113 8.1.1: what is sent beyond the length that was said is no part of the blob.
#[test]
fn bodies_of_another_length() {
    let v = Victim::of(Server::start(setup()));
    let (bytes, login) = (random_bytes(100), basic(KEY_ID, KEY_SECRET));
    for (said, digest) in
        [("50", content::digest(&bytes[..50])), ("50", content::digest(&bytes)), ("200", content::digest(&bytes))]
    {
        let path = format!("/v2/conf/bad/blobs/uploads/?digest={digest}");
        let request = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "x"),
            (":path", &*path),
            ("authorization", &*login),
            ("content-length", said),
        ];
        let mut connection = Frames::greet(v.server.address(), None, &[]);
        connection.write(&frame(HEADERS, END_HEADERS, 1, &block(&request)));
        connection.write(&frame(DATA, END_STREAM, 1, &bytes));
        connection.wait_for("the request is refused", |frame| {
            frame.kind == GOAWAY || (frame.stream == 1 && matches!(frame.kind, RST_STREAM | HEADERS))
        });
        v.client.get(&v.at(&format!("blobs/{digest}"))).expect_error(404, "BLOB_UNKNOWN");
        v.is_well(&format!("{said} bytes said"));
    }
    v.holds_no_more_than_before();
}
