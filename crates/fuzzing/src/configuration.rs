//! The configuration: file and environment.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use roadstead_server::config::{Config, Sources};

/// A secret key that is none: no problem may repeat it.
const SECRET: &str = "hush-hush-hush";

/// Reads a file (all up to the first NUL) and an environment (`NAME=VALUE` between further ones). What is wrong is said in bounded words,
/// secrets are not repeated, and what is right is within its bounds.
pub fn config(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(str::from_utf8) else { return };
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    for part in parts {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        let [name, value] =
            [halves.next(), halves.next()].map(|it| OsString::from_vec(it.unwrap_or_default().to_vec()));
        // The file that it names would be read.
        if name != "ROADSTEAD_CONFIG" {
            environment.push((name, value));
        }
    }
    let mut sources = Sources { environment, ..Sources::default() };
    match Config::read(text, &sources) {
        Ok(config) => {
            assert!(!config.general.listen.is_empty());
            let limits = &config.limits;
            assert!((4096..=1 << 20).contains(&limits.header_bytes));
            assert!(limits.http2_window_bytes <= limits.http2_connection_window_bytes);
            assert!((1024..=64 << 20).contains(&limits.manifest_bytes));
            assert_eq!(config.tls.certificate.is_some(), config.tls.key.is_some());
            assert!(config.general.external_url.as_ref().is_none_or(|url| url.starts_with("http")));
        }
        Err(error) => {
            assert!(!error.0.is_empty() && error.0.iter().all(|problem| !problem.is_empty()));
            let given = data.len() + sources.environment.iter().map(|(name, _)| name.as_bytes().len()).sum::<usize>();
            assert!(error.to_string().len() < 64 * given + 4096, "{} bytes about {given}", error.to_string().len());
        }
    }
    if !text.contains(SECRET) && !data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
        sources.environment.push(("ROADSTEAD_SECRET_KEY".into(), SECRET.into()));
        let error = Config::read(text, &sources).expect_err("a key that is none").to_string();
        assert!(!error.contains(SECRET), "{error}");
    }
}
