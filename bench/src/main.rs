//! Roadstead beside other registries on the same machine: the same requests to each, in shuffled rounds, as ratios from one run. Absolute
//! figures say little on machines like these; what two servers do within the same seconds can be compared.
//!
//! One server at a time has one core for itself and the client the other (see [`cores`]). See docs/performance.md.

mod bare_loop;
mod certificate;
mod contestants;
mod cores;
mod large;
mod load;
mod memory;
mod mix;
mod operations;
mod pages;
mod rights;
mod scaled_out;
mod table;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use rand::seq::SliceRandom as _;
use roadstead_testkit::{content::image, process::directory, random_bytes};
use tokio::runtime::{self, Runtime};

use crate::{
    certificate::Certificate,
    contestants::{Content, Contestant, Ground, Name, Programs},
    operations::Operation,
    table::{Measured, Sample},
};

/// Measures Roadstead beside other registries.
#[derive(Debug, Parser)]
#[command(name = "roadstead-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Option<What>,
    /// The release build of the program.
    #[arg(long, env = "ROADSTEAD_BIN", default_value = "target/release/roadstead")]
    binary: PathBuf,
    /// Rounds: in each every server does every operation once. 10, or 1 with --guard.
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of one sample. 1, or 0.7 with --guard.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only operations whose name has this in it; `mix`, `large`, `memory`, `rights` and `scaled-out` are names too.
    #[arg(long, default_value = "")]
    only: String,
    /// Only operations on so many connections.
    #[arg(long)]
    connections: Option<usize>,
    /// Only these servers, for a look at one of them: `--server Roadstead`.
    #[arg(long)]
    server: Vec<String>,
    /// Another build of the program, beside which this one is measured too: `--before /tmp/roadstead`.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Write docs/performance.md.
    #[arg(long)]
    record: bool,
    /// A short form, which fails when a ratio is under half of what it must be in two tries.
    #[arg(long)]
    guard: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The limit for pushes, as a server.
    BareLoop {
        /// Where it listens.
        #[arg(long)]
        port: u16,
        /// Where it writes.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(What::BareLoop { port, folder }) = &arguments.command {
        return match bare_loop::serve(*port, folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the loop: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let binary = std::fs::canonicalize(&arguments.binary)
        .unwrap_or_else(|error| panic!("{}: {error}: build it with cargo build --release", arguments.binary.display()));
    cores::take_client_core();
    let bench = Bench {
        programs: Programs::find(binary, arguments.before.clone()),
        certificate: Certificate::new(directory("tls")),
        content: Content { image: image(10), large: random_bytes(100 << 20) },
        runtime: runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        scale: Scale::of(&arguments),
        arguments,
    };
    bench.run()
}

/// How much is done.
struct Scale {
    rounds: u32,
    seconds: f64,
    /// Rows of each kind in the large database.
    rows: u32,
    /// Bytes of each of the blobs that are pushed at once.
    pushed: usize,
    mix: Duration,
}

impl Scale {
    const FULL: Self =
        Self { rounds: 10, seconds: 1.0, rows: 1_000_000, pushed: 256 << 20, mix: Duration::from_secs(30) };
    const SHORT: Self = Self { rounds: 1, seconds: 0.7, rows: 100_000, pushed: 8 << 20, mix: Duration::from_secs(5) };

    fn of(arguments: &Arguments) -> Self {
        let scale = if arguments.guard { Self::SHORT } else { Self::FULL };
        let Self { rounds, seconds, .. } = scale;
        Self { rounds: arguments.rounds.unwrap_or(rounds), seconds: arguments.seconds.unwrap_or(seconds), ..scale }
    }
}

struct Bench {
    programs: Programs,
    certificate: Certificate,
    content: Content,
    runtime: Runtime,
    scale: Scale,
    arguments: Arguments,
}

impl Bench {
    fn run(&self) -> ExitCode {
        let missing = |name: &Name| *name != Name::Before && !self.programs.has(*name);
        for name in contestants::ALL.into_iter().filter(missing) {
            println!("{} is not here: bench/install", name.text());
        }
        if let Err(words) = self.has_room() {
            println!("{words}");
            return ExitCode::FAILURE;
        }
        let measured = self.measure(|_| true);
        if self.arguments.record {
            table::record(&measured, &self.how());
        }
        if !self.arguments.guard {
            return ExitCode::SUCCESS;
        }
        let slips = measured.slips();
        if slips.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("under half of what it must be, so once more: {slips:?}");
        let again = self.measure(|what| slips.contains_key(what));
        let slips = again.slips();
        if slips.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("under half of what it must be in two tries: {slips:?}");
        ExitCode::FAILURE
    }

    /// What is measured last takes the most of the disk: better to know before the first.
    fn has_room(&self) -> Result<(), String> {
        let Ok(disk) = rustix::fs::statvfs(std::env::temp_dir()) else { return Ok(()) };
        let (free, wanted) = (disk.f_bavail * disk.f_frsize, memory::disk_bytes(self.scale.pushed));
        if free >= wanted || !"memory".contains(&self.arguments.only) {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        Err(format!(
            "{} has {:.1} GiB free, and pushes at once take {:.1}: make room, or take `--only` something else",
            std::env::temp_dir().display(),
            gib(free),
            gib(wanted)
        ))
    }

    /// What is wanted by these names and by the arguments.
    fn measure(&self, wanted: impl Fn(&str) -> bool) -> Measured {
        let wanted = |what: &str| what.contains(&self.arguments.only) && wanted(what);
        let mut measured = Measured::default();
        self.operations(&mut measured, |operation| {
            let connections = self.arguments.connections;
            wanted(operation.what) && connections.is_none_or(|only| only == operation.connections)
        });
        println!("\n{}", table::text(&measured));
        let (runtime, ground) = (&self.runtime, &self.ground());
        let seconds = Duration::from_secs_f64(self.scale.seconds);
        if !self.programs.has(Name::Dr) {
            return measured;
        }
        for check in table::CHECKS.into_iter().filter(|check| wanted(check)) {
            println!("{check}");
            let checks = match check {
                "mix" => mix::measure(runtime, ground, self.scale.mix),
                "large" => large::measure(runtime, ground, self.scale.rows, seconds),
                "memory" => memory::measure(runtime, ground, self.scale.pushed),
                "rights" => rights::measure(runtime, ground, &self.content, self.scale.rounds, seconds),
                _ => scaled_out::measure(runtime, ground, &self.content, self.scale.rounds, seconds).unwrap_or_else(
                    || {
                        println!("PostgreSQL or SeaweedFS is not here: e2e/install");
                        Vec::new()
                    },
                ),
            };
            println!("{}", table::checks_text(check, &checks));
            measured.checks.insert(check, checks);
        }
        measured
    }

    fn operations(&self, measured: &mut Measured, wanted: impl Fn(&Operation) -> bool) {
        let operations: Vec<_> = operations::ALL.iter().enumerate().filter(|(_, it)| wanted(it)).collect();
        let stands = |name, tls| operations.iter().any(|(_, it)| it.tls == tls && it.is_for(name));
        let only = &self.arguments.server;
        let names = contestants::ALL.into_iter().filter(|name| self.programs.has(*name));
        let names = names.filter(|name| only.is_empty() || only.iter().any(|only| only == name.text()));
        let both = names.flat_map(|name| [(name, false), (name, true)]).filter(|(name, tls)| stands(*name, *tls));
        let standing: Vec<_> =
            both.map(|(name, tls)| (tls, Contestant::start(name, tls, &self.ground(), Some(&self.content)))).collect();
        let mut turns: Vec<_> = operations
            .iter()
            .flat_map(|(number, operation)| {
                let those = standing.iter().filter(|(tls, it)| *tls == operation.tls && operation.is_for(it.name));
                those.map(|(_, contestant)| (*number, *operation, contestant))
            })
            .collect();
        let mut left = Vec::new();
        for round in 1..=self.scale.rounds {
            turns.shuffle(&mut rand::rng());
            for (number, operation, on) in &turns {
                let fresh = operation
                    .is_on_fresh_ground()
                    .then(|| Contestant::start(on.name, operation.tls, &self.ground(), None));
                left.extend(fresh.iter().filter(|_| operation.leaves_many_files()).map(Contestant::folder));
                measured.add(*number, on.name, self.sample(operation, fresh.as_ref().unwrap_or(on)));
            }
            if !turns.is_empty() {
                println!("round {round} of {}", self.scale.rounds);
            }
        }
    }

    fn sample(&self, operation: &Operation, on: &Contestant) -> Sample {
        let work = operation.work(on, &self.content);
        let run = |seconds| {
            let time = Duration::from_secs_f64(seconds);
            let done = self.runtime.block_on(load::run(&on.target, &work, operation.connections, time));
            done.unwrap_or_else(|error| panic!("{}, {}: {error}", on.name.text(), operation.what))
        };
        run(self.scale.seconds / 10.0);
        let before = on.cpu();
        let done = run(self.scale.seconds);
        Sample::new(done, on.cpu().saturating_sub(before), operation.unit)
    }

    fn ground(&self) -> Ground<'_> {
        Ground { programs: &self.programs, certificate: &self.certificate }
    }

    /// When, where, with what.
    fn how(&self) -> String {
        let versions: Vec<_> = contestants::ALL
            .into_iter()
            .filter_map(|name| Some(format!("{}: {}", name.text(), self.programs.version(name)?)))
            .collect();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        // This process itself may use one of them only.
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        format!(
            "{} rounds of {} s; {cores} cores, {}. {}.",
            self.scale.rounds,
            self.scale.seconds,
            model.map_or("of a kind that is not told", |(_, model)| model),
            versions.join("; ")
        )
    }
}
