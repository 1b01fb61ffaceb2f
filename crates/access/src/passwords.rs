//! Passwords of people: what they have to be, and how they are kept. What programs sign in with are access keys, whose secrets are random.

use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _, password_hash::SaltString};
use roadstead_db::DbError;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{manage::ManageError, sources::Entropy};

/// How many are hashed at once: each takes 19 MiB and some milliseconds of a processor.
const AT_ONCE: usize = 2;
/// How many wait for their turn; others are told to come again.
const WAITING: usize = 64;
/// Length in characters (NIST SP 800-63B-4, 3.1.1.2: at least 8, better 15; no rules about kinds of characters).
const SHORTEST: usize = 12;
/// What is longer would only cost time.
const LONGEST: usize = 128;
/// What a password is compared with where there is nobody, or they have none, so that this takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cm9hZHN0ZWFkLXNhbHQtMQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and compares, a few at a time and off the threads that answer.
#[derive(Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    entropy: Entropy,
}

impl Passwords {
    pub(crate) fn new(entropy: Entropy) -> Self {
        let [turns, places] = [AT_ONCE, AT_ONCE + WAITING].map(|most| Arc::new(Semaphore::new(most)));
        Self { turns, places, entropy }
    }

    /// What is stored of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ManageError> {
        let salt = self.entropy.bytes::<16>();
        self.work(move || {
            let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
        })
        .await
    }

    /// Whether a password is the one that this was made of. Without one (there is nobody, or they have none) it does the same work and
    /// says no.
    pub(crate) async fn fits(&self, password: String, stored: Option<String>) -> Result<bool, ManageError> {
        if password.chars().count() > LONGEST {
            return Ok(false);
        }
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| NOBODYS.to_owned());
        self.work(move || {
            let stored = PasswordHash::new(&stored).map_err(|error| error.to_string())?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok() && exists)
        })
        .await
    }

    /// Nothing is hashed from now on: whoever would have waited for it is told to come again.
    #[cfg(test)]
    pub(crate) fn stop(&self) {
        self.places.close();
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, ManageError> {
        let failed = |words: String| ManageError::Database(DbError::Internal(words));
        let crowd = |_| ManageError::Database(DbError::Unavailable("too many sign in at once".to_owned()));
        let _place = self.places.try_acquire().map_err(crowd)?;
        let _turn = self.turns.acquire().await.map_err(|error| failed(error.to_string()))?;
        spawn_blocking(work).await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

/// Whether a person may have this password.
///
/// # Errors
/// `Invalid`, in words for the person.
pub(crate) fn check(password: &str, name: &str) -> Result<(), ManageError> {
    let length = password.chars().count();
    let refuse = |words: String| Err(ManageError::Invalid(words));
    if !(SHORTEST..=LONGEST).contains(&length) {
        return refuse(format!("a password has {SHORTEST} to {LONGEST} characters: several words are a good one"));
    }
    let lower = password.to_lowercase();
    let mut kinds: Vec<char> = lower.chars().collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < 5 || is_row(&lower) {
        return refuse("this password is easily guessed: take one that does not repeat or count".to_owned());
    }
    if name.len() >= 4 && lower.contains(name) {
        return refuse("a password does not contain the name of the person".to_owned());
    }
    if COMMON.iter().any(|common| lower.contains(common) && length < common.len() + 6) {
        return refuse("this password is on every list of common ones: take another".to_owned());
    }
    Ok(())
}

/// Each character is the neighbour of the one before, as in `abcdefghijkl`.
fn is_row(text: &str) -> bool {
    let steps = text.chars().zip(text.chars().skip(1)).map(|(one, next)| u32::from(next).wrapping_sub(u32::from(one)));
    let rows = steps.filter(|step| matches!(*step, 0 | 1 | u32::MAX)).count();
    rows * 4 >= text.chars().count() * 3
}

/// What most common passwords of this length are made of.
const COMMON: [&str; 12] = [
    "password",
    "passw0rd",
    "p@ssw0rd",
    "qwertyuiop",
    "1q2w3e4r",
    "administrator",
    "letmein",
    "welcome",
    "iloveyou",
    "changeme",
    "123456789",
    "roadstead",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_easily_guessed_is_refused() {
        for password in [
            "",
            "short",
            "elevenchars",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabc",
            "123456789012",
            "abcdefghijklmnop",
            "password1234",
            "Passw0rd!2026",
            "i am ada lovelace",
            &"x1y2z".repeat(30),
        ] {
            assert!(check(password, "lovelace").is_err(), "{password}");
        }
        for password in
            ["correct horse battery", "tr0ub4dor&3-xk", "배포용 비밀번호 열두 글자", "password of my own garden"]
        {
            assert_eq!(check(password, "lovelace"), Ok(()), "{password}");
        }
    }

    #[tokio::test]
    async fn a_password_fits_what_was_made_of_it() {
        let passwords = Passwords::new(Entropy::system());
        let [one, two] = [passwords.hash("correct horse".into()).await, passwords.hash("correct horse".into()).await]
            .map(Result::unwrap);
        assert_ne!(one, two, "each has a salt of its own");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_eq!(passwords.fits("correct horse".into(), Some(one.clone())).await, Ok(true));
        assert_eq!(passwords.fits("correct horsE".into(), Some(one)).await, Ok(false));
        assert_eq!(passwords.fits("correct horse".into(), None).await, Ok(false));
    }

    /// Nobody is told from somebody by how long it takes.
    #[tokio::test]
    async fn nobodys_password_is_as_much_work() {
        let passwords = Passwords::new(Entropy::system());
        let somebodys = passwords.hash("correct horse".into()).await.unwrap();
        let [nobodys, somebodys] = [NOBODYS, &somebodys].map(|stored| PasswordHash::new(stored).unwrap());
        assert_eq!(
            (nobodys.algorithm, nobodys.version, &nobodys.params),
            (somebodys.algorithm, somebodys.version, &somebodys.params)
        );
        let lengths = |hash: &PasswordHash<'_>| (hash.salt.unwrap().len(), hash.hash.unwrap().len());
        assert_eq!(lengths(&nobodys), lengths(&somebodys));
        let (none, some) = (None, Some(somebodys.to_string()));
        passwords.stop();
        for stored in [none, some] {
            let compared = passwords.fits("correct horse".into(), stored).await;
            assert!(matches!(compared, Err(ManageError::Database(DbError::Unavailable(_)))), "{compared:?}");
        }
    }
}
