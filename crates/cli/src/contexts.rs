//! The contexts: which services the user is signed in at. One file that only its owner reads.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    environment::Environment,
    failure::{Code, Failure},
};

/// A service and the key to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Address of the service.
    pub(crate) url: String,
    /// Id of the access key.
    pub(crate) key_id: String,
    /// Its secret.
    pub(crate) secret: String,
    /// Certificates that are trusted besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The secret may be sent in the clear.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure_http: bool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("url", &self.url).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// All contexts, as the file holds them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// The one that is meant when nobody says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads them; none are there before the first sign-in.
    ///
    /// # Errors
    /// When the file is open to others, or is not what we write.
    pub(crate) fn read(environment: &Environment) -> Result<Self, Failure> {
        let Some(path) = environment.contexts_file() else { return Ok(Self::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(refused(&path, &error)),
        };
        let mode = fs::metadata(&path).map_err(|error| refused(&path, &error))?.mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            let words =
                format!("{path} holds secrets and is open to others: `chmod 600 {path}`, and think of new keys");
            return Err(Failure::other(words));
        }
        // The message of the parser shows the line, which may hold a secret.
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            Failure::other(format!(
                "{}, line {line}: not as `roadstead login` writes it: {}",
                path.display(),
                error.message()
            ))
        })
    }

    /// Writes them: for the owner alone, and either all or nothing.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn write(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        let path = environment
            .contexts_file()
            .ok_or_else(|| Failure::other("nothing says where the key can be kept: set HOME or XDG_CONFIG_HOME"))?;
        let text = toml::to_string(self).map_err(|error| Failure::other(format!("the contexts: {error}")))?;
        write(&path, &text).map_err(|error| refused(&path, &error))?;
        Ok(path)
    }

    /// The context of this name, or the current one.
    ///
    /// # Errors
    /// When there is none of the name.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<Option<(&str, &Context)>, Failure> {
        match name {
            Some(name) => match self.contexts.get_key_value(name) {
                Some((name, context)) => Ok(Some((name, context))),
                None => Err(self.missing(name)),
            },
            None => Ok(self.current.as_deref().and_then(|name| Some((name, self.contexts.get(name)?)))),
        }
    }

    /// There is no context of this name.
    pub(crate) fn missing(&self, name: &str) -> Failure {
        let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "`roadstead login` makes one".to_owned()
        } else {
            format!("there is {}", known.join(", "))
        };
        Failure::new(Code::SignedOut, format!("there is no context called {name}: {known}"))
    }
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::other(format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Of a name of its own: two that sign in at the same time must not write into one file.
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&new, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&new);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context(url: &str) -> Context {
        let (key_id, secret) = ("RSK1".to_owned(), "s3cret".to_owned());
        Context { url: url.to_owned(), key_id, secret, ca_file: None, insecure_http: false }
    }

    fn home() -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = Environment::of(&[("XDG_CONFIG_HOME", &folder.path().display().to_string())]);
        (folder, environment)
    }

    #[test]
    fn what_was_written_is_read_by_its_owner_alone() {
        let (_folder, environment) = home();
        let mut all = Contexts::read(&environment).expect("none yet");
        assert!(all.find(None).expect("none yet").is_none());
        all.contexts.insert("a.b:1".to_owned(), context("https://a.b:1/"));
        all.current = Some("a.b:1".to_owned());
        let path = all.write(&environment).expect("written");
        all.write(&environment).expect("written again");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().expect("a folder")).expect("there").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("there").count(), 1);
        let read = Contexts::read(&environment).expect("ours");
        assert_eq!(read.find(None).expect("known"), Some(("a.b:1", &context("https://a.b:1/"))));
        let failure = read.find(Some("other")).expect_err("unknown");
        assert!(failure.code() == Code::SignedOut && failure.words().contains("a.b:1"), "{failure:?}");
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let (_folder, environment) = home();
        let path = Contexts::default().write(&environment).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        let failure = Contexts::read(&environment).expect_err("open");
        assert!(failure.words().contains("chmod 600"), "{failure:?}");
    }

    #[test]
    fn a_broken_file_tells_no_secret() {
        let (_folder, environment) = home();
        let path = Contexts::default().write(&environment).expect("written");
        fs::write(&path, "current = 1\n[contexts.x]\nsecret = s3cret\n").expect("ours");
        let failure = Contexts::read(&environment).expect_err("broken");
        assert!(failure.words().contains("line 3") && !failure.words().contains("s3cret"), "{failure:?}");
        assert!(!format!("{:?}", context("https://x")).contains("s3cret"));
    }
}
