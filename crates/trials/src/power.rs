//! Power cuts, not only the end of a process: what the server had written and not made durable is gone.
//!
//! Two disks, which can do different things: [`lossy`] knows exactly what was synced and is as harsh as POSIX allows;
//! [`image`] is what people really use, ext4 with its journal, cut at the loop device below it.

mod disk;
pub mod image;
pub mod lossy;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::RngExt;
use roadstead_testkit::process;
use rustix::process::Signal;

use crate::{
    audit,
    content::random,
    kill::{PROMISE, Plan, Trial},
    ledger::{ACKNOWLEDGED, Ledger},
    region::Region,
    report::{self, Row},
    talk::Talk,
};

use self::{
    image::Image,
    lossy::{Control, Lossy},
};

/// Of so many cuts one more is made while a server starts for the first time.
const FIRST_STARTS: u64 = 5;

/// The right to mount, as a bit of the rights of a process (`capabilities(7)`).
const CAP_SYS_ADMIN: u32 = 21;

/// How the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// A file system of our own, which forgets what was not synced.
    Fuse,
    /// ext4 in an image that is copied while the server is halted.
    Ext4,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fuse => "a file system that forgets what was not synced",
            Self::Ext4 => "ext4",
        })
    }
}

impl Via {
    /// Whether this machine has what it takes.
    ///
    /// # Errors
    /// What is missing.
    pub fn usable(self) -> Result<(), String> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rights = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        if rights.unwrap_or_default() >> CAP_SYS_ADMIN & 1 == 0 {
            return Err("this process may not mount anything".to_owned());
        }
        match self {
            Self::Fuse => lossy::usable(),
            Self::Ext4 => image::usable(),
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Fuse => {
                "SQLite and blobs lie on a FUSE file system of our own; at the cut each file keeps all, nothing, torn pages or zeros of what was not \
                 synced, and any part of the unsynced creations, renames and removals of a directory has happened"
            }
            Self::Ext4 => {
                "SQLite and blobs lie on ext4 over a loop device; the server is halted, the device's file copied, the server killed, the \
                 copy mounted (its journal is replayed) and served"
            }
        }
    }
}

enum Disk {
    Lossy(Lossy),
    Image(Image),
}

impl Disk {
    /// An empty one, and where it is mounted.
    fn make(via: Via, seed: u64, control: Control) -> io::Result<(Self, PathBuf)> {
        let folder = process::directory("power");
        let at = folder.join("mounted");
        fs::create_dir(&at)?;
        let disk = match via {
            Via::Fuse => Self::Lossy(Lossy::mount(&at, seed, control)?),
            Via::Ext4 => Self::Image(Image::make(&folder, &at)?),
        };
        Ok((disk, at))
    }

    /// Cuts the power of a region of one node that runs, and gives it back to the disk. What the cut left, in words.
    fn cut(&mut self, region: &mut Region, ledger: &Ledger) -> io::Result<String> {
        ledger.count("power cuts", 1);
        match self {
            Self::Lossy(lossy) => {
                let remains = lossy.cut(|| region.node(0).signal(Signal::KILL));
                region.kill(0);
                lossy.restore()?;
                let (changes, happened) = remains.changes;
                for (what, count) in ["lost", "kept", "torn", "grown with zeros"].iter().zip(remains.unsynced) {
                    ledger.count(&format!("unsynced files, {what}"), count);
                }
                ledger.count("unsynced changes of directories, happened", happened);
                ledger.count("unsynced changes of directories, lost", changes - happened);
                Ok(remains.to_string())
            }
            Self::Image(image) => {
                region.freeze(0);
                let copies = image.cut()?;
                region.kill(0);
                image.restore()?;
                Ok(format!("copied {copies} times until the device was at rest"))
            }
        }
    }
}

/// Cuts the power again and again. True: nothing was found, or with a control: something was; or the machine lacks what it
/// takes, which is said in one line.
///
/// # Errors
/// Of the disk, which is no fault of the server.
pub fn run(via: Via, control: Control, binary: &Path, plan: &Plan) -> io::Result<bool> {
    if let Err(missing) = via.usable() {
        println!("left out, the power can't be cut here via {via}: {missing}");
        return Ok(true);
    }
    let ledger = Ledger::new();
    if control == Control::None {
        cut_first_starts(via, binary, plan, &ledger)?;
    }
    let (mut disk, at) = Disk::make(via, plan.seed, control)?;
    // Made by the server itself, so that the way to it is its own affair too.
    let mut region = Region::directory(binary, &at.join("service/data"));
    let Some(mut trial) = Trial::begin(&mut region, &ledger, plan) else { return Ok(false) };
    let mut cuts = 0;
    while cuts < plan.times && ledger.findings().is_empty() {
        // Now and then the power goes while the server starts.
        if trial.random.random_bool(0.85) {
            trial.wait_for_load();
            trial.rest(400);
        } else {
            trial.rest(120);
        }
        let left = disk.cut(&mut region, &ledger)?;
        cuts += 1;
        region.launch(0);
        if cuts % plan.compare_each == 0 {
            if let Err(said) = region.wait_until_up(0) {
                ledger.find(said);
                break;
            }
            trial.compare(&mut region);
            println!("{cuts} cuts, {} changes acknowledged; the last left: {left}", ledger.counted(ACKNOWLEDGED));
        }
    }
    match region.wait_until_up(0) {
        Ok(()) if control == Control::None => trial.end(&mut region),
        Ok(()) => {}
        Err(said) => ledger.find(said),
    }
    drop((trial, region));
    if control != Control::None {
        let noticed = !ledger.findings().is_empty();
        println!(
            "{control:?}: after {cuts} cuts {}",
            if noticed { "a loss was noticed, as it must" } else { "NO LOSS WAS NOTICED" }
        );
        return Ok(noticed);
    }
    let row = Row {
        fault: format!("power cut, {via}"),
        engine: crate::region::Engine::Directory,
        how: format!("{} threads push; {}", plan.threads, via.how()),
        promised: format!("{PROMISE}; the database opens"),
        times: cuts,
    };
    Ok(report::report(&row, &ledger, binary, plan.record))
}

/// Cuts the power while a server starts for the first time, each time on a disk of its own: the next start must do.
fn cut_first_starts(via: Via, binary: &Path, plan: &Plan, ledger: &Ledger) -> io::Result<()> {
    let mut random = random(plan.seed);
    for _ in 0..plan.times.div_ceil(FIRST_STARTS) {
        let (mut disk, at) = Disk::make(via, random.random(), Control::None)?;
        let mut region = Region::directory(binary, &at.join("service/data"));
        region.launch(0);
        // Mostly while it makes its files, which it has done when it listens.
        match random.random_bool(0.8) {
            true => std::thread::sleep(Duration::from_millis(random.random_range(0..200))),
            false => drop(region.wait_until_up(0)),
        }
        disk.cut(&mut region, ledger)?;
        ledger.count("power cuts of a first start", 1);
        region.launch(0);
        match region.wait_until_up(0) {
            Ok(()) if Talk::new(region.addresses(), ledger.clone()).is_answered(&mut random) => {
                audit::audit(&region, ledger);
            }
            Ok(()) => ledger.find("the key of the first start is not known after a cut"),
            Err(said) => ledger.find(said),
        }
        drop(region);
    }
    Ok(())
}
