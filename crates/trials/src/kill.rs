//! `kill -9` of a node at any moment, again and again, while clients push without pause.

use std::{path::Path, time::Duration};

use rand::RngExt;

use crate::{
    audit,
    content::{Random, random},
    ledger::{ACKNOWLEDGED, Ledger},
    load::{Load, Options},
    region::{Engine, Region},
    report::{self, Row},
    talk::Talk,
    verify,
};

/// How a trial is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often.
    pub times: u64,
    /// Of this all choices come.
    pub seed: u64,
    /// After so many times everything is compared.
    pub compare_each: u64,
    /// Threads that push.
    pub threads: usize,
    /// Keep the row in the table.
    pub record: bool,
}

/// A node that was killed holds its uploads for so long; with some time to spare.
pub const AFTER_LEASE: Duration = Duration::from_secs(32);

/// How long a node is waited for that does not serve the load, in steps of [`STEP`].
const STEPS: u32 = 12_000;
const STEP: Duration = Duration::from_millis(5);

/// Kills nodes. True: nothing was found.
pub fn run(mut region: Region, binary: &Path, plan: &Plan) -> bool {
    let ledger = Ledger::new();
    let trial = Trial::begin(&mut region, &ledger, plan);
    let Some(mut trial) = trial else { return false };
    let mut kills = 0;
    while kills < plan.times && ledger.findings().is_empty() {
        // Now and then the next kill comes before anything was served: the start itself is killed.
        if trial.random.random_bool(0.85) {
            trial.wait_for_load();
            trial.rest(300);
        } else {
            trial.rest(120);
        }
        let node = trial.random.random_range(0..region.nodes());
        let both = region.nodes() > 1 && trial.random.random_bool(0.1);
        for node in (0..region.nodes()).filter(|other| both || *other == node) {
            region.kill(node);
            kills += 1;
            region.launch(node);
        }
        trial.rest(60);
        if trial.random.random_bool(0.1) {
            region.kill(node);
            kills += 1;
            ledger.count("kills of a start", 1);
            region.launch(node);
        }
        if trial.random.random_bool(0.5) {
            trial.wait_until_up(&mut region);
        }
        if kills / plan.compare_each > trial.compared {
            trial.compared = kills / plan.compare_each;
            trial.compare(&mut region);
            println!("{kills} kills, {} changes acknowledged", ledger.counted(ACKNOWLEDGED));
        }
    }
    trial.end(&mut region);
    let row = Row {
        fault: "`kill -9` of a node".to_owned(),
        engine: region.engine(),
        how: match region.engine() {
            Engine::Directory => format!(
                "{} threads push; the server is killed up to 0.3 s after it serves them, one time in seven while it starts",
                plan.threads
            ),
            Engine::Cluster => format!(
                "{} threads push through two nodes and go on with uploads on the other one; one of them (sometimes both) is killed",
                plan.threads
            ),
        },
        promised: PROMISE.to_owned(),
        times: kills,
    };
    report::report(&row, &ledger, binary, plan.record)
}

/// What every trial of this kind promises.
pub const PROMISE: &str = "what got its 201 or 202 is there bit for bit; what got no answer is there wholly or not at all; no row lacks its object, no file or object is left over";

/// What trials under load share: the load, and the comparison while it rests.
pub struct Trial {
    /// All choices of the trial.
    pub random: Random,
    /// How often it has been compared.
    pub compared: u64,
    load: Option<Load>,
    talk: Talk,
    ledger: Ledger,
}

impl Trial {
    /// Starts region and load. `None`, with a finding printed: the region does not start.
    pub fn begin(region: &mut Region, ledger: &Ledger, plan: &Plan) -> Option<Self> {
        if let Err(said) = region.start() {
            println!("FAILED: {said}");
            return None;
        }
        let resume_after = if region.engine() == Engine::Cluster { AFTER_LEASE } else { Duration::ZERO };
        let options = Options { threads: plan.threads, seed: plan.seed, resume_after, ..Options::default() };
        Some(Self {
            random: random(plan.seed),
            compared: 0,
            load: Some(Load::start(&region.addresses(), ledger, &options)),
            talk: Talk::new(region.addresses(), ledger.clone()),
            ledger: ledger.clone(),
        })
    }

    /// Waits until the server has acknowledged something anew.
    pub fn wait_for_load(&self) {
        let before = self.ledger.counted(ACKNOWLEDGED);
        for _ in 0..STEPS {
            if self.ledger.counted(ACKNOWLEDGED) > before {
                return;
            }
            std::thread::sleep(STEP);
        }
        self.ledger.find("nothing was acknowledged for a minute, although the region runs");
    }

    /// Goes on at a random moment of the next `most` milliseconds.
    pub fn rest(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(0..most)));
    }

    /// Waits until all nodes listen.
    pub fn wait_until_up(&self, region: &mut Region) {
        for node in 0..region.nodes() {
            if let Err(said) = region.wait_until_up(node) {
                self.ledger.find(said);
            }
        }
    }

    /// Lets the load rest, compares everything, takes away what got enough, and lets the load go on.
    pub fn compare(&mut self, region: &mut Region) {
        self.wait_until_up(region);
        let Some(load) = &self.load else { return };
        load.pause();
        let seed = self.random.random();
        verify::everything(&self.talk, seed);
        audit::audit(region, &self.ledger);
        verify::retire(&self.talk, seed);
        load.resume();
    }

    /// Ends the load, compares everything once more, and ends the region in an orderly way.
    pub fn end(&mut self, region: &mut Region) {
        if let Some(load) = self.load.take() {
            self.wait_until_up(region);
            load.pause();
            load.stop();
        }
        verify::everything(&self.talk, 0);
        audit::audit(region, &self.ledger);
        if !self.ledger.findings().is_empty() {
            eprintln!("the nodes said at last:\n{}", region.said());
        }
        for node in 0..region.nodes() {
            let code = region.stop(node);
            if code != 0 {
                self.ledger.find(format!("node {node} ended with {code}"));
            }
        }
    }
}
