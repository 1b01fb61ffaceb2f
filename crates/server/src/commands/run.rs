//! Carries out a command from the command line: through the server that holds the data directory, or over the database
//! itself.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use roadstead_access::{Entropy, Keys};
use roadstead_db::DatabaseUrl;

use super::arguments::{Format, KeyCommand, RegistryCommand};
use super::execute::{Command, Failure, Outcome, Services, execute};
use super::output;
use crate::config::Config;
use crate::control;
use crate::datadir::{DataDir, DataDirError, Lock};
use crate::wiring;

/// What was typed about registries, as a command; a deletion is confirmed first.
pub(super) fn registry(typed: RegistryCommand) -> Result<Command, String> {
    Ok(match typed {
        RegistryCommand::Create { name, public, project, bucket, description } => {
            Command::RegistryCreate { name, project, bucket, public, description }
        }
        RegistryCommand::List => Command::RegistryList,
        RegistryCommand::Show { name } => Command::RegistryShow { name },
        RegistryCommand::Delete { name, confirm } => {
            let again = match confirm {
                Some(again) => again,
                None => ask_again(&name)?,
            };
            if again != name {
                return Err(format!("nothing was deleted: {again:?} is not {name:?}"));
            }
            Command::RegistryDelete { name }
        }
    })
}

fn ask_again(name: &str) -> Result<String, String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(format!("nothing was deleted: say `--confirm {name}`, since nobody can be asked here"));
    }
    print!("The registry {name} and all it holds goes to the trash. Type its name to delete it: ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| format!("nothing was deleted: {error}"))?;
    Ok(line.trim().to_owned())
}

/// What was typed about access keys, as a command.
pub(super) fn key(typed: KeyCommand) -> Command {
    match typed {
        KeyCommand::Create { person, description, days } => Command::KeyCreate { person, description, days },
        KeyCommand::List { person } => Command::KeyList { person },
        KeyCommand::Revoke { key_id } => Command::KeyRevoke { key_id },
    }
}

/// Carries the command out and prints what came of it.
pub(super) async fn run(config: &Config, command: Command, format: Format) -> Result<ExitCode, String> {
    let outcome = match place(config, &command)? {
        Place::Server => control::ask(&config.general.data_dir, &command).await?,
        Place::Here(_lock) => {
            let services = open(config, command.needs_buckets()).await?;
            execute(&services, command).await
        }
    };
    let outcome: Outcome = outcome.map_err(|Failure(words)| words)?;
    print!("{}", output::show(&outcome, format));
    Ok(ExitCode::SUCCESS)
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
