//! `roadstead-trials`: the trials by hand and in CI. See `docs/reliability.md`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use roadstead_trials::{
    audit,
    engines::{self, Below},
    growth, halt,
    kill::{self, Plan},
    mix,
    power::{self, Via, lossy::Control},
    region::{Engine, Region},
};

/// Breaks a running region under load and looks whether anything was lost. Exits with 1 when anything was found.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Subcommand)]
enum Trial {
    /// kill -9 of a node at any moment.
    Kill(Common),
    /// SIGSTOP of a node in the middle of uploads, which another takes over before it wakes up.
    Halt(Common),
    /// kill -9 of PostgreSQL.
    Postgres(Common),
    /// kill -9 of SeaweedFS.
    S3(Common),
    /// Nothing but time: the realistic mix, and what grows meanwhile.
    Growth(Growth),
    /// A power cut: what was not synced is gone.
    Power(Power),
    /// Started by the others: looks at a data directory.
    #[command(hide = true)]
    Audit {
        /// The directory.
        data: PathBuf,
    },
}

#[derive(Args)]
struct Growth {
    /// The program under trial.
    #[arg(long, env = "ROADSTEAD_BIN")]
    binary: PathBuf,
    /// On what the region stands; without it one after the other.
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// How long, on each.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Makes the same choices as a trial that printed this seed; threads and servers still differ in time.
    #[arg(long)]
    seed: Option<u64>,
    /// How many times smaller blobs are than in the mix as it is written, where they have up to 1 GiB.
    #[arg(long, default_value_t = 16)]
    scale: u64,
    /// MiB that are stored in the steady state.
    #[arg(long, default_value_t = 2048)]
    stock_mib: u64,
    /// Data directory for the engine `directory`; without it one in the directory for temporary files.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write the result into the table of docs/reliability.md. Run from the project's root.
    #[arg(long)]
    record: bool,
}

impl Growth {
    fn plan(&self) -> growth::Plan {
        let seed = self.seed.unwrap_or_else(rand::random);
        println!("seed {seed}");
        let Self { minutes, clients, scale, stock_mib, record, .. } = *self;
        growth::Plan { minutes, mix: mix::Options { clients, seed, scale, stock_mib }, record }
    }
}

#[derive(Args)]
struct Power {
    /// How it is cut; without it one way after the other.
    #[arg(long, value_enum)]
    via: Option<Via>,
    /// Makes the file system of `fuse` break its word; the trial succeeds if it notices that.
    #[arg(long, value_enum, default_value = "none")]
    control: Control,
    #[command(flatten)]
    common: Common,
}

impl Power {
    /// True: nothing was found.
    fn run(&self) -> bool {
        let ways = self.via.map_or_else(|| vec![Via::Fuse, Via::Ext4], |via| vec![via]);
        let run = |via| power::run(via, self.control, &self.common.binary, &self.common.plan());
        let fine =
            |outcome: std::io::Result<bool>| outcome.inspect_err(|error| println!("FAILED: {error}")).unwrap_or(false);
        ways.into_iter().map(run).map(fine).filter(|fine| !fine).count() == 0
    }
}

#[derive(Args)]
struct Common {
    /// The program under trial.
    #[arg(long, env = "ROADSTEAD_BIN")]
    binary: PathBuf,
    /// On what the region stands; without it one after the other.
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// How often.
    #[arg(long, default_value_t = 30)]
    times: u64,
    /// Makes the same choices as a trial that printed this seed; threads and servers still differ in time.
    #[arg(long)]
    seed: Option<u64>,
    /// After so many times everything is compared.
    #[arg(long, default_value_t = 15)]
    compare_each: u64,
    /// Threads that push.
    #[arg(long, default_value_t = 6)]
    threads: usize,
    /// Data directory for the engine `directory`; without it one in the directory for temporary files.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write the result into the table of docs/reliability.md. Run from the project's root.
    #[arg(long)]
    record: bool,
}

impl Common {
    fn plan(&self) -> Plan {
        let seed = self.seed.unwrap_or_else(rand::random);
        println!("seed {seed}");
        let Self { times, compare_each, threads, record, .. } = *self;
        Plan { times, seed, compare_each, threads, record }
    }

    /// Runs it on each engine, also after one that failed. True: nothing was found.
    fn each(&self, engines: &[Engine], run: impl Fn(Region, &Plan) -> bool) -> bool {
        let mut fine = true;
        for region in engines.iter().filter_map(|engine| self.region(*engine)) {
            fine &= run(region, &self.plan());
        }
        fine
    }

    fn engines(&self) -> Vec<Engine> {
        engines_of(self.engine)
    }

    fn region(&self, engine: Engine) -> Option<Region> {
        region(&self.binary, self.data.as_deref(), engine)
    }
}

fn engines_of(chosen: Option<Engine>) -> Vec<Engine> {
    chosen.map_or_else(|| vec![Engine::Directory, Engine::Cluster], |engine| vec![engine])
}

/// `None`: this machine lacks what it stands on.
fn region(binary: &Path, data: Option<&Path>, engine: Engine) -> Option<Region> {
    match engine {
        Engine::Directory => {
            let data = data.map_or_else(|| roadstead_testkit::process::directory("data"), Path::to_owned);
            Some(Region::directory(binary, &data))
        }
        Engine::Cluster => Region::cluster(binary, 2),
    }
}

fn main() -> ExitCode {
    let fine = match Arguments::parse().trial {
        Trial::Kill(common) => common.each(&common.engines(), |region, plan| kill::run(region, &common.binary, plan)),
        Trial::Halt(common) => common.each(&[Engine::Cluster], |region, plan| halt::run(region, &common.binary, plan)),
        Trial::Postgres(common) => {
            common.each(&[Engine::Cluster], |region, plan| engines::run(region, &common.binary, plan, Below::Postgres))
        }
        Trial::S3(common) => {
            common.each(&[Engine::Cluster], |region, plan| engines::run(region, &common.binary, plan, Below::S3))
        }
        Trial::Growth(growth) => {
            let mut fine = true;
            for engine in engines_of(growth.engine) {
                let region = region(&growth.binary, growth.data.as_deref(), engine);
                fine &= region.is_none_or(|region| growth::run(region, &growth.binary, &growth.plan()));
            }
            fine
        }
        Trial::Power(power) => power.run(),
        Trial::Audit { data } => {
            audit::print(&data);
            true
        }
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
