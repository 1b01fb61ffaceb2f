//! `config check`: tries everything that a start needs, and says of each in one line whether it works. It makes nothing
//! that was not there; what a start would make is said.

use std::process::ExitCode;

use roadstead_access::{Access, Clock, Entropy};
use roadstead_blobs::{Bucket, one_line};
use roadstead_db::{DatabaseUrl, Db};
use roadstead_oidc::Issuer;
use roadstead_registry::{DEFAULT_BUCKET, check_bucket};

use super::execute::{Command, Outcome};
use crate::config::{self, BucketType, Config, Secret};
use crate::control;
use crate::datadir::{DataDir, DataDirError, Lock};
use crate::health::{CLOCK_LIMIT, clock_offset};
use crate::listener;
use crate::secret_key;
use crate::tls::Certificates;
use crate::wiring;

/// Prints a line for each part; failure when any of them is in trouble.
pub(super) async fn check(config: &Config) -> Result<ExitCode, String> {
    let mut lines = Lines { trouble: false };
    lines.tell("configuration", Ok("read".to_owned()));
    let data = data_directory(config);
    let running = matches!(data, Ok(Data::Running));
    let foreign = matches!(data, Err(DataDirError::Foreign { .. }));
    lines.tell("data directory", data.as_ref().map(|data| data.words(config)).map_err(ToString::to_string));
    if foreign {
        // What is made in there by another user is in the server's way.
        return Ok(ExitCode::FAILURE);
    }
    let found = secret_key::find(config, &config.general.data_dir);
    // A key that a start would make up is as good as any other one: it opens nothing that is sealed already.
    let made_up = || Secret::new(Entropy::system().bytes());
    let key = found.as_ref().ok().map(|found| found.key.clone().unwrap_or_else(made_up));
    match secret_key::warning(config) {
        Some(words) if found.is_ok() => lines.warn("secret key", &words),
        _ => lines.tell("secret key", found.map(|found| found.source)),
    }
    // The addresses of a running server are taken: by itself.
    if !running {
        lines.tell("listen", listen(config));
    }
    if let (Some(certificate), Some(key)) = (&config.private.certificate, &config.private.key) {
        lines.tell("private certificate", Certificates::open(certificate, key).map(|_| "fits its key".to_owned()));
    }
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        lines.tell("certificate", Certificates::open(certificate, key).map(|_| "fits its key".to_owned()));
    }
    let db = database(config, running, key.as_ref(), &mut lines).await;
    for (name, of) in config.all_buckets() {
        let title = if name == DEFAULT_BUCKET { "bucket".to_owned() } else { format!("bucket {name}") };
        lines.tell(&title, bucket(config, name, of, &db).await);
    }
    issuers(config, &mut lines).await;
    Ok(if lines.trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether tokens of others can be checked: each issuer is asked for its keys.
async fn issuers(config: &Config, lines: &mut Lines) {
    let now = Clock::system().seconds();
    match wiring::outgoing(config).and_then(|outgoing| wiring::sign_on(config, &outgoing)) {
        Ok(None) => {}
        Ok(Some(sign_on)) => lines.tell("provider", look(sign_on.provider.issuer(), now).await),
        Err(words) => lines.tell("provider", Err(words)),
    }
    match wiring::outgoing(config).and_then(|outgoing| wiring::issuers(config, &outgoing)) {
        Ok(issuers) => {
            for issuer in issuers.iter() {
                lines.tell("issuer for CI", look(issuer, now).await);
            }
        }
        Err(words) => lines.tell("issuer for CI", Err(words)),
    }
}

async fn look(issuer: &Issuer, now: i64) -> Found {
    issuer.look(now).await.map(|()| format!("{}: its keys can be had", issuer.address()))
}

struct Lines {
    trouble: bool,
}

impl Lines {
    fn tell(&mut self, what: &str, found: Found) {
        let (state, words) = match found {
            Ok(words) => ("ok", words),
            Err(words) => {
                self.trouble = true;
                ("TROUBLE", one_line(&words))
            }
        };
        println!("{state:<8} {what:<15} {words}");
    }

    /// Something to know that is no failure.
    fn warn(&self, what: &str, words: &str) {
        println!("{:<8} {what:<15} {words}", "warning");
    }
}

type Found = Result<String, String>;

/// A data directory as a check finds it.
enum Data {
    New,
    Running,
    /// Held until the check is over, so that no server starts in the middle.
    Free {
        _lock: Option<Lock>,
    },
}

fn data_directory(config: &Config) -> Result<Data, DataDirError> {
    let Some(data) = DataDir::look(&config.general.data_dir)? else { return Ok(Data::New) };
    match data.lock_if_used() {
        Ok(lock) => Ok(Data::Free { _lock: lock }),
        Err(DataDirError::Held { .. }) => Ok(Data::Running),
        Err(error) => Err(error),
    }
}

impl Data {
    fn words(&self, config: &Config) -> String {
        let path = config.general.data_dir.display();
        match self {
            Self::New => format!("{path} is made by the first start"),
            Self::Running => format!("{path}, in use by a running server"),
            Self::Free { .. } => path.to_string(),
        }
    }
}

fn listen(config: &Config) -> Found {
    let addresses: Vec<_> =
        config.general.listen.iter().chain(&config.private.listen).copied().chain(config.metrics.listen).collect();
    listener::bind(&addresses)?;
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Ok(format!("{} can be had", names.join(", ")))
}

/// What is known of the database for the check of the bucket.
enum Known {
    Open(Db),
    /// There is none yet.
    New,
    /// It can't be asked: it is in trouble, or a running server has it, which has compared the two.
    Nothing,
}

async fn database(config: &Config, running: bool, key: Option<&Secret<[u8; 32]>>, lines: &mut Lines) -> Known {
    if let DatabaseUrl::Sqlite(path) = wiring::database_url(config) {
        if running {
            lines.tell("database", through_the_server(config).await);
            return Known::Nothing;
        }
        if !path.exists() {
            lines.tell("database", Ok(format!("{} is made by the first start", path.display())));
            return Known::New;
        }
    }
    let db = match wiring::look_at_database(config).await {
        Ok(db) => db,
        Err(words) => {
            lines.tell("database", Err(words));
            return Known::Nothing;
        }
    };
    let offset = clock_offset(&db, &Clock::system()).await;
    lines.tell("database", offset.as_ref().map(|_| "answers".to_owned()).map_err(ToString::to_string));
    let Ok(offset) = offset else { return Known::Nothing };
    lines.tell("clock", clock(offset));
    if let Some(key) = key
        && let Err(error) = Access::check_secret_key(&db, key.expose()).await
    {
        lines.tell("secret key", Err(error.to_string()));
    }
    Known::Open(db)
}

async fn through_the_server(config: &Config) -> Found {
    match control::ask(&config.general.data_dir, &Command::DatabaseTime).await? {
        Ok(Outcome::DatabaseTime(_)) => Ok("answers, asked through the running server".to_owned()),
        Ok(_) => Err("the running server did not understand".to_owned()),
        Err(failure) => Err(failure.to_string()),
    }
}

fn clock(offset: i64) -> Found {
    let seconds = offset as f64 / 1e6;
    if offset.abs() > CLOCK_LIMIT {
        return Err(format!(
            "this machine's clock is {seconds:+.1} s off the database's; 5 s are allowed: see to its time service"
        ));
    }
    Ok(format!("{seconds:+.3} s off the database's"))
}

async fn bucket(config: &Config, name: &str, of: &config::Bucket, db: &Known) -> Found {
    let directory = config.directory_of(of);
    let is_directory = of.kind == BucketType::Directory;
    if is_directory && DataDir::look(&directory).is_ok_and(|found| found.is_none()) {
        return Ok(format!("{} is made by the first start", directory.display()));
    }
    let bucket = wiring::open_bucket(config, of, wiring::memory_budget(config)).await?;
    // Before anything is written to it.
    belongs(name, &bucket, db).await?;
    let warning = bucket.check().await.map_err(|error| error.to_string())?;
    let words = match of.redirect || of.private_signing_endpoint.is_some() {
        _ if is_directory => format!("{} can be written and read", directory.display()),
        true => "can be written, read and deleted, presigned addresses too".to_owned(),
        false => "can be written, read and deleted".to_owned(),
    };
    Ok(match warning {
        Some(warning) => format!("{words}; {warning}"),
        None => words,
    })
}

/// Refuses a bucket that another database uses.
async fn belongs(name: &str, bucket: &Bucket, db: &Known) -> Result<(), String> {
    let db = match db {
        Known::Open(db) => Some(db),
        Known::New => None,
        Known::Nothing => return Ok(()),
    };
    check_bucket(db, name, bucket).await.map_err(|error| wiring::core_words(&error))
}
