//! Configuration: one table of settings (`settings`) from which the file reader, the environment reader, the typed
//! [`Config`] and the reference page all come. Nothing else in the program reads a file or a variable.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. What is unknown or
//! wrong is refused before anything starts, all of it at once, in words that say what would be right.

mod check;
mod parser;
mod reference;
mod secret;
mod settings;
mod sources;

use std::ffi::OsString;
use std::path::PathBuf;

use roadstead_registry::DEFAULT_BUCKET;

pub use reference::reference;
pub use secret::Secret;
pub use settings::*;

/// Where settings are looked for, apart from their defaults. A test gives its own; the program gives its process's.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`; without it `ROADSTEAD_CONFIG` is taken, and without that no file is read.
    pub file: Option<PathBuf>,
    /// The environment. Only names that begin with `ROADSTEAD_` are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings given as flags: name of the setting and its value.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The environment of this process, and nothing else yet.
    pub fn of_process() -> Self {
        Self { environment: std::env::vars_os().collect(), ..Self::default() }
    }
}

/// Everything that is wrong with a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConfigError(pub Vec<String>);

fn list(problems: &[String]) -> String {
    match problems {
        [one] => format!("the configuration is wrong: {one}"),
        many => format!("the configuration is wrong in {} places:\n  - {}", many.len(), many.join("\n  - ")),
    }
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Every unknown name, every wrong value and every contradiction, together.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let (given, problems) = sources::gather(sources);
        Self::check(&given, problems)
    }

    /// Like [`Config::load`], with this text in the place of the file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(text: &str, sources: &Sources) -> Result<Self, ConfigError> {
        let (given, problems) = sources::gather_from(Some(("the text", text)), sources);
        Self::check(&given, problems)
    }

    fn check(given: &sources::Given, mut problems: Vec<String>) -> Result<Self, ConfigError> {
        let config = settings::read(given, &mut problems);
        if let Some(config) = &config {
            check::check(config, &mut problems);
        }
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError(problems)),
        }
    }

    /// The directory that holds the blobs of a bucket that is one.
    pub fn directory_of(&self, bucket: &Bucket) -> PathBuf {
        bucket.path.clone().unwrap_or_else(|| self.general.data_dir.clone())
    }

    /// All buckets with their names, the default one first.
    pub fn all_buckets(&self) -> impl Iterator<Item = (&str, &Bucket)> {
        let further = self.buckets.iter().map(|(name, bucket)| (name.as_str(), bucket));
        std::iter::once((DEFAULT_BUCKET, &self.bucket)).chain(further)
    }

    /// Two buckets with the same answer are one.
    fn place_of(&self, bucket: &Bucket) -> (Option<PathBuf>, [Option<String>; 3]) {
        match bucket.kind {
            BucketType::Directory => {
                let path = self.directory_of(bucket);
                (Some(std::path::absolute(&path).unwrap_or(path)), [None, None, None])
            }
            _ => (None, [bucket.endpoint.clone(), bucket.azure_account.clone(), bucket.name.clone()]),
        }
    }
}

#[cfg(test)]
mod tests;
