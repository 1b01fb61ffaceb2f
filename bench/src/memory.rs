//! Resident memory beside docker-registry's: at rest, and at most while many push at once.

use std::{thread, time::Duration};

use tokio::runtime::Runtime;

use crate::{
    contestants::{Contestant, Ground, Name, REPOSITORY},
    load::{self, Push, Work},
    table::{Check, Must},
};

const PUSHES: usize = 100;
/// Whoever has something to do after work has done it by then.
const REST: Duration = Duration::from_secs(20);

/// What the disk must have free for pushes of `size` bytes: theirs, and a GiB for all else.
pub(crate) fn disk_bytes(size: usize) -> u64 {
    (PUSHES * size) as u64 + (1 << 30)
}

/// `size`: bytes of each of the [`PUSHES`] blobs that are pushed at once.
pub(crate) fn measure(runtime: &Runtime, ground: &Ground<'_>, size: usize) -> Vec<Check> {
    let [ours, theirs] = [Name::Roadstead, Name::Dr].map(|name| {
        let on = Contestant::start(name, false, ground, None);
        let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let push = |size| Work::Push(Push::new(&on.head, &uploads, size));
        let run = |size, times| {
            let done = runtime.block_on(load::run(&on.target, &push(size), times, Duration::ZERO));
            done.unwrap_or_else(|error| panic!("{}, pushes at once: {error}", name.text()));
        };
        // At rest is who has worked a little, a while ago.
        run(1 << 10, 1);
        thread::sleep(REST);
        let idle = on.memory("VmRSS");
        run(size, PUSHES);
        (idle, on.memory("VmHWM"))
    });
    let check = |what, ours: u64, theirs: u64, most| {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let ratio = ours as f64 / theirs as f64;
        Check { what, ours: mib(ours), beside: format!("DR: {}", mib(theirs)), ratio, must: Some(Must::AtMost(most)) }
    };
    vec![
        check("resident memory at rest".to_owned(), ours.0, theirs.0, 0.8),
        check(format!("most resident memory, {PUSHES} pushes of {} MiB at once", size >> 20), ours.1, theirs.1, 1.0),
    ]
}
