//! A disk that is small enough to be full: a tmpfs, mounted for one test.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{engines::left_out, process};

/// A small disk. It is unmounted when this is dropped, and also when the test process ends in any other way.
pub struct SmallDisk {
    path: PathBuf,
    unmounter: Child,
}

impl SmallDisk {
    /// Mounts one with the options of tmpfs, such as `size=32m` or `nr_inodes=100`. `None` where this machine does not
    /// let us mount, which is said in one line, or is a failure where everything is required.
    ///
    /// # Panics
    /// When there is no `sh`.
    pub fn mount(options: &str) -> Option<Self> {
        let path = process::directory("disk");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "roadstead-test"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            left_out("the right to mount a tmpfs");
            return None;
        }
        // Its standard input ends with this process.
        let unmounter = Command::new("sh")
            .args(["-c", r#"read -r _; umount -l "$1""#, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Some(Self { path, unmounter })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are free.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.path).expect("a mounted disk");
        disk.f_bavail * disk.f_frsize
    }

    /// Makes it larger: `size=64m`.
    ///
    /// # Panics
    /// When that is refused.
    pub fn grow(&self, options: &str) {
        self.remount(options);
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Panics
    /// When that is refused, as while a file on it is open for writing.
    pub fn set_read_only(&self, yes: bool) {
        self.remount(if yes { "ro" } else { "rw" });
    }

    /// Fills it with a file, to the last byte.
    ///
    /// # Panics
    /// When something else than a full disk is in the way.
    pub fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).expect("a file");
        let bytes = vec![0x5a; 64 * 1024];
        for size in [64 * 1024, 4096, 512, 1] {
            while file.write_all(&bytes[..size]).is_ok() {}
        }
        assert!(self.free() < 4096, "{} bytes are still free", self.free());
    }

    /// Fills it with empty files until there can be no more.
    ///
    /// # Panics
    /// When the directory for them can't be made.
    pub fn fill_inodes(&self) {
        let folder = self.filler();
        fs::create_dir(&folder).expect("a directory");
        let made = |number: u32| fs::File::create(folder.join(number.to_string()));
        assert!((0..1_000_000).any(|number| made(number).is_err()), "this disk has no end of files");
    }

    /// Takes away what it was filled with.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn make_room(&self) {
        let filler = self.filler();
        let removed = if filler.is_dir() { fs::remove_dir_all(&filler) } else { fs::remove_file(&filler) };
        removed.expect("a disk that was filled");
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.path).status();
        assert!(status.is_ok_and(|status| status.success()), "the disk can't be mounted again with {options}");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.unmounter.stdin.take());
        let _ = self.unmounter.wait();
    }
}
