//! Where does a request end? Whoever stands in front may think otherwise than we do, and hand one client's bytes to us as another's
//! request. So each form either has the one end that RFC 9112 gives it, or its connection ends with it. A new form is a new line.

use roadstead_testkit::{Request, Response, Server, Setup, random_bytes, wire::Connection};

use crate::{bad_input::Victim, scene::BINARY};

/// What is hidden in a body or behind a request: were it read as a request, its answer would name it.
const HIDDEN: &str = "GET /v2/hidden/request/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
/// What honestly follows.
const NEXT: &str = "GET /v2/honest/next/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn victim() -> Victim {
    let setup = Setup::directory(BINARY).set("ROADSTEAD_LIMITS_IDLE_SECONDS", "3");
    Victim::of(Server::start(setup.set("ROADSTEAD_LIMITS_HEADER_SECONDS", "3")))
}

fn statuses(answers: &[Response]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

fn named<'a>(answers: &'a [Response], name: &str) -> Option<&'a Response> {
    answers.iter().find(|answer| answer.all("WWW-Authenticate").iter().any(|value| value.contains(name)))
}

/// The connection ends with this request: at most one answer comes, a 4xx, and nothing that follows is answered.
#[track_caller]
fn ends(v: &Victim, name: &str, bytes: impl AsRef<[u8]>) {
    let answers = v.converse([bytes.as_ref(), NEXT.as_bytes(), HIDDEN.as_bytes()].concat());
    assert!(answers.len() <= 1, "{name}: {answers:?}");
    assert!(answers.iter().all(|answer| (400..500).contains(&answer.status)), "{name}: {answers:?}");
    assert!(named(&answers, "hidden").is_none() && named(&answers, "honest").is_none(), "{name}: {answers:?}");
    v.is_well(&name);
}

/// The request ends where RFC 9112 says: what follows is the next one, and its answer the second.
#[track_caller]
fn goes_on(v: &Victim, name: &str, bytes: impl AsRef<[u8]>) {
    let answers = v.converse([bytes.as_ref(), NEXT.as_bytes()].concat());
    assert_eq!(answers.len(), 2, "{name}: {answers:?}");
    assert!(answers.iter().all(|answer| answer.status < 500), "{name}: {answers:?}");
    assert!(named(&answers, "hidden").is_none(), "{name}: {answers:?}");
    assert!(named(&answers[1..], "honest").is_some(), "{name}: {answers:?}");
    v.is_well(&name);
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /v2/conf/bad/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
}

/// RFC 9112 6.3: two lengths, or a length that is none.
#[test]
fn lengths_of_a_body() {
    let v = victim();
    let size = HIDDEN.len();
    let chunked = format!("{size:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "content-length: 4\r\nTRANSFER-ENCODING: CHUNKED\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding\x0b: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: chun\rked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
        "X\rTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5e0\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: ٥\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\x0b: 5\r\n",
        "Content-Length:\x0c5\r\n",
        "Content-Length: 5\r\n Content-Length: 6\r\n",
        "Content-Length: 5\rContent-Length: 6\r\n",
    ] {
        ends(&v, headers, post(headers, &chunked));
    }
    // HTTP/1.0 knows no chunks.
    ends(
        &v,
        "chunks of HTTP/1.0",
        post("Transfer-Encoding: chunked\r\n", &chunked)
            .replace("HTTP/1.1\r\nHost: x\r\nT", "HTTP/1.0\r\nHost: x\r\nT"),
    );
    for (headers, body) in [
        ("Transfer-Encoding: chunked\r\n".to_owned(), chunked.as_str()),
        ("Transfer-Encoding: Chunked \t\r\n".to_owned(), &chunked),
        (format!("Content-Length: {size}\r\n"), HIDDEN),
        (format!("Content-Length: {size}\r\nContent-Length: {size}\r\n"), HIDDEN),
        (format!("Content-Length: 000{size}\r\n"), HIDDEN),
        ("Content-Length: 0\r\n".to_owned(), ""),
        (String::new(), ""),
    ] {
        goes_on(&v, &headers, post(&headers, body));
    }
    v.holds_no_more_than_before();
}

