//! `serve`: everything is opened, answered for, and ended in order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roadstead_access::{Access, Clock, Entropy};
use roadstead_blobs::Hold;
use roadstead_http_api::ApiService;
use roadstead_http_oci::OciService;
use roadstead_model::Reach;
use roadstead_registry::{Core, PULLS_EVERY, TicketKey};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::execute::Services;
use crate::config::{Config, Limits};
use crate::control::Control;
use crate::datadir::{DataDir, Lock};
use crate::drain::Drain;
use crate::first_start;
use crate::front::{Doors, Front, Parts};
use crate::health::Health;
use crate::listener::{self, Terms, reachable};
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::rest::give_back_at_rest;
use crate::secret_key;
use crate::tls::{Certificates, RELOAD};
use crate::wiring;

/// Connections of the listener for figures, which has a limit of its own: a busy node still answers its supervisor.
const FIGURES_CONNECTIONS: u64 = 100;
/// Descriptors that a node needs beside those of its clients.
const OWN_FILES: u64 = 128;
/// How long uploads that are cut off have to save what arrived.
const SAVING: Duration = Duration::from_secs(10);
/// How often it is written down which access keys were refused.
const REFUSALS: Duration = Duration::from_secs(2);
/// How long the listener for figures has to end after everything else.
const LAST: Duration = Duration::from_secs(1);

/// Runs a node until it is told to end.
///
/// # Errors
/// What kept it from starting, in words.
pub async fn serve(config: Config) -> Result<(), String> {
    let _flushed_at_the_end = logs::start(&config.log);
    raise_open_files();
    let (mut signals, mut hang_up) = (Signals::new()?, listen_to(SignalKind::hangup())?);
    let node = tokio::select! {
        node = Node::start(&config) => node?,
        () = signals.end() => return Ok(()),
    };
    println!("{}", node.greeting);
    for line in node.addresses() {
        println!("{line}");
    }
    let _ = std::io::stdout().flush();
    loop {
        tokio::select! {
            () = signals.end() => break,
            _ = hang_up.recv() => node.reload_certificates(),
        }
    }
    tracing::info!("ending: no new requests, running ones are finished");
    node.drain.begin();
    tokio::select! {
        whole = node.end(Duration::from_secs(config.limits.drain_seconds)) => {
            if !whole {
                tracing::warn!("limits.drain_seconds are over: the requests that still ran were cut off");
            }
        }
        () = signals.end() => tracing::warn!("ended at once: the requests that still ran were cut off"),
    }
    tracing::info!("ended");
    Ok(())
}

/// The listeners of one kind.
#[derive(Default)]
struct Listening {
    addresses: Vec<SocketAddr>,
    certificates: Option<Arc<Certificates>>,
}

impl Listening {
    fn scheme(&self) -> &'static str {
        if self.certificates.is_some() { "https" } else { "http" }
    }
}

/// A node that answers.
pub struct Node {
    /// Words for the person who started it.
    pub greeting: String,
    /// Ends it.
    pub drain: Drain,
    main: Listening,
    private: Listening,
    figures: Option<SocketAddr>,
    figures_end: Drain,
    core: Core,
    access: Access,
    _lock: Lock,
    _hold: Vec<Hold>,
}

