//! Single sign-on: people sign in at a provider of OpenID Connect instead of with a password.
//!
//! A person is linked with issuer and subject, never by a name or an address of mail: who can choose their name at the provider must not
//! become somebody else here. What a sign-in needs to be finished lies sealed in a cookie of the browser that began it, so that nobody
//! can be made to finish that of another one, and no stranger makes us keep anything. It can be finished once.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roadstead_db::{
    Db, DbError, Tx,
    audit::{self, By},
    identity,
    person::{self, NewPerson, Person},
    session,
};
use roadstead_model::PersonName;
use roadstead_oidc::{Claims, Flow, Provider, TokenError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::groups::GroupRole;
use crate::{
    manage::ManageError,
    people::RESERVED,
    seal::Sealer,
    sessions::{LIFETIME, NewSession, Sessions, SignInError},
    sources::{Clock, Entropy},
};

mod groups;

/// Within so many seconds a sign-in has to be finished.
const WITHIN: u64 = 600;
/// What its cookie is sealed as.
const SEALED_AS: &str = "sign-in at a provider";
/// The longest place to go on to, in bytes: the cookie holds it.
const MAX_PLACE: usize = 1024;
/// The longest cookie, code and state that are looked at, in bytes.
const MAX_RETURNED: usize = 8 << 10;

/// How people sign in at a provider.
#[derive(Clone)]
pub struct SignOnOptions {
    /// The provider.
    pub provider: Provider,
    /// The claim with the name of a person who is not there yet.
    pub name_claim: String,
    /// The claim with the groups that a person is in.
    pub groups_claim: String,
    /// Who is not there yet is made.
    pub makes_people: bool,
    /// What groups give.
    pub roles: Vec<GroupRole>,
    /// The group of system administrators.
    pub administrators: Option<String>,
}

/// Signs people in at a provider. Clones share everything.
#[derive(Clone)]
pub struct SignOn(Arc<Parts>);

struct Parts {
    db: Db,
    clock: Clock,
    entropy: Entropy,
    sealer: Sealer,
    options: SignOnOptions,
}

/// A sign-in that has begun.
pub struct SignOnBegun {
    /// The provider's page, where the browser goes now.
    pub address: String,
    /// What the browser keeps meanwhile, for us alone.
    pub cookie: String,
    /// For so long.
    pub lifetime: Duration,
}

/// What the browser comes back with.
#[derive(Clone, Debug, Default)]
pub struct Returned {
    /// What it was sent away with.
    pub state: String,
    /// What the provider gave it for us.
    pub code: Option<String>,
    /// Or why there is none.
    pub error: Option<String>,
    /// The provider, where it says so (RFC 9207).
    pub issuer: Option<String>,
}

/// A sign-in that is finished.
pub struct SignedOn {
    /// The session.
    pub session: NewSession,
    /// The path where the person wanted to go.
    pub to: String,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignOnError {
    /// What came back does not belong to a sign-in that this browser began, or not any more.
    #[error("{0}: begin again")]
    Again(&'static str),
    /// The path to go on to is not one of ours.
    #[error("the place to go on to is a path on this service, such as `/`, of {MAX_PLACE} bytes at most")]
    Place,
    /// The provider, or what is stored here, does not let them in; the text says what would help.
    #[error("{words}")]
    Refused {
        /// For the person who wanted to sign in.
        words: String,
        /// Who it would have been.
        person: Option<String>,
    },
    /// Too many failures.
    #[error(transparent)]
    TooMany(#[from] SignInError),
    /// The provider does not answer as it should. The text is for the log.
    #[error("the provider can't be asked at the moment: {0}")]
    Unavailable(String),
    /// It can't be found out now.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl From<DbError> for SignOnError {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

impl SignOnError {
    fn refused(words: impl Into<String>) -> Self {
        Self::Refused { words: words.into(), person: None }
    }
}

/// What the cookie holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    flow: Flow,
    to: String,
    /// Seconds since 1970.
    until: i64,
}

/// Who comes, by what the provider says.
#[derive(Clone)]
struct Comer {
    issuer: String,
    subject: String,
    name: Option<String>,
    full_name: String,
    email: String,
    groups: Vec<String>,
}

impl SignOn {
    pub(crate) fn new(db: Db, clock: Clock, entropy: Entropy, secret_key: &[u8; 32], options: SignOnOptions) -> Self {
        Self(Arc::new(Parts { db, clock, entropy, sealer: Sealer::new(secret_key), options }))
    }

    /// What the provider's tokens name as their issuer.
    pub fn issuer(&self) -> &str {
        self.0.options.provider.issuer().address()
    }

    /// Begins a sign-in: `back` is our address that the provider sends the browser back to, `to` the path where it goes on then.
    ///
    /// # Errors
    /// `Place`, `Unavailable`.
    pub async fn begin(&self, back: String, to: &str) -> Result<SignOnBegun, SignOnError> {
        if !is_local(to) {
            return Err(SignOnError::Place);
        }
        let Parts { clock, entropy, sealer, options, .. } = &*self.0;
        let random = [entropy.bytes(), entropy.bytes(), entropy.bytes()];
        let now = clock.seconds();
        let begun = options.provider.begin(random, back, now).await.map_err(of_provider)?;
        let kept = Kept { flow: begun.flow, to: to.to_owned(), until: now.saturating_add_unsigned(WITHIN) };
        let kept = serde_json::to_vec(&kept).expect("texts and a number are always JSON");
        let cookie = URL_SAFE_NO_PAD.encode(sealer.seal(SEALED_AS, &kept));
        Ok(SignOnBegun { address: begun.address, cookie, lifetime: Duration::from_secs(WITHIN) })
    }

    /// Finishes a sign-in: `cookie` is what the browser kept. `by.from` is the address that it comes from.
    ///
    /// # Errors
    /// See [`SignOnError`].
    pub async fn finish(
        &self,
        sessions: &Sessions,
        returned: Returned,
        cookie: Option<&str>,
        by: &By,
    ) -> Result<SignedOn, SignOnError> {
        let tries = sessions.count("", &by.from)?;
        let signed_on = self.try_to_finish(sessions, returned, cookie, by).await;
        match &signed_on {
            Ok(_) => sessions.take_back(tries),
            Err(SignOnError::Refused { words, person }) => {
                tracing::info!(from = by.from, person, "a sign-in at the provider is refused: {words}");
                sessions.note_refusal(person.as_deref().unwrap_or_default(), by).await?;
            }
            Err(_) => {}
        }
        signed_on
    }

    async fn try_to_finish(
        &self,
        sessions: &Sessions,
        returned: Returned,
        cookie: Option<&str>,
        by: &By,
    ) -> Result<SignedOn, SignOnError> {
        let kept = self.open(cookie)?;
        let same = kept.flow.state.as_bytes().ct_eq(returned.state.as_bytes());
        if !bool::from(same) {
            return Err(SignOnError::Again("this is not the sign-in that was begun in this browser"));
        }
        if returned.issuer.is_some_and(|issuer| issuer != self.issuer()) {
            return Err(SignOnError::refused("the answer is that of another provider"));
        }
        let Some(code) = returned.code.filter(|code| !code.is_empty() && code.len() <= MAX_RETURNED) else {
            // Anybody can write this into an address, but nobody else than the browser's own person reads it.
            let why: String =
                returned.error.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(100).collect();
            return Err(SignOnError::refused(format!("the provider did not sign you in: {why}")));
        };
        let now = self.0.clock.seconds();
        let claims = self.0.options.provider.finish(&kept.flow, &code, now).await.map_err(of_provider)?;
        let session = self.enter(sessions, &kept.flow.state, self.comer(&claims), by).await?;
        Ok(SignedOn { session, to: kept.to })
    }

    /// What the cookie holds, if it is ours and not too old.
    fn open(&self, cookie: Option<&str>) -> Result<Kept, SignOnError> {
        let sealed =
            cookie.filter(|cookie| cookie.len() <= MAX_RETURNED).and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
        let opened = sealed.and_then(|sealed| self.0.sealer.open(SEALED_AS, &sealed));
        let kept: Option<Kept> = opened.and_then(|kept| serde_json::from_slice(&kept).ok());
        let kept = kept.ok_or(SignOnError::Again("no sign-in was begun in this browser, or it took too long"))?;
        if kept.until <= self.0.clock.seconds() {
            return Err(SignOnError::Again("the sign-in took too long"));
        }
        Ok(kept)
    }

    fn comer(&self, claims: &Claims) -> Comer {
        let options = &self.0.options;
        let line = |name: &str, most: usize| -> String {
            let text = claims.text(name).unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(most).collect()
        };
        let email = line("email", 254);
        let looks_right = email.contains('@') && !email.chars().any(char::is_whitespace) && email.len() <= 254;
        let verified = claims.text("email_verified").is_none_or(|verified| verified == "true");
        Comer {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            name: claims.text(&options.name_claim).map(|name| name.to_lowercase()),
            full_name: line("name", 200),
            email: if looks_right && verified { email } else { String::new() },
            groups: claims.list(&options.groups_claim),
        }
    }

    /// Finds or makes the person, brings what groups give up to date, and begins the session: all of it or nothing.
    async fn enter(&self, sessions: &Sessions, state: &str, comer: Comer, by: &By) -> Result<NewSession, SignOnError> {
        let (secret, hash) = sessions.new_secret();
        let finished: [u8; 32] = Sha256::digest(state.as_bytes()).into();
        let input = (self.clone(), comer, finished, hash, by.clone());
        self.0
            .db
            .write(input, |tx, (own, comer, finished, hash, by)| {
                Box::pin(async move {
                    let lifetime = Duration::from_secs(2 * WITHIN).as_micros();
                    if !identity::finish(tx, finished, i64::try_from(lifetime).unwrap_or(i64::MAX)).await? {
                        return Err(SignOnError::Again("this sign-in is finished already"));
                    }
                    // Places before people: so do all who give roles.
                    let places = groups::hold(tx, &own.0.options.roles, &comer.groups).await?;
                    let (person, by) = own.find_or_make(tx, comer, by).await?;
                    if person.disabled {
                        let words = "you may not sign in here: ask a system administrator".to_owned();
                        return Err(SignOnError::Refused { words, person: Some(person.name) });
                    }
                    groups::give(tx, &person, &places, &by).await?;
                    let leads = |group: &String| comer.groups.contains(group);
                    groups::lead(tx, &person, own.0.options.administrators.as_ref().is_some_and(leads), &by).await?;
                    session::begin(tx, hash, person.id, &by.from, LIFETIME).await?;
                    let after = json!({"provider": comer.issuer}).to_string();
                    audit::record(tx, &by, "session.begin", &person.name, None, Some(&after)).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(NewSession { secret, lifetime: Duration::from_micros(LIFETIME.unsigned_abs()) })
    }

    /// The person who comes, locked, and by whom what follows is done.
    async fn find_or_make(&self, tx: &mut Tx<'_>, comer: &Comer, by: &By) -> Result<(Person, By), SignOnError> {
        let Comer { issuer, subject, .. } = comer;
        if let Some(name) = identity::person(tx, issuer, subject).await? {
            let person = person::lock(tx, &name).await?;
            let Some(person) = person else { return Err(SignOnError::Again("you were just taken away")) };
            // Whom it means may have been changed before the lock was there.
            let still = identity::find(tx, person.id).await?;
            if still.is_none_or(|it| it.issuer != *issuer || it.subject != *subject) {
                return Err(SignOnError::Again("whom the provider means by you was just changed"));
            }
            let by = By { who: name, ..by.clone() };
            return Ok((person, by));
        }
        let claim = &self.0.options.name_claim;
        let name = comer.name.as_deref().and_then(|name| name.parse::<PersonName>().ok());
        let Some(name) = name.filter(|name| !RESERVED.contains(&name.as_str())) else {
            let right = "1 to 64 lower-case letters, digits, '-', '_', '.' and '@', from a letter or digit on";
            let words = format!("what the provider calls you (`{claim}`) can't be a name here, which is {right}");
            return Err(SignOnError::refused(words));
        };
        let link = format!("links you (PUT /api/v1/people/{name}/identity) with your subject there, {subject}");
        if person::lock(tx, name.as_str()).await?.is_some() {
            let words = format!(
                "there is a person called {name} here who is not linked with you at the provider: a system administrator {link}"
            );
            return Err(SignOnError::Refused { words, person: Some(name.to_string()) });
        }
        if !self.0.options.makes_people {
            let words = format!("there is no person called {name} here: a system administrator makes you and {link}");
            return Err(SignOnError::refused(words));
        }
        let by = By { who: name.to_string(), ..by.clone() };
        let new = NewPerson {
            name: name.to_string(),
            full_name: comer.full_name.clone(),
            email: comer.email.clone(),
            administrator: false,
            password: None,
        };
        let after = json!({"full_name": new.full_name, "email": new.email, "issuer": issuer, "subject": subject});
        let raced = SignOnError::Again("somebody of your name was just made");
        let made = person::insert(tx, &new, &by, &after.to_string()).await?.ok_or_else(|| raced.clone())?;
        identity::link(tx, made, issuer, subject).await?.ok_or_else(|| raced.clone())?;
        let person = person::lock(tx, name.as_str()).await?.ok_or(raced)?;
        Ok((person, by))
    }
}

fn of_provider(error: TokenError) -> SignOnError {
    match error {
        TokenError::Invalid(words) => SignOnError::refused(format!("the provider's answer is not right: {words}")),
        TokenError::Unavailable(words) => SignOnError::Unavailable(words),
    }
}

/// Whether this is a path on this very service, whatever a browser makes of it.
fn is_local(place: &str) -> bool {
    place.len() <= MAX_PLACE
        && place.starts_with('/')
        && !place.starts_with("//")
        && place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_gone_to() {
        for place in ["/", "/projects/shop?tab=1#x", "/a//b", "/%2F/evil.example"] {
            assert!(is_local(place), "{place}");
        }
        let long = format!("/{}", "a".repeat(MAX_PLACE));
        for place in [
            "",
            "evil.example",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\/evil",
            "/\t/evil.example",
            "/ ",
            &long,
        ] {
            assert!(!is_local(place), "{place}");
        }
    }
}
