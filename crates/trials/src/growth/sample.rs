//! A region at one moment, seen from outside.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use roadstead_testkit::{
    Request,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};

use crate::{
    audit::Database,
    region::{Region, Store},
};

/// What `/metrics` says, by name; of figures with labels the sum.
pub(super) type Figures = BTreeMap<String, f64>;

/// Figures by name; those of a node have one value for each.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    figures: BTreeMap<&'static str, Vec<f64>>,
}

impl Sample {
    /// For people.
    pub(super) fn line(&self, requests: u64) -> String {
        let mut line = format!("{:>6.0} s {requests:>9} requests", self.at.as_secs_f64());
        for (name, values) in &self.figures {
            let large = values.iter().any(|value| *value > 1e7);
            let shown = values
                .iter()
                .map(|value| if large { format!("{:.1}M", value / 1048576.0) } else { format!("{value:.0}") });
            line += &format!(", {name} {}", shown.collect::<Vec<_>>().join("/"));
        }
        line
    }
}

/// The points of a figure, for each node.
pub(super) fn series(samples: &[&Sample], figure: &str) -> Vec<Vec<(f64, f64)>> {
    let width = samples.first().and_then(|sample| sample.figures.get(figure)).map_or(0, Vec::len);
    let of = |node: usize| samples.iter().map(move |sample| (sample.at.as_secs_f64(), sample.figures[figure][node]));
    (0..width).map(|node| of(node).collect()).collect()
}

/// Looks at a region again and again.
pub(super) struct Observer {
    processes: Vec<i32>,
    database: Database,
}

/// Rows of each kind, and the size of what they are in.
const ROWS: &str =
    "SELECT (SELECT count(*) FROM blob), (SELECT count(*) FROM object_removal), (SELECT count(*) FROM upload),
    (SELECT count(*) FROM tag_change) + (SELECT count(*) FROM event), (SELECT count(*) FROM deletion),
    (SELECT count(*) FROM link_review), (SELECT count(*) FROM usage_change)";
const NAMES: [&str; 7] = [
    "objects",
    "objects waiting for their removal",
    "uploads",
    "rows of history",
    "deletions",
    "link reviews",
    "usage changes",
];

impl Observer {
    pub(super) fn new(region: &mut Region) -> Self {
        let processes = (0..region.nodes()).map(|node| region.node(node).pid().as_raw_nonzero().get()).collect();
        Self { processes, database: Database::of(region.store()) }
    }

    /// How it stands.
    pub(super) fn look(&mut self, region: &Region, at: Duration) -> Sample {
        let mut figures = BTreeMap::new();
        let mut add = |name, value| figures.entry(name).or_insert_with(Vec::new).push(value);
        for process in &self.processes {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let of = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
            };
            add("memory (RSS)", of("VmRSS:") * 1024.0);
            add("threads", of("Threads:"));
            let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
            add("file descriptors", descriptors as f64);
        }
        let rows = self.database.rows(ROWS).concat();
        let rows: Vec<f64> = rows.iter().map(|count| count.parse().unwrap_or(0.0)).collect();
        for (name, count) in NAMES.into_iter().zip(&rows) {
            add(name, *count);
        }
        let bytes = self.database_bytes(region.store());
        add("database bytes per object", bytes / rows[0].max(1.0));
        if let Store::Directory(data) = region.store() {
            add("write-ahead log", size(&data.join("roadstead.db-wal")));
        }
        Sample { at, figures }
    }

    fn database_bytes(&self, store: &Store) -> f64 {
        // A file keeps pages that are free for what comes next, and never becomes smaller.
        const USED: &str = "SELECT (p.page_count - f.freelist_count) * s.page_size
            FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s";
        let size = match store {
            Store::Directory(_) => USED,
            Store::Cluster(_) => "SELECT pg_database_size(current_database())",
        };
        self.database.rows(size).concat().concat().parse().unwrap_or(0.0)
    }

    /// What a node says of itself; nothing when it does not answer.
    pub(super) fn metrics(&mut self, address: SocketAddr) -> Figures {
        let request = Request::new("GET", "/metrics").header("Authorization", &basic(KEY_ID, KEY_SECRET));
        let answer = Connection::open(address).and_then(|mut connection| connection.send(&request));
        let page = answer.map(|answer| answer.text()).unwrap_or_default();
        let mut figures = Figures::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or_default().to_owned();
            *figures.entry(name).or_default() += value.parse().unwrap_or(0.0);
        }
        figures
    }
}

fn size(file: &Path) -> f64 {
    fs::metadata(file).map_or(0.0, |metadata| metadata.len() as f64)
}
