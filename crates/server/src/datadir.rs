//! The data directory of a node: private, and held by one server at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A data directory that exists.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Holds a data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a data directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error("the data directory {} is in use by another roadstead (process {process}): stop that one, or set `data_dir` to another directory", .path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, as it said itself.
        process: String,
    },
    /// The file system refuses.
    #[error("the data directory {} can't be used: {cause}: see `data_dir`", .path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What the file system says.
        cause: std::io::Error,
    },
}

impl DataDir {
    /// Makes the directory, for its owner alone, unless it is there.
    ///
    /// # Errors
    /// [`DataDirError::Refused`].
    pub fn make(path: &Path) -> Result<Self, DataDirError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|cause| DataDirError::Refused { path: path.to_owned(), cause })?;
        Ok(Self(path.to_owned()))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the directory, or says who has it.
    ///
    /// # Errors
    /// [`DataDirError::Held`] when another process has it.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let refused = |cause| DataDirError::Refused { path: self.0.clone(), cause };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(self.0.join("lock")).map_err(refused)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                let process = process.trim().to_owned();
                let process = if process.is_empty() { "unknown".to_owned() } else { process };
                return Err(DataDirError::Held { path: self.0.clone(), process });
            }
            Err(error) => return Err(refused(error.into())),
        }
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        named.map_err(refused)?;
        Ok(Lock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_server_is_refused_in_words_until_the_first_has_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::make(&directory.path().join("a/data")).expect("made");
        let first = data.lock().expect("free");
        let error = DataDir::make(data.path()).expect("there").lock().expect_err("held").to_string();
        assert!(error.contains("in use") && error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains("data_dir"), "{error}");
        drop(first);
        data.lock().expect("free again");
    }

    #[test]
    fn only_its_owner_can_look_inside() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::make(&directory.path().join("data")).expect("made");
        let mode = std::fs::metadata(data.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "").expect("written");
        let error = DataDir::make(&directory.path().join("file/data")).expect_err("refused").to_string();
        assert!(error.contains("file/data") && error.contains("data_dir"), "{error}");
    }
}