/// RFC 9112 7.1: chunks that are none end the connection; of the upload nothing but whole chunks before them is kept.
#[test]
fn chunks() {
    let v = victim();
    let login = v.login();
    let large = |byte: &str, count: usize| byte.repeat(count);
    for (name, body) in [
        ("a size with a sign", format!("+5\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a negative size", format!("-5\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size as of C", format!("0x5\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size beyond 64 bits", format!("10000000000000000\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size that wraps to 5", format!("f0000000000000005\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("the largest size", format!("ffffffffffffffff\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("no size", format!("\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size of letters", format!("five\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("two sizes", format!("5 5\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size too small", format!("3\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a size too large", format!("6\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a line that ends with LF", format!("5\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a line that ends with CR", format!("5\rhello\r\n0\r\n\r\n{HIDDEN}")),
        ("a chunk that ends with LF", format!("5\r\nhello\n0\r\n\r\n{HIDDEN}")),
        ("an extension with LF", format!("5;a\nb\r\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ("an extension of a megabyte", format!("5;{}\r\nhello\r\n0\r\n\r\n{HIDDEN}", large("a", 1 << 20))),
        ("extensions without end", format!("{}0\r\n\r\n{HIDDEN}", large("1;aaaaaaaaaaaaaaaa\r\nx\r\n", 5_000))),
        ("a trailer of a megabyte", format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n{HIDDEN}", large("a", 1 << 20))),
        ("trailers without end", format!("5\r\nhello\r\n0\r\n{}\r\n{HIDDEN}", large("X: y\r\n", 100_000))),
        ("a trailer that is none", format!("5\r\nhello\r\n0\r\nno colon here\r\n\r\n{HIDDEN}")),
    ] {
        let location = v.client.begin(&v.repo);
        let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\n{login}Transfer-Encoding: chunked\r\n\r\n");
        let answers = v.converse(head + &body + NEXT);
        assert!(named(&answers, "hidden").is_none() && named(&answers, "honest").is_none(), "{name}: {answers:?}");
        assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.status == 400), "{name}: {answers:?}");
        v.is_well(&name);
    }
    // An extension is allowed, and so are trailers; neither means anything.
    for body in [
        "5;a=b\r\nhello\r\n0;c\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\nContent-Length: 3\r\n\r\n",
        "5 \t\r\nhello\r\n0\r\n\r\n",
        &(large("0", 1 << 20) + "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        goes_on(&v, &body[..body.len().min(50)], post("Transfer-Encoding: chunked\r\n", body));
    }
    v.holds_no_more_than_before();
}

/// RFC 9112 2.2, 3, 5: a head that is none ends the connection.
#[test]
fn heads() {
    let v = victim();
    let head = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    for (name, bytes) in [
        ("no version", "GET /v2/\r\n\r\n".to_owned()),
        ("HTTP/0.9", head("GET /v2/ HTTP/0.9", "Host: x\r\n")),
        ("HTTP/1.2", head("GET /v2/ HTTP/1.2", "Host: x\r\n")),
        ("HTTP/2.0", head("GET /v2/ HTTP/2.0", "Host: x\r\n")),
        ("HTTP/3.0", head("GET /v2/ HTTP/3.0", "Host: x\r\n")),
        ("HTTP/11", head("GET /v2/ HTTP/11", "Host: x\r\n")),
        ("http/1.1", head("GET /v2/ http/1.1", "Host: x\r\n")),
        ("no target", head("GET HTTP/1.1", "Host: x\r\n")),
        ("a target with a blank", head("GET /v2/ x HTTP/1.1", "Host: x\r\n")),
        ("a target without a slash", head("GET v2/ HTTP/1.1", "Host: x\r\n")),
        ("a method with NUL", head("GET\0 /v2/ HTTP/1.1", "Host: x\r\n")),
        ("a method with a colon", head("GET: /v2/ HTTP/1.1", "Host: x\r\n")),
        ("a target with NUL", head("GET /v2/\0 HTTP/1.1", "Host: x\r\n")),
        ("a target with CR", head("GET /v2/\rx HTTP/1.1", "Host: x\r\n")),
        ("a target of 100 KB", head(&format!("GET /v2/{} HTTP/1.1", "a".repeat(100_000)), "Host: x\r\n")),
        ("a method of 100 KB", head(&format!("{} /v2/ HTTP/1.1", "A".repeat(100_000)), "Host: x\r\n")),
        ("no Host", head("GET /v2/ HTTP/1.1", "")),
        ("two Hosts", head("GET /v2/ HTTP/1.1", "Host: x\r\nHost: y\r\n")),
        ("the same Host twice", head("GET /v2/ HTTP/1.1", "Host: x\r\nHost: x\r\n")),
        ("a Host with a user", head("GET /v2/ HTTP/1.1", "Host: a@x\r\n")),
        ("a Host with a path", head("GET /v2/ HTTP/1.1", "Host: x/y\r\n")),
        ("a Host with a comma", head("GET /v2/ HTTP/1.1", "Host: x, y\r\n")),
        ("a Host with no number for port", head("GET /v2/ HTTP/1.1", "Host: x:y\r\n")),
        ("a Host with a port beyond", head("GET /v2/ HTTP/1.1", "Host: x:99999\r\n")),
        ("an absolute target with a user", head("GET http://a:b@x/v2/ HTTP/1.1", "Host: x\r\n")),
        ("a header of 100 KB", head("GET /v2/ HTTP/1.1", &format!("Host: x\r\nX: {}\r\n", "a".repeat(100_000)))),
        ("a name of 100 KB", head("GET /v2/ HTTP/1.1", &format!("Host: x\r\n{}: y\r\n", "a".repeat(100_000)))),
        ("10,000 headers", head("GET /v2/ HTTP/1.1", &("Host: x\r\n".to_owned() + &"X: y\r\n".repeat(10_000)))),
        ("a header without end", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ".to_owned() + &"a".repeat(8 << 20)),
        ("headers without end", "GET /v2/ HTTP/1.1\r\nHost: x\r\n".to_owned() + &"X: y\r\n".repeat(1 << 20)),
        ("a folded header", head("GET /v2/ HTTP/1.1", "Host: x\r\nX: y\r\n z\r\n")),
        ("a folded Host", head("GET /v2/ HTTP/1.1", "Host: x\r\n y\r\n")),
        ("a blank before the first header", head("GET /v2/ HTTP/1.1", " X: y\r\nHost: x\r\n")),
        ("a header without a colon", head("GET /v2/ HTTP/1.1", "Host: x\r\nX\r\n")),
        ("a header without a name", head("GET /v2/ HTTP/1.1", "Host: x\r\n: y\r\n")),
        ("a name with a blank", head("GET /v2/ HTTP/1.1", "Host: x\r\nX : y\r\n")),
        ("a name that is no token", head("GET /v2/ HTTP/1.1", "Host: x\r\nX(): y\r\n")),
        ("a value with NUL", head("GET /v2/ HTTP/1.1", "Host: x\r\nX: a\0b\r\n")),
        ("a value with CR", head("GET /v2/ HTTP/1.1", "Host: x\r\nX: a\rb\r\n")),
        ("a value with DEL", head("GET /v2/ HTTP/1.1", "Host: x\r\nX: a\x7fb\r\n")),
        ("lines that end with CR", "GET /v2/ HTTP/1.1\rHost: x\r\r".to_owned()),
        ("the greeting of HTTP/2 and none", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned()),
        ("the greeting of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".to_owned()),
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n".to_owned()),
    ] {
        ends(&v, name, bytes);
    }
    ends(&v, "random bytes", random_bytes(100_000));
    ends(&v, "zeroes", vec![0_u8; 1 << 20]);
    v.holds_no_more_than_before();
}

/// RFC 9112 2.2, 3.2: forms that are rare and allowed have the meaning that it gives them.
#[test]
fn rare_forms() {
    let v = victim();
    for (name, bytes, right) in [
        ("an absolute target", "GET http://x/v2/ HTTP/1.1\r\nHost: other\r\n\r\n", 401),
        ("the asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("a tunnel", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 404),
        ("TRACE", "TRACE /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("a method in lower case", "get /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("an unknown method", "BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("empty lines before", "\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        ("lines that end with LF", "GET /v2/ HTTP/1.1\nHost: x\n\n", 401),
        ("an empty Host", "GET /v2/ HTTP/1.1\r\nHost:\r\n\r\n", 401),
        ("a body on GET", "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 401),
        ("a body on DELETE", "DELETE /v2/a/b/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 401),
        (
            "an upgrade to HTTP/2",
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
            401,
        ),
        (
            "an upgrade to a socket",
            "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
            401,
        ),
        ("another expectation", "GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n", 401),
        ("bytes beyond ASCII", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: \u{e9}\u{4e2d}\r\n\r\n", 401),
        ("a protected header", "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: Authorization, Host\r\n\r\n", 401),
    ] {
        let answers = v.converse(bytes.to_owned() + NEXT);
        assert_eq!(statuses(&answers), [right, 401], "{name}: {answers:?}");
        assert!(named(&answers[1..], "honest").is_some(), "{name}: {answers:?}");
        v.is_well(&name);
    }
    let absolute = "GET http://seen.example:7000/v2/ HTTP/1.1\r\nHost: unseen.example\r\nConnection: close\r\n\r\n";
    let answers = v.converse(absolute);
    assert!(named(&answers, "http://seen.example:7000/token").is_some(), "{answers:?}");
    let old = v.converse("GET /v2/ HTTP/1.0\r\n\r\n".to_owned() + HIDDEN);
    assert_eq!(statuses(&old), [401], "HTTP/1.0 ends with its answer: {old:?}");
    let head = v.converse("HEAD /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    assert!(head.is_empty() || head[0].status == 401, "{head:?}");
    v.is_well(&"HEAD with a body");
    v.holds_no_more_than_before();
}

/// RFC 9112 9.3.2: many requests at once are answered in their order, and what is no request ends the connection after the last answer.
#[test]
fn pipelines() {
    let v = victim();
    let many: String = (0..1_000).map(|n| format!("GET /v2/conf/r{n}/tags/list HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    let answers = v.converse(many + NEXT);
    assert_eq!(answers.len(), 1_001);
    for (n, answer) in answers.iter().take(1_000).enumerate() {
        assert!(answer.header("WWW-Authenticate").contains(&format!("conf/r{n}:")), "{n}: {answer:?}");
    }
    v.is_well(&"a thousand requests at once");
    let one = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    for garbage in [
        " ".repeat(100_000),
        "\0".repeat(100_000),
        "x".repeat(1 << 20),
        "\u{16}\u{3}\u{1}".to_owned() + NEXT,
        ": x\r\n\r\n".to_owned() + NEXT,
    ] {
        let answers = v.converse(one.to_owned() + &garbage + "\r\n\r\n");
        assert_eq!(answers.first().map(|answer| answer.status), Some(401), "{answers:?}");
        assert!(
            answers.len() <= 2 && answers[1..].iter().all(|answer| (400..500).contains(&answer.status)),
            "{answers:?}"
        );
        assert!(named(&answers, "honest").is_none(), "{answers:?}");
        v.is_well(&"garbage after a request");
    }
    v.holds_no_more_than_before();
}

/// protocol.md N2, F5: a body that does not end is not read to its end, whoever sends it; what is kept of it in memory is nothing.
#[test]
fn bodies_without_end() {
    let v = victim();
    let login = v.login();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let chunks = format!("100000\r\n{}\r\n", "grant_type=x&a=b".repeat(1 << 16)).repeat(64);
    for (line, headers, right) in [
        (format!("PUT {}", v.at("manifests/endless")), login.as_str(), 413),
        (format!("PUT {}", v.at("manifests/-no-tag-")), &login, 400),
        (format!("PATCH {}", v.at("blobs/uploads/none")), &login, 404),
        (format!("POST {}", v.at("tags/list")), &login, 405),
        ("PUT /v2/conf/bad/manifests/x".to_owned(), "", 401),
        ("POST /token".to_owned(), form, 413),
        ("GET /v2/conf/bad/tags/list".to_owned(), "", 401),
        ("POST /nothing".to_owned(), "", 404),
    ] {
        for length in ["Transfer-Encoding: chunked", "Content-Length: 99999999999"] {
            let bytes = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n\r\n{chunks}{HIDDEN}");
            let answers = v.converse(bytes);
            // The end of the connection can overtake the answer while the client still sends.
            assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.status == right), "{line}: {answers:?}");
            v.is_well(&line);
        }
    }
    v.client.get(&v.at("manifests/endless")).expect_error(404, "MANIFEST_UNKNOWN");
    v.holds_no_more_than_before();
}

/// RFC 9112 6.3: a head that comes in pieces, the first of them while the request before it runs, is read as one.
#[test]
fn heads_in_pieces() {
    let v = victim();
    let slow = format!("GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n", v.at(&format!("blobs/{}", v.layer)), v.login());
    for cut in 1..30 {
        let tricky = post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
        let cut = cut * tricky.len() / 30;
        let mut connection = Connection::open(v.server.address()).unwrap();
        let get = Request::new("GET", "pieces");
        connection.write_raw((slow.clone() + &tricky[..cut]).as_bytes()).unwrap();
        connection.read_answer(&get).unwrap().expect(200);
        connection.write_raw([&tricky.as_bytes()[cut..], HIDDEN.as_bytes()].concat().as_slice()).unwrap();
        if let Ok(answer) = connection.read_answer(&get) {
            answer.expect_one_of(&[400, 401]);
        }
        assert!(connection.is_closed(), "cut at {cut}");
        v.is_well(&format!("two lengths in two pieces, cut at {cut}"));
    }
    v.holds_no_more_than_before();
}
