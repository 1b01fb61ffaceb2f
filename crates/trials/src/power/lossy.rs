//! The `Disk` as a mounted file system (FUSE), whose power can be cut.
//!
//! The kernel keeps pages for reading and for shared maps (SQLite's `-shm`), but no written byte waits in it: without
//! `FUSE_WRITEBACK_CACHE` each `write` arrives here before it returns, so "written and not synced" is known exactly. Bytes that
//! are written through a map arrive when the kernel likes, or with `msync`; nothing here has to survive that was written so.
//! This process must not map files of it into its memory: it would wait for a page that only it can bring, with the lock held that
//! it needs to do so, and hang with all who look at it (`ps`). `umount -f` ends that. Reading and writing is fine.
//!
//! Locks stay in the kernel. Everything that this process changes comes over the mount, so what the kernel remembers of names
//! and sizes is always right.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use rustix::mount::{UnmountFlags, unmount};

use super::disk::{Disk, Node, ROOT, Remains, Sort};

/// How long the kernel may remember what it was told: always right, see above.
const REMEMBERED: Duration = Duration::from_secs(86_400);
/// The size that is told to those who ask, in blocks of 4 KiB: 1 TiB.
const BLOCKS: u64 = 1 << 28;

/// What the file system does wrong on purpose, to see whether a trial notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Control {
    /// Nothing.
    #[default]
    None,
    /// `fsync` and `fdatasync`, of files and directories, say that they worked, and nothing becomes durable.
    NoFsync,
    /// As that, of directories alone.
    NoDirectoryFsync,
}

/// Whether the kernel has FUSE and lets this process use it.
pub(super) fn usable() -> std::result::Result<(), String> {
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    opened.map(drop).map_err(|error| format!("/dev/fuse can't be opened: {error}"))
}

/// A mounted file system. Dropping it unmounts it; what it held is gone then.
pub struct Lossy {
    shared: Arc<Mutex<Shared>>,
    session: Option<BackgroundSession>,
    path: PathBuf,
    control: Control,
}

struct Shared {
    disk: Disk,
    /// No power: every request fails.
    dark: bool,
}

impl Lossy {
    /// Mounts an empty file system. What its cuts leave follows from the seed and from what is done to it.
    ///
    /// # Errors
    /// Of the mount; it needs `/dev/fuse` and the right to mount (or `fusermount3`).
    pub fn mount(path: &Path, seed: u64, control: Control) -> io::Result<Self> {
        let mut lossy = Self {
            shared: Arc::new(Mutex::new(Shared { disk: Disk::new(seed), dark: false })),
            session: None,
            path: path.to_owned(),
            control,
        };
        lossy.power_on()?;
        Ok(lossy)
    }

    /// Cuts the power: decides what is left, and from then on every request fails. `off` runs between two requests, while all
    /// others wait, so whoever is killed there sees nothing of the cut.
    pub fn cut(&mut self, off: impl FnOnce()) -> Remains {
        let mut shared = lock(&self.shared);
        let (left, remains) = shared.disk.cut();
        off();
        shared.disk = left;
        shared.dark = true;
        remains
    }

    /// Mounts what the cut left. Whoever had files open before must be gone.
    ///
    /// # Errors
    /// Of unmounting and mounting.
    pub fn restore(&mut self) -> io::Result<()> {
        self.unmount()?;
        lock(&self.shared).dark = false;
        self.power_on()
    }

    /// A program that another thread of this process starts right now holds all our files for a moment, until it is another program.
    fn unmount(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        for _ in 0..1000 {
            match unmount(&self.path, UnmountFlags::empty()) {
                Ok(()) => return ended(session.join()),
                Err(rustix::io::Errno::BUSY) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => break,
            }
        }
        ended(session.umount_and_join())
    }

    fn power_on(&mut self) -> io::Result<()> {
        let view = View { shared: Arc::clone(&self.shared), control: self.control };
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("roadstead-lossy".to_owned()),
            MountOption::DefaultPermissions,
            MountOption::NoAtime,
        ];
        self.session = Some(fuser::spawn_mount(view, &self.path, &config)?);
        Ok(())
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{} can't be unmounted: {error}", self.path.display());
        }
    }
}

/// How a session ended whose file system was unmounted. Who is just reading a request (such as the release of a file) while the kernel ends
/// the connection is told "aborted", and everybody else "no device"; fuser knows only the latter as an end.
fn ended(session: io::Result<()>) -> io::Result<()> {
    session.or_else(|error| if error.kind() == io::ErrorKind::ConnectionAborted { Ok(()) } else { Err(error) })
}

/// What the kernel talks to.
struct View {
    shared: Arc<Mutex<Shared>>,
    control: Control,
}