impl Node {
    /// Opens everything and begins to answer.
    ///
    /// # Errors
    /// In words.
    pub async fn start(config: &Config) -> Result<Self, String> {
        let data = DataDir::make(&config.general.data_dir).map_err(|error| error.to_string())?;
        let lock = data.lock().map_err(|error| error.to_string())?;
        let open_certificates = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| match (certificate, key) {
            (Some(certificate), Some(key)) => Certificates::open(certificate, key).map(|it| Some(Arc::new(it))),
            _ => Ok(None),
        };
        let certificates = open_certificates(&config.tls.certificate, &config.tls.key)?;
        let private_certificates = open_certificates(&config.private.certificate, &config.private.key)?;
        let secret_key = secret_key::find_or_make(config, &data, &Entropy::system())?;

        let drain = Drain::new();
        let budget = wiring::memory_budget(config);
        let db = wiring::open_database(config).await?;
        let buckets = wiring::open_buckets(config, &budget).await?;
        let hold = buckets
            .iter()
            .map(|(name, bucket)| bucket.hold().map_err(|error| format!("the bucket `{name}` can't be used: {error}")));
        let hold = hold.collect::<Result<Vec<_>, _>>()?;
        let core =
            wiring::open_core(config, db.clone(), buckets.clone(), TicketKey::derived(secret_key.expose())).await?;
        let access = wiring::open_access(config, db.clone(), &secret_key).await?;
        let start = first_start::start(config, &core, access.keys()).await?;

        let services = Services {
            db: db.clone(),
            keys: access.keys().clone(),
            core: Some(core.clone()),
            trash_life: wiring::trash_life(config),
        };
        let control = Control::open(data.path())
            .map_err(|error| format!("the control socket in {} can't be opened: {error}", data.path().display()))?;
        drain.watch(control.serve(services, drain.clone()));

        let metrics = Metrics::new(budget);
        let probe = Duration::from_secs(config.bucket.probe_seconds);
        let health = Health::new(db, buckets, Clock::system(), drain.clone(), probe);
        let settings = wiring::api_settings(config);
        let front = Front::new(Parts {
            api: ApiService::new(core.clone(), access.clone(), settings.naming.clone()),
            oci: OciService::new(core.clone(), access.clone(), settings),
            access: access.clone(),
            core: core.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
            trusted_proxies: config.general.trusted_proxies.clone(),
            logs: config.log.access.then(|| Logs::new(config.log.format)),
        });
        let for_rest = metrics.clone();
        let meter = Arc::new(metrics);
        let limits = Limits { connections: within_open_files(config.limits.connections), ..config.limits.clone() };
        let terms = Terms::new(&limits, meter.clone(), drain.clone());

        // Answers until everything else has ended: who watches the node sees that it drains.
        let figures_end = Drain::new();
        let figures = match config.metrics.listen {
            Some(address) => {
                let (address, listener) = open(&[address])?.remove(0);
                let limits = Limits { connections: limits.connections.min(FIGURES_CONNECTIONS), ..limits.clone() };
                let terms = Terms::new(&limits, meter, figures_end.clone());
                figures_end.watch(listener::serve(listener, None, front.door(Doors::Metrics, Reach::Public), terms));
                Some(address)
            }
            None => None,
        };
        let doors = if figures.is_some() { Doors::MainWithoutMetrics } else { Doors::Main };
        let begin = |addresses: &[SocketAddr], certificates: Option<Arc<Certificates>>, reach| {
            let mut listening = Listening { addresses: Vec::new(), certificates };
            for (address, listener) in open(addresses)? {
                listening.addresses.push(address);
                let certificates = listening.certificates.clone();
                drain.watch(listener::serve(listener, certificates, front.door(doors, reach), terms.clone()));
            }
            Ok::<_, String>(listening)
        };
        let main = begin(&config.general.listen, certificates, Reach::Public)?;
        let private = begin(&config.private.listen, private_certificates, Reach::Private)?;
        let rest = Duration::from_secs(config.gc.interval_seconds);
        for listening in [&main, &private] {
            keep_certificates_fresh(listening, &drain);
        }
        start_background(&core, rest, &health, &drain);
        until_drain(&drain, give_back_at_rest(for_rest));
        let refusing = access.clone();
        until_drain(&drain, async move { refusing.keep_refusals(REFUSALS).await });

        let host = match &config.general.external_url {
            Some(url) => url.split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned(),
            None => main.addresses.first().map_or_else(String::new, |address| reachable(*address).to_string()),
        };
        let greeting = start.greeting(&host);
        Ok(Self { greeting, drain, main, private, figures, figures_end, core, access, _lock: lock, _hold: hold })
    }

