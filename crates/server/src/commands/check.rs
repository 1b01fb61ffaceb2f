//! `config check`: tries everything that a start needs, and says of each in one line whether it works.

use std::process::ExitCode;

use roadstead_access::Clock;
use roadstead_db::DatabaseUrl;

use super::execute::{Command, Outcome};
use crate::config::{BucketType, Config};
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
    let data = DataDir::make(&config.general.data_dir).map(|data| (data.lock(), data));
    let running = matches!(data, Ok((Err(DataDirError::Held { .. }), _)));
    lines.tell("data directory", data_directory(config, &data, running));
    if let Ok((_, data)) = &data {
        lines.tell("secret key", secret_key::find(config, data).map(|found| found.source));
    }
    // The addresses of a running server are taken: by itself.
    if !running {
        lines.tell("listen", listen(config));
    }
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        lines.tell("certificate", Certificates::open(certificate, key).map(|_| "fits its key".to_owned()));
    }
    let embedded = matches!(wiring::database_url(config), DatabaseUrl::Sqlite(_));
    let (database, clock) = if running && embedded { through_the_server(config).await } else { directly(config).await };
    lines.tell("database", database);
    if let Some(clock) = clock {
        lines.tell("clock", clock);
    }
    lines.tell("bucket", bucket(config).await);
    Ok(if lines.trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Lines {
    trouble: bool,
}

impl Lines {
    fn tell(&mut self, what: &str, found: Result<String, String>) {
        let (state, words) = match found {
            Ok(words) => ("ok", words),
            Err(words) => {
                self.trouble = true;
                ("TROUBLE", words)
            }
        };
        println!("{state:<8} {what:<15} {words}");
    }
}

type Found = Result<String, String>;

fn data_directory(
    config: &Config,
    data: &Result<(Result<Lock, DataDirError>, DataDir), DataDirError>,
    running: bool,
) -> Found {
    let path = config.general.data_dir.display();
    match data {
        _ if running => Ok(format!("{path}, in use by a running server")),
        Ok((Ok(_), _)) => Ok(path.to_string()),
        Ok((Err(error), _)) | Err(error) => Err(error.to_string()),
    }
}

fn listen(config: &Config) -> Found {
    let addresses: Vec<_> = config.general.listen.iter().copied().chain(config.metrics.listen).collect();
    listener::bind(&addresses)?;
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Ok(format!("{} can be had", names.join(", ")))
}

async fn through_the_server(config: &Config) -> (Found, Option<Found>) {
    match control::ask(&config.general.data_dir, &Command::DatabaseTime).await {
        Ok(Ok(Outcome::DatabaseTime(_))) => (Ok("answers, asked through the running server".to_owned()), None),
        Ok(Ok(_)) => (Err("the running server did not understand".to_owned()), None),
        Ok(Err(failure)) => (Err(failure.to_string()), None),
        Err(words) => (Err(words), None),
    }
}

async fn directly(config: &Config) -> (Found, Option<Found>) {
    if let DatabaseUrl::Sqlite(path) = wiring::database_url(config)
        && !path.exists()
    {
        return (Ok(format!("{} is made by the first start", path.display())), None);
    }
    let db = match wiring::look_at_database(config).await {
        Ok(db) => db,
        Err(words) => return (Err(words), None),
    };
    match clock_offset(&db, &Clock::system()).await {
        Ok(offset) if offset.abs() > CLOCK_LIMIT => {
            let seconds = offset as f64 / 1e6;
            let words = format!(
                "this machine's clock is {seconds:+.1} s off the database's; 5 s are allowed: see to its time service"
            );
            (Ok("answers".to_owned()), Some(Err(words)))
        }
        Ok(offset) => (Ok("answers".to_owned()), Some(Ok(format!("{:+.3} s off the database's", offset as f64 / 1e6)))),
        Err(error) => (Err(error.to_string()), None),
    }
}

async fn bucket(config: &Config) -> Found {
    let bucket = wiring::open_bucket(config, wiring::memory_budget(config)).await?;
    bucket.check().await.map_err(|error| error.to_string())?;
    Ok(match (config.bucket.kind, config.bucket.redirect) {
        (BucketType::Directory, _) => format!("{} can be written and read", config.bucket_directory().display()),
        (_, true) => "can be written, read and deleted, presigned addresses too".to_owned(),
        (_, false) => "can be written, read and deleted".to_owned(),
    })
}
