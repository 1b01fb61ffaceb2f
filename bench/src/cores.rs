//! Which core does what: the servers under test have one, the client and all else the other. On a machine with one core they share it,
//! and the ratios say less.

use rustix::thread::{CpuSet, sched_setaffinity};

/// Of the servers under test.
pub(crate) const SERVERS: usize = 0;
/// Of the client.
pub(crate) const CLIENT: usize = 1;

/// Keeps this thread, and what it starts from now on, on the core of the client.
pub(crate) fn take_client_core() {
    take(CLIENT);
}

/// Starts a server on the core of the servers.
pub(crate) fn on_server_core<T>(start: impl FnOnce() -> T) -> T {
    on_core(SERVERS, start)
}

/// Starts something on a core.
pub(crate) fn on_core<T>(core: usize, start: impl FnOnce() -> T) -> T {
    take(core);
    let started = start();
    take(CLIENT);
    started
}

fn take(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    // Not everywhere allowed, and there may be no such core: then the kernel decides.
    let _ = sched_setaffinity(None, &cores);
}
