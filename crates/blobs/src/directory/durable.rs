//! Folders of a bucket, and when their entries are safe from a power cut: a file that was made is durable once its folder
//! is synced, and so are the folders above it that were made for it.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::io::Errno;

use crate::BlobError;

/// The folders below one root.
pub(super) struct Folders {
    root: PathBuf,
    /// Folders of our own layout, by their hexadecimal letters, whose entry in the folder above is known to be durable: 256 at most.
    known: Mutex<HashSet<[u8; 2]>>,
}

impl Folders {
    /// Makes the root durably if it is not there.
    pub(super) fn open(root: PathBuf) -> Result<Self, BlobError> {
        fs::create_dir_all(root.join("objects"))?;
        sync(&root)?;
        sync_way_to(&root)?;
        Ok(Self { root, known: Mutex::default() })
    }

    /// The folder that `path` lies in.
    pub(super) fn of(&self, path: &Path) -> PathBuf {
        path.parent().unwrap_or(&self.root).to_owned()
    }

    /// Opens `path` with `options`, which create it; folders that are missing are made.
    pub(super) fn create(&self, path: &Path, options: &OpenOptions) -> Result<File, BlobError> {
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = self.of(path);
                fs::create_dir_all(&folder)?;
                match options.open(path) {
                    // Someone's `remove_empty` came in between; it removes only what it made itself a moment before.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        fs::create_dir_all(&folder)?;
                        Ok(options.open(path)?)
                    }
                    other => Ok(other?),
                }
            }
            other => Ok(other?),
        }
    }

    /// The folders that would have to be made for `path`, the innermost first.
    pub(super) fn missing_for(&self, path: &Path) -> Vec<PathBuf> {
        let above = path.ancestors().skip(1).take_while(|above| *above != self.root);
        above.take_while(|above| !above.exists()).map(Path::to_owned).collect()
    }

    /// Removes those of `folders` that are empty, given the innermost first.
    pub(super) fn remove_empty(&self, folders: &[PathBuf]) -> Result<(), BlobError> {
        for folder in folders {
            // Whoever makes it again has to make it durable again.
            if let Some(letters) = self.letters(folder) {
                self.lock().remove(&letters);
            }
            match fs::remove_dir(folder) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes the entries of `folder` durable, and the way to it unless that is known to be so already. A folder that
    /// another upload made a moment ago counts as unknown until it was synced here.
    pub(super) fn make_durable(&self, folder: &Path) -> Result<(), BlobError> {
        sync(folder)?;
        let mut below = folder;
        while below != self.root {
            let letters = self.letters(below);
            if letters.is_some_and(|letters| self.lock().contains(&letters)) {
                break;
            }
            let Some(above) = below.parent() else { break };
            sync(above)?;
            if let Some(letters) = letters {
                self.lock().insert(letters);
            }
            below = above;
        }
        Ok(())
    }

    /// Removes a file durably; one that is not there was removed before, perhaps by a process that did not come to this end.
    pub(super) fn remove(&self, path: &Path) -> Result<(), BlobError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        match sync(&self.of(path)) {
            // Without its folder there is no file.
            Err(BlobError::Missing) => Ok(()),
            other => other,
        }
    }

    /// `ab` for the folder `objects/ab`.
    fn letters(&self, folder: &Path) -> Option<[u8; 2]> {
        let text = folder.strip_prefix(&self.root).ok()?.to_str()?.strip_prefix("objects/")?;
        text.as_bytes().try_into().ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 2]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the way to a folder durable: its entry in the folder above, the entry of that one, and so on within its file system.
/// Without that a power cut may take away all that lies in a folder that was made a moment ago, however well it was synced itself.
/// Whether it was made just now can't be known: who made it may have been killed before he came to this.
///
/// # Errors
/// Of the file system. A folder above that may not be opened was not made by us and is left out.
pub fn sync_way_to(folder: &Path) -> std::io::Result<()> {
    let folder = folder.canonicalize()?;
    let device = folder.metadata()?.dev();
    for above in folder.ancestors().skip(1) {
        // Where a file system is mounted nobody makes a folder by making the ones below.
        if above.metadata()?.dev() != device {
            break;
        }
        let synced = File::open(above).and_then(|above| above.sync_all());
        match synced.map_err(|error| (Errno::from_io_error(&error), error)) {
            Err((Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::INVAL | Errno::OPNOTSUPP), _)) | Ok(()) => {}
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<(), BlobError> {
    match File::open(folder)?.sync_all() {
        // Some network file systems do not sync folders; they have no other way to offer.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_counts_as_durable_only_after_it_was_synced() {
        let root = tempfile::tempdir().expect("a directory");
        let folders = Folders::open(root.path().join("deep/bucket")).expect("a fresh directory");
        let path = root.path().join("deep/bucket/objects/ab/file");
        folders.create(&path, OpenOptions::new().write(true).create(true)).expect("made with its folders");
        assert!(folders.lock().is_empty());
        folders.make_durable(&folders.of(&path)).expect("synced");
        assert_eq!(*folders.lock(), HashSet::from([*b"ab"]));
    }
}
