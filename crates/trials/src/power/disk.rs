//! A file system in memory that knows, of everything in it, what is on the disk and what is not yet, and so can say what a
//! power cut at this moment leaves.
//!
//! It is as harsh as POSIX allows, harsher than ext4 and xfs are:
//!
//! - `fsync` of a file makes its bytes and its size durable, and nothing else. A file that was made and synced but whose
//!   directory never was may be gone (ext4 and xfs would keep it).
//! - `fsync` of a directory makes its own entries durable, not what they lead to and not the way to the directory.
//! - What was not synced is decided at the cut by chance: for each file one [`content::Fate`]; for each directory a part of the changes
//!   since its last sync, either the first ones in their order or any of them. A rename within a directory happens whole or
//!   not at all; one between two directories is two changes, so the file may be in both, or in neither.
//! - At any time a page that waits goes to the disk without being asked for.
//!
//! SQLite holds on this: its Unix layer syncs the directory at the first sync of a journal or a log that it may have made
//! (`UNIXFILE_DIRSYNC` in `os_unix.c`), which is before the first commit into it is told. It does not sync the
//! directory after it has removed one (`synchronous = EXTRA` would); a log that comes back is applied a second time, or its
//! frames have salts that are no longer valid.
//!
//! Owners, permissions and times are not part of this: they never get lost.

mod content;
mod folder;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt,
    time::SystemTime,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::io::Errno;

use content::Content;
use folder::{Change, Folder};

/// Number of the directory at the top.
pub(super) const ROOT: u64 = 1;
/// One of so many writes is followed by a page that goes to the disk by itself.
const WRITE_BACK: u32 = 16;
/// After so many removals what nothing leads to any more is forgotten.
const SWEEP: u32 = 1024;

/// The whole file system.
pub(super) struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    removals: u32,
    random: StdRng,
}

/// Anything that has a number.
pub(super) struct Node {
    kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) changed: SystemTime,
    pub(super) links: u32,
    opened: u32,
}

enum Kind {
    File(Content),
    Folder(Folder),
    /// A place to connect to; it has no bytes.
    Socket,
}

/// What something is, for those who list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    File,
    Folder,
    Socket,
}

/// What a cut left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remains {
    /// Files that something on the disk led to.
    pub files: u64,
    /// Of them, those with bytes that were not synced: lost, kept, torn, zeros.
    pub unsynced: [u64; 4],
    /// Changes of directories that were not synced, and how many of them happened.
    pub changes: (u64, u64),
}

impl fmt::Display for Remains {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lost, kept, torn, zeros] = self.unsynced;
        let (changes, happened) = self.changes;
        write!(
            to,
            "{} files, unsynced ones: {lost} lost, {kept} kept, {torn} torn, {zeros} zeros; {happened} of {changes} unsynced changes of directories",
            self.files
        )
    }
}

type Result<T> = std::result::Result<T, Errno>;

impl Disk {
    /// An empty one. Equal seeds and equal calls give equal cuts.
    pub(super) fn new(seed: u64) -> Self {
        let root = Node::new(Kind::Folder(Folder::default()), 0o755, (0, 0));
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, removals: 0, random: StdRng::seed_from_u64(seed) }
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node> {
        self.nodes.get(&number).ok_or(Errno::NOENT)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Result<&mut Node> {
        self.nodes.get_mut(&number).ok_or(Errno::NOENT)
    }

    pub(super) fn find(&self, parent: u64, name: &OsStr) -> Result<u64> {
        self.folder(parent)?.find(name).ok_or(Errno::NOENT)
    }

    /// The entries of a directory by name.
    pub(super) fn entries(&self, folder: u64) -> Result<Vec<(OsString, u64)>> {
        Ok(self.folder(folder)?.entries())
    }

    /// Makes something new under a name that must be free; its number.
    pub(super) fn make(&mut self, parent: u64, name: &OsStr, sort: Sort, mode: u32, owner: (u32, u32)) -> Result<u64> {
        if self.folder(parent)?.find(name).is_some() {
            return Err(Errno::EXIST);
        }
        let kind = match sort {
            Sort::File => Kind::File(Content::default()),
            Sort::Folder => Kind::Folder(Folder::default()),
            Sort::Socket => Kind::Socket,
        };
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node::new(kind, mode, owner));
        self.folder_mut(parent)?.change(Change::Put(name.to_owned(), number));
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Result<()> {
        if self.folder(parent)?.find(name).is_some() {
            return Err(Errno::EXIST);
        }
        self.node_mut(number)?.links += 1;
        self.folder_mut(parent)?.change(Change::Put(name.to_owned(), number));
        Ok(())
    }

    /// Removes a name: of a directory when `folder`, else of anything else.
    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, folder: bool) -> Result<()> {
        let number = self.find(parent, name)?;
        match &self.node(number)?.kind {
            Kind::Folder(_) if !folder => return Err(Errno::ISDIR),
            Kind::Folder(below) if !below.entries().is_empty() => return Err(Errno::NOTEMPTY),
            Kind::File(_) | Kind::Socket if folder => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.folder_mut(parent)?.change(Change::Remove(name.to_owned()));
        self.unlinked(number)
    }

    /// Gives something another name, in place of what has that name. With `only_new` nothing may have it.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), only_new: bool) -> Result<()> {
        let number = self.find(from.0, from.1)?;
        if let Some(replaced) = self.folder(to.0)?.find(to.1) {
            if only_new {
                return Err(Errno::EXIST);
            }
            if replaced == number {
                return Ok(());
            }
            match (&self.node(number)?.kind, &self.node(replaced)?.kind) {
                (Kind::Folder(_), Kind::Folder(below)) if !below.entries().is_empty() => return Err(Errno::NOTEMPTY),
                (Kind::Folder(_), Kind::Folder(_)) => {}
                (Kind::Folder(_), _) => return Err(Errno::NOTDIR),
                (_, Kind::Folder(_)) => return Err(Errno::ISDIR),
                _ => {}
            }
            self.unlinked(replaced)?;
        }
        if from.0 == to.0 {
            let change = Change::Rename(from.1.to_owned(), to.1.to_owned(), number);
            self.folder_mut(from.0)?.change(change);
        } else {
            self.folder_mut(to.0)?.change(Change::Put(to.1.to_owned(), number));
            self.folder_mut(from.0)?.change(Change::Remove(from.1.to_owned()));
        }
        Ok(())
    }

