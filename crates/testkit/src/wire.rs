//! HTTP/1.1 by hand over a socket, strict about what the server sends: framing that a lenient client would forgive
//! is an error here (a body after HEAD or 204, bytes after the end, both `Content-Length` and chunks).

use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::{
    http::{Body, Request, Response},
    process::DEADLINE,
};

/// Why there is no answer.
#[derive(Debug)]
pub enum WireError {
    /// The connection could not be made, or ended early.
    Connection(std::io::Error),
    /// The server broke the rules of HTTP/1.1.
    Rules(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => write!(f, "connection: {error}"),
            Self::Rules(rule) => write!(f, "not HTTP/1.1: {rule}"),
        }
    }
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error)
    }
}

fn rules<T>(words: impl Into<String>) -> Result<T, WireError> {
    Err(WireError::Rules(words.into()))
}

/// One connection, used for one request after another.
pub struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self, WireError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream, host: address.to_string() })
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, request: &Request) -> Result<Response, WireError> {
        self.write_head(request)?;
        // A server may answer and close before it has read everything: the answer still counts.
        let written = self.write_body(&request.body);
        match self.read_answer(request) {
            Err(WireError::Connection(error)) => Err(WireError::Connection(written.err().unwrap_or(error))),
            answer => answer,
        }
    }

    /// Sends the head of a request alone.
    pub fn write_head(&mut self, request: &Request) -> Result<(), WireError> {
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        if request.header_value("Host").is_none() {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match &request.body {
            Body::None => {}
            Body::Length(bytes) => head += &format!("Content-Length: {}\r\n", bytes.len()),
            Body::CutShort(length, _) => head += &format!("Content-Length: {length}\r\n"),
            Body::Chunked(_) | Body::ChunkedCutShort(_) => head += "Transfer-Encoding: chunked\r\n",
        }
        Ok(self.stream.write_all((head + "\r\n").as_bytes())?)
    }

    /// Sends a body alone.
    pub fn write_body(&mut self, body: &Body) -> std::io::Result<()> {
        match body {
            Body::None => {}
            Body::Length(bytes) => self.stream.write_all(bytes)?,
            Body::CutShort(_, bytes) => {
                self.stream.write_all(bytes)?;
                self.stream.shutdown(Shutdown::Write)?;
            }
            Body::Chunked(pieces) | Body::ChunkedCutShort(pieces) => {
                for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                    self.write_chunk(piece)?;
                }
                match body {
                    Body::Chunked(_) => self.stream.write_all(b"0\r\n\r\n")?,
                    _ => self.stream.shutdown(Shutdown::Write)?,
                }
            }
        }
        Ok(())
    }

    /// Sends one chunk of a body with `Transfer-Encoding: chunked`.
    pub fn write_chunk(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk)
    }

    /// Sends bytes as they are.
    pub fn write_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one answer; `request` tells whether a body may follow.
    pub fn read_answer(&mut self, request: &Request) -> Result<Response, WireError> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.read_head()?;
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            let asked = format!("{} {}", request.method, request.target);
            let mut answer = Response { asked, status, headers, body: Vec::new(), interim };
            if request.method == "HEAD" {
                return Ok(answer);
            }
            answer.body = self.read_body(&answer)?;
            return Ok(answer);
        }
    }

    /// Reads one line of a head.
    pub fn read_line(&mut self) -> Result<String, WireError> {
        let mut line = Vec::new();
        (&mut self.reader).take(64 * 1024).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None if line.is_empty() => {
                Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the server closed").into())
            }
            None => rules(format!("a line without CRLF: {}", String::from_utf8_lossy(&line))),
        }
    }

    fn read_head(&mut self) -> Result<(u16, Vec<(String, String)>), WireError> {
        let first = self.read_line()?;
        // HTTP/1.0 is what those hear who speak it.
        let rest = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status = rest.and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else { return rules(format!("status line {first:?}")) };
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let Some((name, value)) = line.split_once(':') else { return rules(format!("header line {line:?}")) };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, answer: &Response) -> Result<Vec<u8>, WireError> {
        let length = answer.all("Content-Length");
        let chunked = answer.all("Transfer-Encoding");
        let mut body = Vec::new();
        match (length.as_slice(), chunked.as_slice()) {
            // With these two there is none, whatever the headers say.
            (_, []) if answer.status == 304 => {}
            ([], []) if answer.status == 204 => {}
            (["0"], []) if answer.status == 204 => {}
            (_, _) if answer.status == 204 => return rules(format!("204 with a body: {answer:?}")),
            ([length], []) => {
                let length = length.parse().or_else(|_| rules(format!("Content-Length {length}")))?;
                body.resize(length, 0);
                self.reader.read_exact(&mut body)?;
            }
            ([], ["chunked"]) => loop {
                let size = self.read_line()?;
                let size = usize::from_str_radix(&size, 16).or_else(|_| rules(format!("chunk size {size:?}")))?;
                let before = body.len();
                body.resize(before + size, 0);
                self.reader.read_exact(&mut body[before..])?;
                if !self.read_line()?.is_empty() {
                    return rules("a chunk that does not end where it says");
                }
                if size == 0 {
                    break;
                }
            },
            ([], []) if answer.get("Connection") == Some("close") => {
                self.reader.read_to_end(&mut body)?;
            }
            _ => return rules(format!("no end of the body to be seen: {answer:?}")),
        }
        Ok(body)
    }

    /// Whether the server has closed the connection; waits until it closes or sends something.
    pub fn is_closed(&mut self) -> bool {
        self.reader.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

/// Sends bytes as they are on a connection of its own, and reads all answers until the server closes it; the bytes must bring it to that.
///
/// # Panics
/// When it neither answers nor closes, or answers against the rules of HTTP/1.1.
#[track_caller]
pub fn converse(address: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let mut connection = Connection::open(address).expect("a connection");
    let mut writer = connection.stream.try_clone().expect("a socket");
    let get = Request::new("GET", "bytes");
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        // It may close before it has read everything.
        scope.spawn(move || writer.write_all(bytes));
        loop {
            match connection.read_answer(&get) {
                Ok(answer) => answers.push(answer),
                Err(WireError::Connection(error)) if !is_timeout(&error) => break,
                Err(error) => {
                    let _ = connection.stream.shutdown(Shutdown::Both);
                    panic!("{error}; after {answers:?}");
                }
            }
        }
        // What it did not read is not waited for.
        let _ = connection.stream.shutdown(Shutdown::Both);
    });
    answers
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// One request on a connection of its own, which the server must end after the answer (`Connection: close`).
pub fn exchange(address: SocketAddr, request: &Request) -> Result<Response, WireError> {
    let mut connection = Connection::open(address)?;
    let mut request = request.clone();
    if request.header_value("Connection").is_none() {
        request = request.header("Connection", "close");
    }
    let answer = connection.send(&request)?;
    let mut surplus = Vec::new();
    // A reset is an end too: the server may not have read all we sent.
    let _ = connection.reader.read_to_end(&mut surplus);
    if surplus.is_empty() { Ok(answer) } else { rules(format!("{} bytes after the end of {answer:?}", surplus.len())) }
}
