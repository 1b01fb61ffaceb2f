//! Programs that a test process starts, and that stop with it.
//!
//! Rust does not drop statics, and nothing runs after `kill -9`. So each program is the child of a small shell that
//! holds the reading end of a pipe from the test process: when that process ends, in whatever way, the pipe closes,
//! and the shell ends the program. The files of all programs lie in one directory, which goes the same way.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The longest that anything in a test may take. Reached only when something hangs.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// `$1` is the signal that ends the program when the test process is gone, the rest is the program. The inner shell
/// says its process id and then becomes the program. `wait` gives the program's exit code, 128 + signal if killed.
const GUARD: &str = r#"
signal=$1
shift
exec 3<&0 </dev/null
sh -c 'echo "pid $$"; exec "$@"' sh "$@" 3<&- &
child=$!
{ read -r _ <&3; kill -s "$signal" "$child" 2>/dev/null; } >/dev/null 2>&1 &
watcher=$!
wait "$child"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"#;

/// Waits until `condition` gives a value.
///
/// # Panics
/// When it has given none for [`DEADLINE`]: the message names `what`.
#[track_caller]
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually(condition).unwrap_or_else(|| panic!("waited in vain until {what}"))
}

/// Waits until `condition` gives a value; `None` when it has given none for [`DEADLINE`]. For a test that has threads
/// to end before it may panic.
pub fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A fresh directory `NAME-NUMBER` that is gone when the test process is. Other users may pass through it to
/// directories inside that are theirs.
pub fn directory(name: &str) -> PathBuf {
    static ROOT: OnceLock<(PathBuf, Child)> = OnceLock::new();
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let (root, _) = ROOT.get_or_init(|| {
        let root = tempfile::Builder::new()
            .prefix("roadstead-test-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .expect("a directory for temporary files")
            .keep();
        // The programs end at the same moment: what they still write is swept a second time.
        let sweep =
            r#"read -r _; for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && sleep 0.2 && [ ! -e "$1" ] && break; done"#;
        let sweeper = Command::new("sh")
            .args(["-c", sweep, "sh"])
            .arg(&root)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        (root, sweeper)
    });
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = root.join(format!("{name}-{number}"));
    std::fs::create_dir(&path).expect("a directory of a new name can be made");
    path
}

/// The first program of this name in `PATH` or in one of the `further` directories.
pub fn find_program(name: &str, further: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(further.iter().cloned()).map(|dir| dir.join(name));
    { found }.find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// Lines that a program printed, with those who wait for one.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    open_streams: usize,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, stream: impl Read + Send + 'static, prefix: &'static str) {
        self.lines().open_streams += 1;
        let output = self.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = format!("{prefix}{}", String::from_utf8_lossy(&line).trim_end());
                output.lines().lines.push(text);
                output.0.1.notify_all();
                line.clear();
            }
            output.lines().open_streams -= 1;
            output.0.1.notify_all();
        });
    }

    /// How many lines there are: a place to read on from.
    pub fn position(&self) -> usize {
        self.lines().lines.len()
    }

    /// All lines from `position` on, each with `out: ` or `err: ` before it.
    pub fn since(&self, position: usize) -> Vec<String> {
        self.lines().lines[position..].to_vec()
    }

    /// Everything the program has printed, as one text.
    pub fn text(&self) -> String {
        self.since(0).join("\n")
    }

    /// The first value that `pick` finds in a line after `position`; `None` when the program has closed its output,
    /// or said no such thing for [`DEADLINE`].
    pub fn wait_for<T>(&self, position: usize, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + DEADLINE;
        let mut read = position;
        let mut lines = self.lines();
        loop {
            if let Some(value) = lines.lines[read..].iter().find_map(|line| pick(line)) {
                return Some(value);
            }
            read = lines.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if lines.open_streams == 0 || left.is_zero() {
                return None;
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A running program. Dropping it kills it.
pub struct Process {
    guard: Child,
    pid: Pid,
    /// What it prints.
    pub output: Output,
}

impl Process {
    /// Starts `command`, its lines added to `output`. `end_signal` (`KILL`, `QUIT`, ...) is what the program gets
    /// when the test process is gone.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &Command, end_signal: &str, user: Option<(u32, u32)>, output: Output) -> Self {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", end_signal]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            guard.current_dir(dir);
        }
        if let Some((uid, gid)) = user {
            guard.uid(uid).gid(gid);
        }
        // A group of its own: Ctrl-C in a terminal reaches the test process alone, which is what the guard watches.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = output.position();
        let mut guard = guard.spawn().unwrap_or_else(|error| panic!("sh for {command:?}: {error}"));
        output.follow(guard.stdout.take().expect("stdout was asked for as a pipe"), "out: ");
        output.follow(guard.stderr.take().expect("stderr was asked for as a pipe"), "err: ");
        let pid = output.wait_for(start, |line| line.strip_prefix("out: pid ")?.parse().ok());
        let pid = pid.and_then(Pid::from_raw).unwrap_or_else(|| panic!("{command:?} said no process id"));
        Self { guard, pid, output }
    }

    /// The program's own process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the program itself.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit_code().is_none() {
            // Gone in between: what was wanted.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// The exit code if it has ended: 128 + number when a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.guard.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for its end and gives the exit code.
    pub fn wait(&mut self) -> i32 {
        until("a program has ended", || self.exit_code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.guard.wait();
    }
}

/// The processes that `parent` has started itself and that run still.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let numbers = processes.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

/// Whether a process is there and has not ended; one that has ended may wait for whoever started it to ask.
pub fn runs(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// State and parent of a process: `NUMBER (NAME) STATE PARENT ...`, and the name may hold anything.
fn stat(pid: Pid) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

/// User and group id that a program can run as which refuses root, if this is root: `postgres`, else `nobody`.
pub fn ordinary_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|user| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    })
}

/// Makes `path` belong to `user`, if there is one.
pub fn give(path: &Path, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("root may give a directory away");
    }
}

/// A TCP port of the loopback address that was free a moment ago. Ports are handed out once in a process.
pub fn free_port() -> u16 {
    static HANDED_OUT: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // Below the range the system takes for outgoing connections, or one of those may get it before we listen.
        let port = rand::random_range(10_000..28_000);
        if !handed_out.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            handed_out.push(port);
            return port;
        }
    }
}