    pub(super) fn read(&self, number: u64, offset: u64, length: usize) -> Result<Vec<u8>> {
        match &self.node(number)?.kind {
            Kind::File(content) => Ok(content.read(offset, length)),
            _ => Err(Errno::ISDIR),
        }
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let by_itself = self.random.random_ratio(1, WRITE_BACK);
        let node = self.nodes.get_mut(&number).ok_or(Errno::NOENT)?;
        let Kind::File(content) = &mut node.kind else { return Err(Errno::ISDIR) };
        content.write(offset, bytes);
        node.changed = SystemTime::now();
        if by_itself {
            content.write_back_one(&mut self.random);
        }
        Ok(())
    }

    pub(super) fn set_size(&mut self, number: u64, size: u64) -> Result<()> {
        let node = self.node_mut(number)?;
        let Kind::File(content) = &mut node.kind else { return Err(Errno::ISDIR) };
        content.set_size(size);
        node.changed = SystemTime::now();
        Ok(())
    }

    /// `fsync`, of a file or of a directory.
    pub(super) fn sync(&mut self, number: u64) -> Result<()> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(content) => content.sync(),
            Kind::Folder(folder) => folder.sync(),
            Kind::Socket => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// Someone has it open: it stays when its last name goes.
    pub(super) fn opened(&mut self, number: u64) -> Result<()> {
        self.node_mut(number)?.opened += 1;
        Ok(())
    }

    pub(super) fn closed(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.opened = node.opened.saturating_sub(1);
        }
    }

    /// What a power cut at this moment leaves. This one is as it was.
    pub(super) fn cut(&mut self) -> (Self, Remains) {
        let mut random = StdRng::seed_from_u64(self.random.random());
        let left_random = StdRng::seed_from_u64(self.random.random());
        let mut left = Self { nodes: BTreeMap::new(), next: self.next, removals: 0, random: left_random };
        let mut remains = Remains::default();
        let mut found = vec![ROOT];
        while let Some(number) = found.pop() {
            let Some(node) = self.nodes.get(&number) else { continue };
            if let Some(again) = left.nodes.get_mut(&number) {
                again.links += 1;
                continue;
            }
            let kind = match &node.kind {
                Kind::Socket => Kind::Socket,
                Kind::File(content) => {
                    let (content, fate) = content.survive(&mut random);
                    remains.files += 1;
                    if let Some(fate) = fate {
                        remains.unsynced[fate as usize] += 1;
                    }
                    Kind::File(content)
                }
                Kind::Folder(folder) => {
                    let (folder, changes, happened) = folder.survive(&mut random);
                    remains.changes.0 += changes;
                    remains.changes.1 += happened;
                    found.extend(folder.entries().into_iter().map(|(_, number)| number));
                    Kind::Folder(folder)
                }
            };
            left.nodes.insert(number, Node { changed: node.changed, ..Node::new(kind, node.mode, node.owner) });
        }
        (left, remains)
    }

    /// The text of a file, by its path.
    #[cfg(test)]
    fn text(&self, path: &str) -> Option<String> {
        let number = path.split('/').try_fold(ROOT, |number, name| self.find(number, OsStr::new(name)).ok())?;
        let bytes = self.read(number, 0, 1 << 20).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn unlinked(&mut self, number: u64) -> Result<()> {
        let node = self.node_mut(number)?;
        node.links = node.links.saturating_sub(1);
        self.removals += 1;
        if self.removals >= SWEEP {
            self.removals = 0;
            self.sweep();
        }
        Ok(())
    }

    /// Forgets what has no name, is not open, and could not come back with a cut.
    fn sweep(&mut self) {
        let mut reached = BTreeSet::new();
        let open = self.nodes.iter().filter(|(_, node)| node.opened > 0).map(|(number, _)| *number);
        let mut found: Vec<u64> = open.chain([ROOT]).collect();
        while let Some(number) = found.pop() {
            if !reached.insert(number) {
                continue;
            }
            if let Some(Node { kind: Kind::Folder(folder), .. }) = self.nodes.get(&number) {
                found.extend(folder.could_lead_to());
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
    }

    fn folder(&self, number: u64) -> Result<&Folder> {
        match &self.node(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn folder_mut(&mut self, number: u64) -> Result<&mut Folder> {
        match &mut self.node_mut(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            _ => Err(Errno::NOTDIR),
        }
    }
}

impl Node {
    fn new(kind: Kind, mode: u32, owner: (u32, u32)) -> Self {
        Self { kind, mode, owner, changed: SystemTime::now(), links: 1, opened: 0 }
    }

    pub(super) fn sort(&self) -> Sort {
        match self.kind {
            Kind::File(_) => Sort::File,
            Kind::Folder(_) => Sort::Folder,
            Kind::Socket => Sort::Socket,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.size(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
