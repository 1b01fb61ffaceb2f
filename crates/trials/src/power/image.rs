//! An ext4 file system in a file, over a loop device, whose power is cut by copying the file while the server is halted.
//!
//! Which bytes lie where at that moment, from the server down to the file:
//!
//! 1. what the server has written and not synced: dirty pages of ext4's files, in the kernel's memory, above the loop device. Not
//!    in the copy. The same goes for names: they are in a transaction of the journal that is not committed.
//! 2. what the server has synced: ext4 has written it to the loop device and waited for that, journal included. The loop device
//!    has written it into the file: into the page cache of the file system on which the file lies, as the device is not opened
//!    with direct I/O.
//! 3. `cp` reads the file through that same page cache. So everything of 2 is in the copy, and nothing of 1.
//!
//! So it does not matter whether the file's own pages have reached the disk of this machine: the cut is that of the machine
//! inside. What this can't see is a server, or ext4, that leaves out the flush of the disk's own cache: the loop device has none.
//!
//! The copy must be of one moment, or it would be torn as no disk is. The halted server writes nothing more, but the kernel may
//! (journal, write-back), so the copy is made again until the device has written nothing during it. That only moves the
//! cut to a later moment.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Size of the file system, in bytes. The file is sparse.
const SIZE: u64 = 6 << 30;
/// How often a copy is tried.
const COPIES: u32 = 200;

/// A mounted image. Dropping it unmounts it and removes the file.
pub struct Image {
    folder: PathBuf,
    mounted_at: PathBuf,
    file: PathBuf,
    cuts: u64,
}

/// Whether there are loop devices and the programs that are run here.
pub(super) fn usable() -> Result<(), String> {
    for (program, argument) in [("losetup", "--find"), ("mkfs.ext4", "-V"), ("mount", "--version")] {
        run(program, [argument]).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Image {
    /// Makes an image in `folder` and mounts it at `mounted_at`.
    ///
    /// # Errors
    /// What a program said.
    pub fn make(folder: &Path, mounted_at: &Path) -> io::Result<Self> {
        let file = folder.join("0.img");
        File::create(&file)?.set_len(SIZE)?;
        run("mkfs.ext4", [OsStr::new("-q"), OsStr::new("-F"), file.as_os_str()])?;
        let image = Self { folder: folder.to_owned(), mounted_at: mounted_at.to_owned(), file, cuts: 0 };
        image.mount()?;
        Ok(image)
    }

    /// Copies the image as the disk holds it at one moment. Whoever writes to it must be halted. How many copies it took.
    ///
    /// # Errors
    /// What a program said; or the device does not come to rest.
    pub fn cut(&mut self) -> io::Result<u32> {
        let device = self.device()?;
        let copy = self.folder.join(format!("{}.img", self.cuts + 1));
        for tries in 1..=COPIES {
            let before = written(&device)?;
            run("cp", [OsStr::new("--sparse=always"), self.file.as_os_str(), copy.as_os_str()])?;
            let after = written(&device)?;
            if before == after && after.in_flight == 0 {
                self.cuts += 1;
                return Ok(tries);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("{device} does not come to rest")))
    }

    /// Goes on with the last copy in place of the image. Whoever had files open must be gone.
    ///
    /// # Errors
    /// What a program said.
    pub fn restore(&mut self) -> io::Result<()> {
        self.unmount()?;
        fs::remove_file(&self.file)?;
        self.file = self.folder.join(format!("{}.img", self.cuts));
        self.mount()
    }

    fn mount(&self) -> io::Result<()> {
        // Without background work of ext4's own, which would go on for minutes and never let the device rest.
        let options = OsStr::new("loop,noatime,noinit_itable");
        run(
            "mount",
            [
                OsStr::new("-t"),
                OsStr::new("ext4"),
                OsStr::new("-o"),
                options,
                self.file.as_os_str(),
                self.mounted_at.as_os_str(),
            ],
        )
        .map(drop)
    }

    fn unmount(&self) -> io::Result<()> {
        let mut tried = run("umount", [&self.mounted_at]);
        for _ in 0..100 {
            if tried.is_ok() {
                break;
            }
            // The last process that used it may be about to end.
            std::thread::sleep(Duration::from_millis(20));
            tried = run("umount", [&self.mounted_at]);
        }
        tried.map(drop)
    }

    /// The loop device, such as `loop3`.
    fn device(&self) -> io::Result<String> {
        let found = run(
            "losetup",
            [
                OsStr::new("--noheadings"),
                OsStr::new("--output"),
                OsStr::new("NAME"),
                OsStr::new("--associated"),
                self.file.as_os_str(),
            ],
        )?;
        let name = found.trim().strip_prefix("/dev/").unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(io::Error::other(format!("{} has not one loop device: {found:?}", self.file.display())));
        }
        Ok(name.to_owned())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{error}");
        }
        for number in [self.cuts, self.cuts + 1] {
            let _ = fs::remove_file(self.folder.join(format!("{number}.img")));
        }
    }
}

/// What a block device has done: `Documentation/block/stat.rst` of the kernel.
#[derive(PartialEq, Eq)]
struct Written {
    writes: u64,
    sectors: u64,
    in_flight: u64,
    discards: u64,
    flushes: u64,
}

fn written(device: &str) -> io::Result<Written> {
    let text = fs::read_to_string(format!("/sys/block/{device}/stat"))?;
    let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let field = |number: usize| fields.get(number).copied().unwrap_or_default();
    if fields.len() < 11 {
        return Err(io::Error::other(format!("the figures of {device} are not understood: {text}")));
    }
    Ok(Written { writes: field(4), sectors: field(6), in_flight: field(8), discards: field(11), flushes: field(15) })
}

/// Runs a program to its end; what it printed.
fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> io::Result<String> {
    let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let output = Command::new(program).args(&arguments).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(io::Error::other(format!("{program} {arguments:?}: {}", text(&output.stderr)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_holds_what_was_synced_and_not_what_was_not() {
        if let Err(missing) = super::super::Via::Ext4.usable() {
            eprintln!("left out: {missing}");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().join("mounted");
        fs::create_dir(&at).expect("made");
        let mut image = Image::make(directory.path(), &at).expect("made");
        fs::write(at.join("synced"), vec![7; 3_000_000]).expect("written");
        for path in [at.join("synced"), at.clone()] {
            File::open(path).expect("there").sync_all().expect("synced");
        }
        fs::write(at.join("unsynced"), vec![7; 3_000_000]).expect("written");
        image.cut().expect("copied");
        image.restore().expect("mounted");
        assert_eq!(fs::read(at.join("synced")).expect("there"), vec![7; 3_000_000]);
        assert_ne!(fs::read(at.join("unsynced")).unwrap_or_default(), vec![7; 3_000_000]);
    }
}
