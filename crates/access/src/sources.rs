//! Where time and randomness come from: given from outside, so that expiry and rotation are tested without waiting.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The node's clock, in microseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
    }

    /// A clock of one's own.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Microseconds since 1970.
    pub fn micros(&self) -> i64 {
        (self.0)()
    }

    /// Whole seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.micros().div_euclid(1_000_000)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A source of random bytes fit for secrets.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    /// The program's cryptographically secure generator.
    pub fn system() -> Self {
        Self::new(|bytes| rand::fill(bytes))
    }

    /// A source of one's own.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// An id that people can read: these letters, and 17 upper-case letters and digits, which are 85 random bits.
    pub(crate) fn id(&self, kind: &str) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let random = self.bytes::<17>();
        let letters = random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
        kind.chars().chain(letters).collect()
    }

    /// So many random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}
