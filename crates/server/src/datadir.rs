//! The data directory of a node: private, and held by one server at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use roadstead_blobs::sync_way_to;
use rustix::fs::{Access, FlockOperation, access, flock};
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
    /// It belongs to another user than the one who asks.
    #[error("the data directory {} belongs to user {owner}, and this is user {user}: run this command as user {owner}", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Number of the user that it belongs to.
        owner: u32,
        /// Number of the user of this process.
        user: u32,
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
    /// Makes the directory, durably and for its owner alone, unless it is there.
    ///
    /// # Errors
    /// [`DataDirError::Refused`].
    pub fn make(path: &Path) -> Result<Self, DataDirError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| sync_way_to(path));
        made.map_err(|cause| DataDirError::Refused { path: path.to_owned(), cause })?;
        Ok(Self(path.to_owned()))
    }

    /// The directory if it is there, without making or changing anything.
    ///
    /// # Errors
    /// [`DataDirError::Foreign`] when it belongs to somebody else; [`DataDirError::Refused`] when it is none, or when it
    /// is not there and could not be made.
    pub fn look(path: &Path) -> Result<Option<Self>, DataDirError> {
        let refused = |cause| DataDirError::Refused { path: path.to_owned(), cause };
        match path.metadata() {
            Ok(found) if !found.is_dir() => Err(refused(ErrorKind::NotADirectory.into())),
            Ok(found) => {
                let (user, used) = (rustix::process::geteuid(), path.join("lock").metadata());
                let owner = used.as_ref().map_or(found.uid(), |lock| lock.uid());
                // Until it is used, a directory that a group may write to serves as well (a volume of Kubernetes).
                let may = used.is_err() && !user.is_root() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
                if owner != user.as_raw() && !may {
                    return Err(DataDirError::Foreign { path: path.to_owned(), owner, user: user.as_raw() });
                }
                Ok(Some(Self(path.to_owned())))
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                let whole = std::path::absolute(path).map_err(refused)?;
                let parent = whole.ancestors().find(|parent| parent.exists()).unwrap_or(Path::new("/"));
                access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| refused(error.into()))?;
                Ok(None)
            }
            Err(cause) => Err(refused(cause)),
        }
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
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.0.join("lock")).map_err(|cause| self.refused(cause))?;
        self.hold(file)
    }

    /// As [`DataDir::lock`]; nothing where no server was ever started, and nothing is made there.
    ///
    /// # Errors
    /// As [`DataDir::lock`].
    pub fn lock_if_used(&self) -> Result<Option<Lock>, DataDirError> {
        match OpenOptions::new().read(true).write(true).open(self.0.join("lock")) {
            Ok(file) => self.hold(file).map(Some),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.refused(cause)),
        }
    }

    fn refused(&self, cause: std::io::Error) -> DataDirError {
        DataDirError::Refused { path: self.0.clone(), cause }
    }

    fn hold(&self, mut file: File) -> Result<Lock, DataDirError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                let process = process.trim().to_owned();
                let process = if process.is_empty() { "unknown".to_owned() } else { process };
                return Err(DataDirError::Held { path: self.0.clone(), process });
            }
            Err(error) => return Err(self.refused(error.into())),
        }
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        named.map_err(|cause| self.refused(cause))?;
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
    fn looking_makes_nothing_and_says_whose_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/data");
        assert!(DataDir::look(&path).expect("could be made").is_none());
        assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 0);
        let data = DataDir::make(&path).expect("made");
        assert!(data.lock_if_used().expect("free").is_none() && !path.join("lock").exists());
        drop(data.lock().expect("free"));
        assert!(DataDir::look(&path).expect("ours").expect("there").lock_if_used().expect("free").is_some());
        let of_root = Path::new("/proc");
        if !rustix::process::geteuid().is_root() {
            let error = DataDir::look(of_root).expect_err("not ours").to_string();
            assert!(error.contains("belongs to user 0"), "{error}");
        }
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
