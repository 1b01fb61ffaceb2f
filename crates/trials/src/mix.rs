//! The realistic mix of requests (architecture.md 3): 60 % manifest GET and HEAD, 22 % blob GET (a tenth of them ranges), 12 %
//! blob HEAD, 1 % listings, 5 % requests of pushes; popularity by Zipf's law. What is stored stays at one volume: when a push
//! went beyond it, images are deleted. Every answer is compared with what was pushed.

mod images;
mod requests;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::RngExt;

use self::images::{Image, Sizes, Stock};
use crate::{
    content::{Random, random},
    ledger::{Ledger, lock},
    region::Addresses,
};

/// What is asked, and by how many.
#[derive(Clone, Debug)]
pub struct Options {
    /// Clients, each with a connection to every node.
    pub clients: usize,
    /// Of this all choices come.
    pub seed: u64,
    /// Blobs are so many times smaller than those of the mix as it is written (up to 1 GiB).
    pub scale: u64,
    /// MiB that are stored in the steady state.
    pub stock_mib: u64,
}

/// Requests of one push, on average: a configuration and one to three layers (two requests each), and the manifest. A push is
/// begun so seldom that its requests are [`PUSH_PERCENT`] of all.
const REQUESTS_OF_A_PUSH: f64 = 7.0;
const PUSH_PERCENT: f64 = 5.0;

/// Clients at work. Dropping it stops them.
pub struct Mix {
    stopped: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    stock: Arc<Mutex<Stock>>,
}

impl Mix {
    /// Pushes the stock, then lets the clients loose. Wrong bytes, 5xx and what was lost are findings of the ledger.
    pub fn start(addresses: &Addresses, ledger: &Ledger, options: &Options) -> Self {
        let (stopped, stock) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Stock::default())));
        let client = |number: usize| Client {
            line: requests::Line::new(addresses.all(), ledger.clone()),
            random: random(options.seed.wrapping_mul(1000).wrapping_add(number as u64)),
            sizes: Sizes::new(options.scale),
            stock: Arc::clone(&stock),
            ledger: ledger.clone(),
            most: options.stock_mib << 20,
            number,
            pushed: 0,
        };
        let clients = (0..options.clients)
            .map(|number| {
                let (mut client, stopped, ledger) = (client(number), Arc::clone(&stopped), ledger.clone());
                std::thread::spawn(move || {
                    let ended = Ended(ledger);
                    while !stopped.load(Ordering::Relaxed) && !client.is_stocked() {
                        client.push();
                    }
                    while !stopped.load(Ordering::Relaxed) {
                        client.act();
                    }
                    drop(ended);
                })
            })
            .collect();
        Self { stopped, clients, stock }
    }

    /// Waits until everything is stored that is there in the steady state.
    pub fn wait_until_stocked(&self, most: u64) {
        while lock(&self.stock).bytes() < most && self.clients.iter().any(|client| !client.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends all clients after what they do.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // One that panicked has entered a finding.
            let _ = client.join();
        }
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        self.end();
    }
}

struct Ended(Ledger);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.find("a client panicked, for an answer that no server should give (see standard error)");
        }
    }
}

/// One client.
struct Client {
    line: requests::Line,
    random: Random,
    sizes: Sizes,
    stock: Arc<Mutex<Stock>>,
    ledger: Ledger,
    most: u64,
    number: usize,
    pushed: u64,
}

impl Client {
    fn is_stocked(&self) -> bool {
        lock(&self.stock).bytes() >= self.most
    }

    fn act(&mut self) {
        let push = PUSH_PERCENT / REQUESTS_OF_A_PUSH;
        let chosen = self.random.random_range(0.0..100.0 - PUSH_PERCENT + push);
        let Some(image) = lock(&self.stock).popular(&mut self.random) else { return self.push() };
        match chosen {
            it if it < 60.0 => self.get_manifest(&image),
            it if it < 82.0 => self.get_blob(&image),
            it if it < 94.0 => self.head_blob(&image),
            it if it < 95.0 => self.list(&image),
            _ => {
                self.push();
                // What is stored stays at one volume.
                while self.is_stocked() {
                    let Some(image) = lock(&self.stock).take_any(&mut self.random) else { break };
                    self.delete(&image);
                }
            }
        }
    }

    /// Pushes a new image and enters it.
    fn push(&mut self) {
        self.pushed += 1;
        let image = Image::new(&mut self.random, &self.sizes, &format!("c{}-{}", self.number, self.pushed));
        if self.push_image(&image) {
            lock(&self.stock).enter(Arc::new(image), &mut self.random);
        }
    }
}
