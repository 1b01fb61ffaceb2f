//! Carries out a command from the command line: through the server that holds the data directory, or over the database
//! itself.

use roadstead_access::{Entropy, Keys};
use roadstead_db::DatabaseUrl;

use super::execute::{Command, Failure, Outcome, Services, execute};
use crate::config::Config;
use crate::control;
use crate::datadir::{DataDir, DataDirError, Lock};
use crate::wiring;

/// Carries the command out.
///
/// # Errors
/// What was in the way, in words.
pub(super) async fn run(config: &Config, command: Command) -> Result<Outcome, String> {
    let outcome = match place(config, &command)? {
        Place::Server => control::ask(&config.general.data_dir, &command).await?,
        Place::Here(_lock) => {
            let services = open(config, command.needs_buckets()).await?;
            execute(&services, command).await
        }
    };
    outcome.map_err(|Failure(words)| words)
}

/// Where commands are carried out.
pub(super) enum Place {
    /// In the server that holds the data directory.
    Server,
    /// In this process; an embedded database is held meanwhile.
    Here(Option<Lock>),
}

/// An embedded database has one process; PostgreSQL has any number.
pub(super) fn place(config: &Config, command: &Command) -> Result<Place, String> {
    let DatabaseUrl::Sqlite(database) = wiring::database_url(config) else { return Ok(Place::Here(None)) };
    let data_dir = &config.general.data_dir;
    // A slip in a path must not look like a service that holds nothing. A server that makes the database holds the lock.
    if !command.makes() && !database.exists() {
        let held = DataDir::look(data_dir).and_then(|data| data.map(|data| data.lock_if_used()).transpose());
        return match held {
            Err(DataDirError::Held { .. }) => Ok(Place::Server),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!(
                "there is no Roadstead data in {}: give this command the `--data-dir` or the configuration of the server",
                data_dir.display()
            )),
        };
    }
    match DataDir::make(data_dir).and_then(|data| data.lock()) {
        Ok(lock) => Ok(Place::Here(Some(lock))),
        Err(DataDirError::Held { .. }) => Ok(Place::Server),
        Err(error) => Err(error.to_string()),
    }
}

async fn open(config: &Config, with_buckets: bool) -> Result<Services, String> {
    let db = wiring::open_database(config).await?;
    let core = if with_buckets {
        let buckets = wiring::open_buckets(config, &wiring::memory_budget(config)).await?;
        Some(wiring::open_core(config, db.clone(), buckets, roadstead_registry::TicketKey::default()).await?)
    } else {
        None
    };
    let keys = Keys::new(db.clone(), Entropy::system());
    Ok(Services { db, keys, core, trash_life: wiring::trash_life(config) })
}