type Result<T> = std::result::Result<T, Errno>;

impl View {
    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> std::result::Result<T, rustix::io::Errno>) -> Result<T> {
        let mut shared = lock(&self.shared);
        if shared.dark {
            return Err(Errno::EIO);
        }
        work(&mut shared.disk).map_err(|error| Errno::from_i32(error.raw_os_error()))
    }

    fn make(&self, request: &Request, parent: INodeNo, name: &OsStr, sort: Sort, mode: u32) -> Result<FileAttr> {
        self.with(|disk| {
            let number = disk.make(parent.0, name, sort, mode & 0o7777, (request.uid(), request.gid()))?;
            Ok(attributes(number, disk.node(number)?))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind(sort: Sort) -> FileType {
    match sort {
        Sort::File => FileType::RegularFile,
        Sort::Folder => FileType::Directory,
        Sort::Socket => FileType::Socket,
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: node.size(),
        blocks: node.size().div_ceil(512),
        atime: node.changed,
        mtime: node.changed,
        ctime: node.changed,
        crtime: node.changed,
        kind: kind(node.sort()),
        perm: u16::try_from(node.mode & 0o7777).unwrap_or(0),
        nlink: node.links,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn entry(found: Result<FileAttr>, reply: ReplyEntry) {
    match found {
        Ok(found) => reply.entry(&REMEMBERED, &found, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn done(outcome: Result<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for View {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|disk| {
            let number = disk.find(parent.0, name)?;
            Ok(attributes(number, disk.node(number)?))
        });
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|disk| Ok(attributes(number.0, disk.node(number.0)?))) {
            Ok(found) => reply.attr(&REMEMBERED, &found),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|disk| {
            if let Some(size) = size {
                disk.set_size(number.0, size)?;
            }
            let node = disk.node_mut(number.0)?;
            node.mode = mode.unwrap_or(node.mode);
            node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => node.changed = time,
                Some(TimeOrNow::Now) => node.changed = SystemTime::now(),
                None => {}
            }
            Ok(attributes(number.0, node))
        });
        match changed {
            Ok(changed) => reply.attr(&REMEMBERED, &changed),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: u32, reply: ReplyEntry) {
        let made = match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => self.make(request, parent, name, Sort::File, mode),
            rustix::fs::FileType::Socket => self.make(request, parent, name, Sort::Socket, mode),
            _ => Err(Errno::EPERM),
        };
        entry(made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(self.make(request, parent, name, Sort::Folder, mode), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.with(|disk| disk.remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.with(|disk| disk.remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let only_new = flags.contains(RenameFlags::RENAME_NOREPLACE);
        done(self.with(|disk| disk.rename((parent.0, name), (to_parent.0, to_name), only_new)), reply);
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.with(|disk| {
            disk.link(number.0, parent.0, name)?;
            Ok(attributes(number.0, disk.node(number.0)?))
        });
        entry(linked, reply);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|disk| disk.opened(number.0)) {
            // The kernel keeps its pages of the file from one opening to the next.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.make(request, parent, name, Sort::File, mode);
        let opened = made.and_then(|made| self.with(|disk| disk.opened(made.ino.0)).map(|()| made));
        match opened {
            Ok(made) => {
                reply.created(&REMEMBERED, &made, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let closed = self.with(|disk| {
            disk.closed(number.0);
            Ok(())
        });
        done(closed, reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = usize::try_from(size).unwrap_or(0);
        match self.with(|disk| disk.read(number.0, offset, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.with(|disk| disk.write(number.0, offset, bytes)) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(0)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        done(self.with(|_| Ok(())), reply);
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let honest = self.control != Control::NoFsync;
        done(self.with(|disk| if honest { disk.sync(number.0) } else { Ok(()) }), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let honest = self.control == Control::None;
        done(self.with(|disk| if honest { disk.sync(number.0) } else { Ok(()) }), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.with(|disk| {
            let mut all = vec![(1, ".".into(), number.0), (2, "..".into(), ROOT)];
            all.extend(disk.entries(number.0)?.into_iter().map(|(name, number)| (number + 2, name, number)));
            let sorted = |(place, name, number)| Ok((place, name, number, disk.node(number)?.sort()));
            all.into_iter().map(sorted).collect::<std::result::Result<Vec<_>, _>>()
        });
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(error) => return reply.error(error),
        };
        // By number, not by name: what is removed while someone lists must not move what he has not seen yet.
        listed.sort();
        for (place, name, number, sort) in listed.into_iter().filter(|(place, ..)| *place > offset) {
            if reply.add(INodeNo(number), place, kind(sort), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, 1 << 30, 1 << 30, 4096, 255, 4096);
    }
}

#[cfg(test)]
mod tests;
