//! The key that seals what the database keeps secret.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_access::Entropy;

use crate::config::{Config, DatabaseAddress, Secret};
use crate::datadir::DataDir;

/// Where a key that was made up lies in the data directory.
const FILE: &str = "secret.key";

/// A key, if there is one, and where it comes from, for people.
pub struct Found {
    /// The key; none when the first start is to make it.
    pub key: Option<Secret<[u8; 32]>>,
    /// Where it is, or will be.
    pub source: String,
}

/// The key as configured, or the one in `DATA_DIR/secret.key`. Makes nothing.
///
/// # Errors
/// In words, when a file can't be read or holds no key.
pub fn find(config: &Config, data_dir: &Path) -> Result<Found, String> {
    if let Some(key) = &config.general.secret_key {
        return Ok(Found { key: Some(key.clone()), source: "configured".to_owned() });
    }
    if let Some(path) = &config.general.secret_key_file {
        let missing = || format!("secret_key_file = {}: there is no such file", path.display());
        let key = read(path, "secret_key_file")?.ok_or_else(missing)?;
        return Ok(Found { key: Some(key), source: path.display().to_string() });
    }
    let path = data_dir.join(FILE);
    let key = read(&path, "the secret key")?;
    let source = path.display().to_string() + if key.is_none() { ", made by the first start" } else { "" };
    Ok(Found { key, source })
}

/// As [`find`]; makes the key when there is none. The caller holds the data directory.
///
/// # Errors
/// As [`find`], and when the key can't be written.
pub fn find_or_make(config: &Config, data: &DataDir, entropy: &Entropy) -> Result<Secret<[u8; 32]>, String> {
    let key = match find(config, data.path())?.key {
        Some(key) => key,
        None => make(&data.path().join(FILE), entropy)?,
    };
    if let Some(warning) = warning(config) {
        tracing::warn!("{warning}");
    }
    Ok(key)
}

/// What an operator should know: a key of one node beside a database of many.
pub fn warning(config: &Config) -> Option<String> {
    let is_own = config.general.secret_key.is_none() && config.general.secret_key_file.is_none();
    let shared = matches!(config.database.url.as_ref().map(Secret::expose), Some(DatabaseAddress::Postgres(_)));
    let path = config.general.data_dir.join(FILE);
    let words = "is used, and every other node of this database needs the same key";
    (is_own && shared).then(|| format!("secret_key is not configured: {} {words}", path.display()))
}

fn read(path: &Path, name: &str) -> Result<Option<Secret<[u8; 32]>>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{name} ({}) can't be read: {error}", path.display())),
    };
    let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    let wrong = || format!("{name} ({}) does not hold 32 bytes in base64", path.display());
    Ok(Some(Secret::new(key.ok_or_else(wrong)?)))
}

fn make(path: &Path, entropy: &Entropy) -> Result<Secret<[u8; 32]>, String> {
    let key = entropy.bytes::<32>();
    let unfinished = path.with_extension("new");
    // A start that was cut off in the middle leaves no half key behind.
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        writeln!(file, "{}", STANDARD.encode(key))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written()
        .map_err(|error: std::io::Error| format!("the secret key {} can't be written: {error}", path.display()))?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Sources;

    fn config(flags: Vec<(&'static str, String)>) -> Config {
        Config::load(&Sources { flags, ..Sources::default() }).expect("right")
    }

    #[test]
    fn a_made_up_key_stays_the_same_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::make(directory.path()).expect("made");
        let first = find_or_make(&config(vec![]), &data, &Entropy::system()).expect("made");
        let second = find_or_make(&config(vec![]), &data, &Entropy::system()).expect("read");
        assert!(first == second);
        let mode = fs::metadata(directory.path().join("secret.key")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_configured_key_is_not_written_anywhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::make(directory.path()).expect("made");
        let config = config(vec![("secret_key", STANDARD.encode([7; 32]))]);
        let key = find_or_make(&config, &data, &Entropy::system()).expect("given");
        assert_eq!(key.expose(), &[7; 32]);
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
    }

    #[test]
    fn a_file_without_a_key_is_refused_in_words() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::make(directory.path()).expect("made");
        fs::write(directory.path().join("secret.key"), "hunter2").expect("written");
        let error = find_or_make(&config(vec![]), &data, &Entropy::system()).expect_err("refused");
        assert!(error.contains("32 bytes") && !error.contains("hunter2"), "{error}");
    }
}
