//! What the program reads and writes, behind a trait so that tests see it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Where results, questions and answers go.
pub trait Terminal: Send + Sync {
    /// Writes a result, or a part of one.
    ///
    /// # Errors
    /// When whoever reads it has gone.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Says something beside the result, a line.
    fn note(&self, line: &str);

    /// Says what is going on, a line, if there is somebody to read it.
    fn progress(&self, line: &str);

    /// Whether there is somebody to ask.
    fn can_ask(&self) -> bool;

    /// Asks for a line.
    ///
    /// # Errors
    /// When there is none.
    fn ask(&self, question: &str) -> io::Result<String>;

    /// Asks for a line that is not shown.
    ///
    /// # Errors
    /// When there is none.
    fn ask_secret(&self, question: &str) -> io::Result<String>;

    /// Reads all that is given as input.
    ///
    /// # Errors
    /// When it can't be read, or is not text.
    fn input(&self) -> io::Result<String>;
}

/// Standard input, output and error of this process.
#[derive(Clone, Copy, Debug)]
pub struct Console;

/// More is no secret and no list of secrets.
const MOST_INPUT: u64 = 1 << 20;

impl Terminal for Console {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    fn note(&self, line: &str) {
        let _ = writeln!(io::stderr(), "roadstead: {line}");
    }

    fn progress(&self, line: &str) {
        if io::stderr().is_terminal() {
            self.note(line);
        }
    }

    fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn ask(&self, question: &str) -> io::Result<String> {
        // Not to standard output, which may go into a file.
        let mut err = io::stderr();
        write!(err, "{question}")?;
        err.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim().to_owned())
    }

    fn ask_secret(&self, question: &str) -> io::Result<String> {
        let quiet = Quiet::begin()?;
        let answer = self.ask(question);
        drop(quiet);
        let _ = writeln!(io::stderr());
        answer
    }

    fn input(&self) -> io::Result<String> {
        let mut text = String::new();
        io::stdin().lock().take(MOST_INPUT).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// What is typed is not shown while this lives.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
