//! An object storage in trouble: a proxy in front of a real S3 that understands requests, and does to chosen ones what a
//! store under load, behind a bad line or with wrong rights does. Everything else goes through unchanged, `Host` and
//! signature too.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum S3Fault {
    /// It is answered with a status and an S3 code such as `SlowDown`, and never reaches the store.
    Answer(u16, &'static str),
    /// It reaches the store, and its answer is lost with the connection.
    LoseAnswer,
    /// The connection is reset after so many bytes of its body.
    Reset(usize),
    /// The store answers; the connection is reset after so many bytes of the answer's body.
    CutAnswer(usize),
    /// Nothing is heard until the faults are cleared.
    Silence,
}

/// A proxy on an address of its own.
pub struct S3Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    cleared: u64,
    hits: u64,
}

struct Rule {
    method: &'static str,
    part: &'static str,
    fault: S3Fault,
    left: u64,
}

struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl S3Proxy {
    /// A proxy for the S3 at `upstream`, without faults.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn new(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { upstream, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::downgrade(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(shared) = accepting.upgrade() else { return };
                thread::spawn(move || {
                    // Whatever ends it, ends it with a reset: an orderly end is the client's.
                    let _ = shared.serve(&client);
                });
            }
        });
        Self { address, shared }
    }

    /// `http://HOST:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of `method` whose target contains `part` meet this fault.
    pub fn fail(&self, method: &'static str, part: &'static str, fault: S3Fault, times: u64) {
        self.shared.state().rules.push(Rule { method, part, fault, left: times });
    }

    /// From now on everything goes through.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.cleared += 1;
        self.shared.changed.notify_all();
    }

    /// How many requests met a fault.
    pub fn hits(&self) -> u64 {
        self.shared.state().hits
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.clear();
        // Wakes the thread that accepts, which then ends.
        let address = self.address;
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            TcpStream::connect(address)
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, client: &TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client);
        loop {
            let head = read_head(&mut reader)?;
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let (method, target) = line.split_once(' ').unwrap_or_default();
            let fault = self.fault_for(method, target);
            if let Some(S3Fault::Reset(bytes)) = fault {
                let mut some = vec![0; bytes];
                let _ = reader.read_exact(&mut some);
                return reset(client);
            }
            let body = read_body(&mut reader, &head, false)?;
            let request = Message { head, body };
            match fault {
                None => {
                    let answer = self.ask(&request, method)?;
                    (&mut &*client).write_all(&[answer.head, answer.body].concat())?;
                }
                Some(S3Fault::Answer(status, code)) => {
                    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
                    let text = if method == "HEAD" { "" } else { &text };
                    let length = text.len();
                    let answer = format!("HTTP/1.1 {status} {code}\r\nContent-Length: {length}\r\n\r\n{text}");
                    (&mut &*client).write_all(answer.as_bytes())?;
                }
                Some(S3Fault::LoseAnswer) => {
                    self.ask(&request, method)?;
                    return reset(client);
                }
                Some(S3Fault::CutAnswer(bytes)) => {
                    let answer = self.ask(&request, method)?;
                    (&mut &*client).write_all(&answer.head)?;
                    (&mut &*client).write_all(&answer.body[..bytes.min(answer.body.len())])?;
                    return reset(client);
                }
                Some(S3Fault::Silence) => {
                    let mut state = self.state();
                    let since = state.cleared;
                    while state.cleared == since {
                        state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    return reset(client);
                }
                Some(S3Fault::Reset(_)) => {}
            }
        }
    }

    fn fault_for(&self, method: &str, target: &str) -> Option<S3Fault> {
        let mut state = self.state();
        let rule = { state.rules.iter_mut() }
            .find(|rule| rule.left > 0 && rule.method == method && target.contains(rule.part))?;
        rule.left -= 1;
        let fault = rule.fault.clone();
        state.hits += 1;
        Some(fault)
    }

    fn ask(&self, request: &Message, method: &str) -> std::io::Result<Message> {
        let mut server = TcpStream::connect(self.upstream)?;
        server.set_nodelay(true)?;
        server.write_all(&request.head)?;
        server.write_all(&request.body)?;
        let mut reader = BufReader::new(server);
        let head = read_head(&mut reader)?;
        let status = head.get(9..12).unwrap_or_default();
        let bare = method == "HEAD" || status == b"204" || status == b"304";
        let body = if bare { Vec::new() } else { read_body(&mut reader, &head, true)? };
        Ok(Message { head, body })
    }
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Err(ErrorKind::ConnectionReset.into())
}

/// Everything up to and with the empty line.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if head[before..] == *b"\r\n" {
            return Ok(head);
        }
    }
}

/// The body as it is on the wire.
fn read_body(reader: &mut impl BufRead, head: &[u8], to_the_end: bool) -> std::io::Result<Vec<u8>> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let mut body = Vec::new();
    if value("transfer-encoding") == Some("chunked") {
        loop {
            let before = body.len();
            reader.read_until(b'\n', &mut body)?;
            let size = String::from_utf8_lossy(&body[before..]).trim().split(';').next().unwrap_or_default().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| ErrorKind::InvalidData)?;
            let start = body.len();
            body.resize(start + size + 2, 0);
            reader.read_exact(&mut body[start..])?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match value("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        None if to_the_end => {
            reader.read_to_end(&mut body)?;
        }
        None => {}
    }
    Ok(body)
}
