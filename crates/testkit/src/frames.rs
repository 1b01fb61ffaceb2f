//! HTTP/2 frame by frame, to send what no client sends: what is written here need not make sense.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};

use crate::process::DEADLINE;

/// `DATA`.
pub const DATA: u8 = 0;
/// `HEADERS`.
pub const HEADERS: u8 = 1;
/// `PRIORITY`.
pub const PRIORITY: u8 = 2;
/// `RST_STREAM`.
pub const RST_STREAM: u8 = 3;
/// `SETTINGS`.
pub const SETTINGS: u8 = 4;
/// `PING`.
pub const PING: u8 = 6;
/// `GOAWAY`.
pub const GOAWAY: u8 = 7;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 8;
/// `CONTINUATION`.
pub const CONTINUATION: u8 = 9;

/// The flag `ACK` of `SETTINGS` and `PING`.
pub const ACK: u8 = 1;
/// The flag `END_STREAM` of `DATA` and `HEADERS`.
pub const END_STREAM: u8 = 1;
/// The flag `END_HEADERS` of `HEADERS` and `CONTINUATION`.
pub const END_HEADERS: u8 = 4;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long one attempt to read or write may wait; whoever attempts looks what else there is to do, and comes back.
const TURN: Duration = Duration::from_millis(20);
/// After so many attempts without a byte taken, the server has stopped reading what it is sent.
const TURNS: usize = 50;

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Headers as a header block: literals that are not indexed, so that each block stands for itself.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, 0, 7, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer of HPACK with a prefix of so many bits, the bits before it as in `first` (RFC 7541, 5.1).
pub fn integer(block: &mut Vec<u8>, first: u8, bits: u8, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        block.push(first | u8::try_from(number).unwrap_or(0));
        return;
    }
    block.push(first | u8::try_from(most).unwrap_or(0));
    let mut rest = number - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}

/// A frame that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

trait Duplex: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Duplex for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Duplex for StreamOwned<ClientConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// One connection.
pub struct Frames {
    stream: Box<dyn Duplex>,
    unread: Vec<u8>,
    closed: bool,
    /// Whether what the server sends is read while frames are written. A client that does not is one that a server must bear too.
    pub reads: bool,
    /// What the server has sent so far.
    pub seen: Vec<Frame>,
}

impl Frames {
    /// Connects, and says nothing. With a certificate over TLS, with `h2` agreed on.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn open(address: SocketAddr, certificate: Option<&CertificateDer<'static>>) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_nodelay(true).expect("a socket");
        let stream: Box<dyn Duplex> = match certificate {
            None => Box::new(socket),
            Some(certificate) => Box::new(encrypted(socket, certificate)),
        };
        let socket = stream.socket();
        socket.set_read_timeout(Some(TURN)).expect("a socket");
        socket.set_write_timeout(Some(TURN)).expect("a socket");
        Self { stream, unread: Vec::new(), closed: false, reads: true, seen: Vec::new() }
    }

    /// Connects and greets with these settings.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn greet(address: SocketAddr, certificate: Option<&CertificateDer<'static>>, settings: &[u8]) -> Self {
        let mut frames = Self::open(address, certificate);
        frames.write(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        frames
    }

    /// Writes bytes as they are. False: the server takes no more, because it has closed or because it waits for us to read.
    pub fn write(&mut self, mut bytes: &[u8]) -> bool {
        let mut waited = 0;
        while !bytes.is_empty() && waited < TURNS {
            match self.stream.write(&bytes[..bytes.len().min(16 << 10)]) {
                Ok(0) => return false,
                Ok(written) => {
                    bytes = &bytes[written..];
                    waited = 0;
                }
                Err(error) if is_turn(&error) => waited += 1,
                Err(_) => return false,
            }
            if self.reads && (waited > 0 || bytes.is_empty()) {
                self.read();
            }
        }
        let _ = self.stream.flush();
        bytes.is_empty() && !self.closed
    }

    /// Writes frames until there are no more of them or the server takes none. How many it took.
    pub fn flood(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> usize {
        let mut taken = 0;
        let mut batch = Vec::new();
        for (count, frame) in frames.enumerate() {
            batch.extend(frame);
            if batch.len() >= 64 << 10 {
                if !self.write(&batch) {
                    return taken;
                }
                batch.clear();
                taken = count + 1;
            }
        }
        self.write(&batch);
        taken
    }

    /// Reads what is there.
    fn read(&mut self) {
        let mut space = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut space) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    self.unread.extend(&space[..read]);
                    self.parse();
                    continue;
                }
                Err(error) if is_turn(&error) => {}
                Err(_) => self.closed = true,
            }
            return;
        }
    }

    fn parse(&mut self) {
        let mut at = 0;
        while let Some(head) = self.unread[at..].first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = self.unread[at + 9..].get(..length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.seen.push(Frame { kind: head[3], flags: head[4], stream, payload: payload.to_vec() });
            at += 9 + length;
        }
        self.unread.drain(..at);
    }

    /// Reads until a frame comes that `pick` wants, or the connection ends (`None`).
    ///
    /// # Panics
    /// When neither happens.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, pick: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = self.seen.iter().find(|frame| pick(frame)) {
                return Some(found.clone());
            }
            if self.closed {
                return None;
            }
            assert!(Instant::now() < end, "waited in vain until {what}; seen: {:?}", self.seen);
            self.read();
        }
    }

    /// Whether the server has given the connection up (`GOAWAY` or its end) or still answers to a ping. One of these must come.
    #[track_caller]
    pub fn is_given_up(&mut self) -> bool {
        let mark = *b"are you?";
        self.write(&frame(PING, 0, 0, &mark));
        let told = self.wait_for("a ping is answered or the connection ends", |frame| {
            frame.kind == GOAWAY || (frame.kind == PING && frame.flags == ACK && frame.payload == mark)
        });
        told.is_none_or(|frame| frame.kind == GOAWAY)
    }
}

fn is_turn(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn encrypted(socket: TcpStream, certificate: &CertificateDer<'static>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions of TLS").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = socket.peer_addr().expect("a connection").ip().into();
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client of TLS");
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    stream
}
