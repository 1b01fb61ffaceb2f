//! The engines below a cluster are killed and started again while clients push: PostgreSQL, and the object store.

use std::path::Path;

use crate::{
    kill::{PROMISE, Plan, Trial},
    ledger::{ACKNOWLEDGED, Ledger},
    region::Region,
    report::{self, Row},
};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// All processes of PostgreSQL, which runs with `fsync` on.
    Postgres,
    /// SeaweedFS.
    S3,
}

/// Kills it `plan.times` times. True: nothing was found.
pub fn run(mut region: Region, binary: &Path, plan: &Plan, below: Below) -> bool {
    let ledger = Ledger::new();
    let Some(mut trial) = Trial::begin(&mut region, &ledger, plan) else { return false };
    let mut times = 0;
    while times < plan.times && ledger.findings().is_empty() {
        trial.wait_for_load();
        trial.rest(1000);
        let outside = region.outside();
        match below {
            Below::Postgres => outside.postgres.kill(),
            Below::S3 => outside.s3.kill(),
        }
        trial.rest(1000);
        match below {
            Below::Postgres => outside.postgres.start_again(),
            Below::S3 => outside.s3.start_again(),
        }
        times += 1;
        if times % plan.compare_each == 0 && times < plan.times {
            trial.compare(&mut region);
            println!("{times} kills, {} changes acknowledged", ledger.counted(ACKNOWLEDGED));
        }
    }
    trial.end(&mut region);
    let (fault, how) = match below {
        Below::Postgres => (
            "PostgreSQL killed and started again",
            "`kill -9` of all its processes, up to a second of pause, two nodes go on pushing; `fsync` on",
        ),
        Below::S3 => (
            "the object store killed and started again",
            "`kill -9` of SeaweedFS, up to a second of pause, two nodes go on pushing. SeaweedFS does not sync what it acknowledges; a killed process loses nothing of it all the same, a power cut may",
        ),
    };
    let row = Row {
        fault: fault.to_owned(),
        engine: region.engine(),
        how: how.to_owned(),
        promised: format!("pushes meanwhile hear 5xx and are right when they are repeated; {PROMISE}"),
        times,
    };
    report::report(&row, &ledger, binary, plan.record)
}
