//! The way of log lines to standard error: one writer, so that none is cut in two and each stands behind those that came before it.
//!
//! Lines of requests are many and nobody waits for one of them: they are gathered for [`GATHERING`] and written together. Any other line
//! goes out at once, behind what is gathered.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long the first gathered line waits for others.
const GATHERING: Duration = Duration::from_millis(2);
/// Bytes that are gathered at most: who comes then writes them himself.
const GATHERED_BYTES: usize = 1 << 20;

/// Where lines go. Clones are one writer.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    gathered: Mutex<Gathered>,
    some: Condvar,
}

struct Gathered {
    bytes: Vec<u8>,
    /// Nobody comes to write what is gathered.
    at_once: bool,
    out: Box<dyn Write + Send>,
}

impl Lines {
    /// To `out`, and a thread that writes what was gathered. Without such a thread each line is written at once.
    pub(super) fn to(out: impl Write + Send + 'static) -> Self {
        let gathered = Mutex::new(Gathered { bytes: Vec::new(), at_once: false, out: Box::new(out) });
        let lines = Self(Arc::new(Shared { gathered, some: Condvar::new() }));
        let (thread, writer) = (thread::Builder::new().name("log".to_owned()), lines.clone());
        if let Err(error) = thread.spawn(move || writer.write_gathered()) {
            lines.end();
            lines.put(format!("no thread for the log, which is slower now: {error}\n").as_bytes());
        }
        lines
    }

    /// Writes `line`, which ends with a line feed, soon.
    pub(super) fn gather(&self, line: &[u8]) {
        let mut gathered = self.lock();
        let first = gathered.bytes.is_empty();
        gathered.bytes.extend_from_slice(line);
        if gathered.at_once || gathered.bytes.len() >= GATHERED_BYTES {
            gathered.write();
        } else if first {
            drop(gathered);
            self.0.some.notify_one();
        }
    }

    /// Writes `line` now. A log that can't be written to is nobody's fault who logs.
    pub(super) fn put(&self, line: &[u8]) {
        let mut gathered = self.lock();
        gathered.write();
        let _ = gathered.out.write_all(line);
    }

    /// Writes what is gathered, and each further line at once: the program ends.
    pub(super) fn end(&self) {
        let mut gathered = self.lock();
        gathered.at_once = true;
        gathered.write();
    }

    fn write_gathered(&self) {
        loop {
            let gathered = self.lock();
            let some = self.0.some.wait_while(gathered, |gathered| gathered.bytes.is_empty());
            drop(some.unwrap_or_else(PoisonError::into_inner));
            thread::sleep(GATHERING);
            self.lock().write();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn write(&mut self) {
        if !self.bytes.is_empty() {
            let _ = self.out.write_all(&self.bytes);
            self.bytes.clear();
        }
    }
}

/// One line, or all of one, as `tracing` hands it over.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>, Arc<Condvar>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a page").extend_from_slice(bytes);
            self.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_gathered_line_comes_by_itself_and_before_what_is_written_later() {
        let page = Page::default();
        let lines = Lines::to(page.clone());
        lines.gather(b"one\n");
        let written = page.0.lock().expect("a page");
        let long = Duration::from_secs(20);
        let written = page.1.wait_timeout_while(written, long, |written| written.is_empty()).expect("a page");
        assert_eq!(*written.0, b"one\n");
        drop(written);
        lines.gather(b"two\n");
        lines.put(b"three\n");
        assert_eq!(*page.0.lock().expect("a page"), b"one\ntwo\nthree\n");
    }

    #[test]
    fn at_the_end_nothing_is_left_behind() {
        let page = Page::default();
        let lines = Lines::to(page.clone());
        lines.gather(b"one\n");
        lines.end();
        lines.gather(b"two\n");
        assert_eq!(*page.0.lock().expect("a page"), b"one\ntwo\n");
    }

    #[test]
    fn more_than_is_gathered_is_written_by_who_brings_it() {
        let page = Page::default();
        let lines = Lines::to(page.clone());
        lines.gather(&vec![b'x'; GATHERED_BYTES]);
        assert_eq!(page.0.lock().expect("a page").len(), GATHERED_BYTES);
    }
}