    /// Ends it: what runs is finished for at most so long, then cut off; what arrived of uploads is saved. True: nothing
    /// was cut off.
    pub async fn end(&self, limit: Duration) -> bool {
        let whole = self.drain.finish(limit).await;
        // An upload outlives its request for as long as it takes to save what arrived.
        self.core.stop_writers(SAVING).await;
        if let Err(error) = self.core.write_pulls().await {
            tracing::warn!(%error, detail = ?error, "the last pulls that were counted are lost");
        }
        if let Err(error) = self.access.write_refusals().await {
            tracing::warn!(%error, "the last refused access keys could not be written into the audit log");
        }
        self.figures_end.finish(LAST).await;
        whole
    }

    /// The addresses on which clients are answered, with their real ports.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.main.addresses
    }

    fn addresses(&self) -> Vec<String> {
        let lines = |words: &'static str, of: &Listening| -> Vec<String> {
            of.addresses.iter().map(|address| format!("{words} {}://{address}", of.scheme())).collect()
        };
        let main = lines("listening on", &self.main);
        let private = lines("listening for private clients on", &self.private);
        main.into_iter()
            .chain(private)
            .chain(self.figures.map(|address| format!("metrics on http://{address}/metrics")))
            .collect()
    }

    fn reload_certificates(&self) {
        for certificates in [&self.main, &self.private].into_iter().filter_map(|it| it.certificates.as_ref()) {
            certificates.reload_and_tell();
        }
    }
}

fn open(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, String> {
    let address = |listener: TcpListener| match listener.local_addr() {
        Ok(address) => Ok((address, listener)),
        Err(error) => Err(format!("a listener has no address: {error}")),
    };
    listener::bind(addresses)?.into_iter().map(address).collect()
}

/// What runs beside the requests. It is dropped when the drain begins: each piece of it is a transaction, or harmless to
/// do again.
fn start_background(core: &Core, rest: Duration, health: &Health, drain: &Drain) {
    let (maintained, counted, checked) = (core.clone(), core.clone(), core.clone());
    until_drain(drain, async move { maintained.maintain(rest).await });
    until_drain(drain, async move { counted.keep_writing_pulls(PULLS_EVERY).await });
    until_drain(drain, async move { checked.keep_buckets_checked().await });
    let health = health.clone();
    until_drain(drain, async move { health.probe_buckets().await });
}

fn keep_certificates_fresh(listening: &Listening, drain: &Drain) {
    let Some(certificates) = listening.certificates.clone() else { return };
    until_drain(drain, async move {
        loop {
            tokio::time::sleep(RELOAD).await;
            certificates.reload_and_tell();
        }
    });
}

fn until_drain(drain: &Drain, work: impl Future<Output = ()> + Send + 'static) {
    let begun = drain.clone();
    drain.watch(async move {
        tokio::select! {
            () = begun.begun() => {}
            () = work => {}
        }
    });
}

/// The signals by which a supervisor or a person ends the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

fn listen_to(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("signals can't be listened to: {error}"))
}

impl Signals {
    fn new() -> Result<Self, String> {
        Ok(Self { terminate: listen_to(SignalKind::terminate())?, interrupt: listen_to(SignalKind::interrupt())? })
    }

    /// Waits until the program is told to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Each connection and each layer that is read needs a descriptor; the usual limit of 1024 is for programs without many.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// As many connections as are wanted and there are descriptors for: one for the client, one for the layer that it reads or writes, and a
/// rest for the database. Idle clients could otherwise keep the database from opening its files.
fn within_open_files(wanted: u64) -> u64 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = (files - OWN_FILES.min(files / 2)) / 2;
    if most < wanted {
        tracing::warn!(
            open_files = files,
            connections = most.max(1),
            "the limit of open files is low: fewer connections are taken at one time than limits.connections says"
        );
    }
    wanted.min(most.max(1))
}

#[cfg(test)]
mod tests;
