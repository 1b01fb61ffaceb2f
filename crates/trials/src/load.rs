//! Threads that push without pause, in every way that clients know, and write down what they were told.

mod blobs;
mod images;
mod uploads;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::RngExt;
use roadstead_testkit::server::REGISTRY;

use crate::{
    content::{Content, Random, random},
    ledger::{ACKNOWLEDGED, End, Ledger, Shared, lock},
    region::Addresses,
    talk::Talk,
};

/// What is pushed, and by how many.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub threads: usize,
    /// Of this all choices come.
    pub seed: u64,
    /// In a hundred: blobs of some 40 MiB, which cross a checkpoint of the directory and several parts of S3.
    pub large_percent: u32,
    /// A repository that got more bytes is pushed to no more.
    pub repository_bytes: u64,
    /// A repository that got more blobs is pushed to no more.
    pub repository_blobs: usize,
    /// An upload that broke off is gone on with only after so long: a node that was killed holds it until its lease ends, and the
    /// thread would wait for that.
    pub resume_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 6,
            seed: 1,
            large_percent: 4,
            repository_bytes: 100 << 20,
            repository_blobs: 80,
            resume_after: Duration::ZERO,
        }
    }
}

/// Running threads. Dropping it stops them.
pub struct Load {
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    paused: bool,
    stopped: bool,
    resting: usize,
    ended: usize,
}

impl Control {
    /// Rests while there is a pause. False: the end.
    fn goes_on(&self) -> bool {
        let mut state = lock(&self.state);
        while state.paused && !state.stopped {
            state.resting += 1;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            state.resting -= 1;
        }
        !state.stopped
    }

    fn is_wanted(&self) -> bool {
        let state = lock(&self.state);
        !state.paused && !state.stopped
    }
}

impl Load {
    /// Starts the threads.
    pub fn start(addresses: &Addresses, ledger: &Ledger, options: &Options) -> Self {
        let control = Arc::new(Control::default());
        let common = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(AtomicUsize::new(0));
        let start = |number: usize| {
            let pusher = Pusher {
                talk: Talk::new(addresses.clone(), ledger.clone()),
                ledger: ledger.clone(),
                random: random(options.seed.wrapping_mul(1000).wrapping_add(number as u64)),
                options: options.clone(),
                number,
                repositories: 0,
                shared: Arc::clone(&shared),
                common: Arc::clone(&common),
                control: Arc::clone(&control),
            };
            let ended = Ended(Arc::clone(&control), ledger.clone());
            std::thread::spawn(move || {
                let _ended = ended;
                pusher.run();
            })
        };
        let threads = (0..options.threads).map(start).collect();
        Self { control, threads }
    }

    /// Lets every thread end what it does, and rest. Nothing is asked of the server afterwards.
    pub fn pause(&self) {
        let mut state = lock(&self.control.state);
        state.paused = true;
        while state.resting + state.ended < self.threads.len() {
            state = self.control.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Ends a pause.
    pub fn resume(&self) {
        lock(&self.control.state).paused = false;
        self.control.changed.notify_all();
    }

    /// Ends all threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        lock(&self.control.state).stopped = true;
        self.control.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has entered a finding.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// Counts a thread as ended in whatever way it ends, so that a pause does not wait for it.
struct Ended(Arc<Control>, Ledger);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.find("a thread of the load panicked, for an answer that no server should give (see standard error)");
        }
        lock(&self.0.state).ended += 1;
        self.0.changed.notify_all();
    }
}

/// One thread.
struct Pusher {
    talk: Talk,
    ledger: Ledger,
    random: Random,
    options: Options,
    number: usize,
    /// How many repositories it has begun.
    repositories: usize,
    /// How many repositories all threads together have begun.
    shared: Arc<AtomicUsize>,
    /// Contents that all threads push.
    common: Arc<Mutex<Vec<Content>>>,
    control: Arc<Control>,
}

/// In the names of repositories that all threads push to.
const ALL: &str = "all";

/// Contents that all threads push at one time.
const COMMON: usize = 16;

impl Pusher {
    fn run(mut self) {
        while self.control.goes_on() {
            let repository = self.choose_repository();
            if self.act(&repository) == End::Acknowledged {
                self.ledger.count(ACKNOWLEDGED, 1);
            } else {
                self.wait_until_answered();
            }
        }
    }

    /// One thing that clients do. [`End::Acknowledged`] also when there was nothing to do.
    fn act(&mut self, repository: &Shared) -> End {
        let mine = !lock(repository).name.contains(ALL);
        match self.random.random_range(0..100) {
            0..24 => self.push_some_blob(repository),
            24..44 => self.push_image(repository),
            44..50 => self.push_index(repository),
            50..57 => self.push_referrer(repository),
            57..67 => self.move_tag(repository),
            67..75 => self.mount(repository),
            75..81 => self.leave_open(repository),
            81..87 => self.take_up(repository),
            87..90 => self.look(repository),
            90..93 if mine => self.delete_tag(repository),
            93..96 if mine => self.delete_manifest(repository),
            96..100 if mine => self.delete_blob(repository),
            _ => self.push_some_blob(repository),
        }
    }

    /// Mostly one of its own, sometimes the one that all threads push to. One that got enough is left for a new one.
    fn choose_repository(&mut self) -> Shared {
        let own = self.random.random_bool(0.85);
        loop {
            let shared = self.shared.load(Ordering::Relaxed);
            let name = match own {
                true => format!("{REGISTRY}/t{}/r{}", self.number, self.repositories),
                false => format!("{REGISTRY}/{ALL}/r{shared}"),
            };
            let repository = self.ledger.repository(&name);
            {
                let mut repository = lock(&repository);
                let Options { repository_bytes, repository_blobs, .. } = self.options;
                repository.retiring |= repository.bytes > repository_bytes || repository.blobs.len() > repository_blobs;
            }
            if !lock(&repository).retiring {
                return repository;
            }
            if own {
                self.repositories += 1;
            } else {
                // Another thread may have gone on already.
                let _ = self.shared.compare_exchange(shared, shared + 1, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// New bytes, or those that others push as well.
    fn choose_content(&mut self) -> Content {
        if self.random.random_bool(0.2) {
            let mut common = lock(&self.common);
            if common.len() < COMMON {
                let size = self.random.random_range(0..300_000);
                common.push(Content::Seeded { seed: self.random.random(), size });
            }
            let place = self.random.random_range(0..common.len());
            // Old ones go, so that the collector meets what was pushed again.
            return if self.random.random_bool(0.05) { common.swap_remove(place) } else { common[place].clone() };
        }
        let large = self.options.large_percent;
        let size = match self.random.random_range(0..100) {
            chosen if chosen < large => (40 << 20) + self.random.random_range(0..100_000),
            chosen if chosen < large + 4 => 0,
            chosen if chosen < large + 8 => 1,
            chosen if chosen < large + 30 => (1 << 20) + self.random.random_range(0..1000),
            _ => self.random.random_range(2..20_000),
        };
        Content::Seeded { seed: self.random.random(), size }
    }

    fn wait_until_answered(&mut self) {
        while self.control.is_wanted() && !self.talk.is_answered(&mut self.random) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
