//! The way to a server, and what may be wrong with it: a TCP proxy whose behaviour a test switches while it runs.
//!
//! What it does slowly it does in its own threads; no test waits for a time.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::process::until;

/// How the proxy treats connections, old and new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything goes through.
    Open,
    /// New connections are refused, old ones were reset when this began.
    Refused,
    /// Connections are accepted, and nothing goes through: as with a server that hangs, or a firewall that has forgotten
    /// a connection. What was sent goes on when the way is open again.
    Silent,
    /// In each direction of a connection so many bytes go through at a time, with a pause after them.
    Slow(usize, Duration),
    /// A connection is reset after so many bytes from the client.
    ResetAfterSent(u64),
    /// A connection is reset after so many bytes from the server.
    ResetAfterReceived(u64),
    /// What follows on the client's words reaches the server, but the answer to it is lost with the connection.
    LosesAnswerTo(&'static [u8]),
}

/// A proxy on an address of its own.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    lost: AtomicU64,
}

struct State {
    way: Way,
    listens: bool,
    ended: bool,
    connections: Vec<Arc<Connection>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    answer_is_lost: AtomicBool,
    forgotten: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Connection {
    /// Ends both halves with a reset.
    fn reset(&self) {
        for stream in [&self.client, &self.server] {
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            // With the linger time of 0 the end of the last handle is a reset; this wakes whoever reads from it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// A proxy for `upstream`, with an open way.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn new(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State { way: Way::Open, listens: true, ended: false, connections: Vec::new() };
        let shared =
            Arc::new(Shared { upstream, state: Mutex::new(state), changed: Condvar::new(), lost: AtomicU64::new(0) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(address, listener));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on things go this way. Returns when it is so.
    pub fn set(&self, way: Way) {
        let refused = way == Way::Refused;
        {
            let mut state = self.shared.state();
            state.way = way;
            self.shared.changed.notify_all();
            if refused {
                for connection in state.connections.drain(..) {
                    connection.reset();
                }
            }
        }
        until("the proxy listens or not", || (self.shared.state().listens != refused).then_some(()));
    }

    /// Resets every connection that is open.
    pub fn cut(&self) {
        for connection in self.shared.state().connections.drain(..) {
            connection.reset();
        }
    }

    /// Nothing goes through the connections that are open now, ever; nobody is told. New ones are as good as any: a
    /// firewall between has lost its memory.
    pub fn forget(&self) {
        for connection in &self.shared.state().connections {
            connection.forgotten.store(true, Ordering::SeqCst);
        }
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        self.cut();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, address: SocketAddr, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            let mut state = self.state();
            if state.ended {
                return;
            }
            if state.way == Way::Refused {
                listener = None;
                state.listens = false;
                drop(self.changed.wait_timeout(state, Duration::from_millis(50)));
                continue;
            }
            drop(state);
            let open = match &listener {
                Some(open) => open,
                // The port may be held by a connection that is not quite over.
                None => match TcpListener::bind(address) {
                    Ok(bound) => listener.insert(bound),
                    Err(_) => {
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                },
            };
            self.state().listens = true;
            let _ = open.set_nonblocking(true);
            match open.accept() {
                Ok((client, _)) => self.begin(client),
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn begin(self: &Arc<Self>, client: TcpStream) {
        let _ = client.set_nonblocking(false);
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        let connection = Arc::new(Connection {
            client,
            server,
            answer_is_lost: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            sent,
            received,
        });
        let mut state = self.state();
        // One that is over is known to nobody but this list.
        state.connections.retain(|connection| Arc::strong_count(connection) > 1);
        state.connections.push(Arc::clone(&connection));
        drop(state);
        for up in [true, false] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::spawn(move || {
                if shared.pump(&connection, up).is_err() {
                    connection.reset();
                }
            });
        }
    }

    fn pump(&self, connection: &Connection, up: bool) -> std::io::Result<()> {
        let (mut from, mut to) = match up {
            true => (&connection.client, &connection.server),
            false => (&connection.server, &connection.client),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let most = match self.state().way {
                Way::Slow(bytes, _) => bytes.clamp(1, buffer.len()),
                _ => buffer.len(),
            };
            let read = from.read(&mut buffer[..most])?;
            let way = self.wait_while_silent();
            let bytes = &buffer[..read];
            if read == 0 {
                let _ = to.shutdown(Shutdown::Write);
                return Ok(());
            }
            if connection.forgotten.load(Ordering::SeqCst) {
                continue;
            }
            let gone = || Err(std::io::Error::from(ErrorKind::ConnectionReset));
            if !up && connection.answer_is_lost.load(Ordering::SeqCst) {
                self.lost.fetch_add(1, Ordering::SeqCst);
                return gone();
            }
            let counter = if up { &connection.sent } else { &connection.received };
            let before = counter.fetch_add(read as u64, Ordering::SeqCst);
            match way {
                Way::ResetAfterSent(most) if up && before + read as u64 > most => return gone(),
                Way::ResetAfterReceived(most) if !up && before + read as u64 > most => return gone(),
                Way::LosesAnswerTo(words) if up && bytes.windows(words.len()).any(|part| part == words) => {
                    connection.answer_is_lost.store(true, Ordering::SeqCst);
                }
                _ => {}
            }
            to.write_all(bytes)?;
            if let Way::Slow(_, pause) = way {
                thread::sleep(pause);
            }
        }
    }

    fn wait_while_silent(&self) -> Way {
        let mut state = self.state();
        while state.way == Way::Silent && !state.ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.way.clone()
    }
}
