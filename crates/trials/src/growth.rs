//! Does anything grow? The realistic mix of [`crate::mix`] for a long time, what is stored staying at one volume, while the nodes
//! are looked at from outside: memory, file descriptors, threads, the database and what waits to be removed.
//!
//! A figure counts as flat unless its trend over the samples after the warm-up (the median of the slopes between all pairs of
//! samples, Theil and Sen) says both: it rose by more than the noise of that figure allows, and it would rise by more than its
//! limit in a day that goes on like this. In a run of a minute the first decides, in a long one the second.

mod sample;
mod trend;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use roadstead_testkit::eventually;

use self::{
    sample::{Observer, Sample},
    trend::{Rule, Trend},
};
use crate::{
    audit,
    ledger::Ledger,
    mix::{Mix, Options},
    region::Region,
    report::{self, Row},
};

/// How a trial is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long, the warm-up included.
    pub minutes: u64,
    /// The mix.
    pub mix: Options,
    /// Keep the row in the table.
    pub record: bool,
}

const MIB: f64 = 1048576.0;

/// What may not grow, and what counts as growth.
const RULES: [Rule; 9] = [
    Rule { figure: "memory (RSS)", unit: MIB, noise: 32.0, a_day: 512.0 },
    Rule { figure: "file descriptors", unit: 1.0, noise: 24.0, a_day: 240.0 },
    Rule { figure: "threads", unit: 1.0, noise: 24.0, a_day: 240.0 },
    // Pages stay half full, uploads and lines of the audit log are remembered, while a slower minute leaves fewer objects.
    Rule { figure: "database bytes per object", unit: 1.0, noise: 2000.0, a_day: 4000.0 },
    Rule { figure: "write-ahead log", unit: MIB, noise: 80.0, a_day: 80.0 },
    Rule { figure: "objects waiting for their removal", unit: 1.0, noise: 300.0, a_day: 3000.0 },
    Rule { figure: "deletions", unit: 1.0, noise: 300.0, a_day: 3000.0 },
    Rule { figure: "usage changes", unit: 1.0, noise: 300.0, a_day: 3000.0 },
    Rule { figure: "rows of history", unit: 1.0, noise: 300.0, a_day: 3000.0 },
];

/// The first third is no part of the trend, and of a long run so much of it that uploads that were finished (which are remembered for half an hour) no longer become more.
fn warm_up(plan: &Plan) -> Duration {
    let minutes = plan.minutes as f64;
    Duration::from_secs_f64(60.0 * (minutes / 3.0).max(if minutes > 50.0 { 33.0 } else { 0.0 }))
}

/// Seconds that a layer without a manifest stays: a push must end within them, and what is deleted is stored so long.
fn grace(plan: &Plan) -> u64 {
    (plan.minutes * 20).clamp(20, 120)
}

/// Runs the mix. True: nothing grows, and nothing was found.
pub fn run(mut region: Region, binary: &Path, plan: &Plan) -> bool {
    let ledger = Ledger::new();
    region.set("ROADSTEAD_GC_GRACE_SECONDS", &grace(plan).to_string());
    region.set("ROADSTEAD_BUCKET_REDIRECT", "false");
    // Bounded by their age: what would be bounded only after a year can't be seen in an hour.
    region.set("ROADSTEAD_HISTORY_TAG_DAYS", "0");
    region.set("ROADSTEAD_HISTORY_EVENT_DAYS", "0");
    if let Err(said) = region.start() {
        println!("FAILED: {said}");
        return false;
    }
    let mix = Mix::start(&region.addresses(), &ledger, &plan.mix);
    mix.wait_until_stocked(plan.mix.stock_mib << 20);
    println!("stocked: {} requests", ledger.counted("requests"));
    let mut observer = Observer::new(&mut region);
    let (begun, end) = (Instant::now(), Duration::from_secs(plan.minutes * 60));
    let between = (end / 240).max(Duration::from_secs(1));
    let before = ledger.counted("requests");
    let mut samples: Vec<Sample> = Vec::new();
    while begun.elapsed() < end && ledger.findings().len() < 20 {
        std::thread::sleep(between);
        let sample = observer.look(&region, begun.elapsed());
        if samples.len().is_multiple_of(8) {
            println!("{}", sample.line(ledger.counted("requests") - before));
        }
        samples.push(sample);
    }
    let requests = ledger.counted("requests") - before;
    let seconds = begun.elapsed().as_secs_f64();
    mix.stop();
    let trends = judge(&samples, warm_up(plan), &ledger);
    comes_to_rest(&mut observer, &region, &ledger);
    audit::audit(&region, &ledger);
    if !ledger.findings().is_empty() {
        eprintln!("the nodes said at last:\n{}", region.said());
    }
    for node in 0..region.nodes() {
        let code = region.stop(node);
        if code != 0 {
            ledger.find(format!("node {node} ended with {code}"));
        }
    }
    let row = Row {
        fault: "nothing but time: the realistic mix".to_owned(),
        engine: region.engine(),
        how: format!(
            "{} clients for {} minutes: 60 % manifests, 22 % blobs (a tenth of them ranges), 12 % HEAD of blobs, 1 % lists, 5 % pushes; {} MiB are stored (blobs {} times smaller than in the mix as written) and as much is deleted as pushed",
            plan.mix.clients, plan.minutes, plan.mix.stock_mib, plan.mix.scale
        ),
        promised: "every answer is right; memory, descriptors, threads, the database for each object and what waits for removal stay flat; no object is left over".to_owned(),
        times: requests,
    };
    let trends = trends.iter().map(Trend::to_string).collect::<Vec<_>>().join("; ");
    let seen = format!("{:.0} requests a second; {trends}", requests as f64 / seconds);
    println!("\n{}", seen.replace("; ", "\n"));
    report::report_as(&row, &ledger, &seen, binary, plan.record)
}

/// The trend of each figure on each node. What is not flat is a finding.
fn judge(samples: &[Sample], warm_up: Duration, ledger: &Ledger) -> Vec<Trend> {
    let counted: Vec<&Sample> = samples.iter().filter(|sample| sample.at >= warm_up).collect();
    let mut trends = Vec::new();
    for rule in RULES {
        let series = sample::series(&counted, rule.figure);
        for points in series.into_iter().filter(|points| points.len() > 1) {
            let trend = Trend::of(rule, &points);
            if !trend.is_flat() {
                ledger.find(format!("it grows: {trend}"));
            }
            trends.push(trend);
        }
    }
    trends
}

/// When nobody asks any more, all memory of bodies is free again, and no request is counted as running.
fn comes_to_rest(observer: &mut Observer, region: &Region, ledger: &Ledger) {
    let mut seen = String::new();
    let rests = eventually(|| {
        let pages = region.addresses().all().into_iter().map(|address| observer.metrics(address));
        let figures: Vec<_> = pages.collect();
        seen = format!("{figures:?}");
        // The request for the figures itself runs.
        let rest = |page: &sample::Figures| {
            page.get("roadstead_http_requests_running") == Some(&1.0)
                && page.get("roadstead_uploads_running") == Some(&0.0)
                && page.get("roadstead_memory_free_bytes") == Some(&(512.0 * MIB))
        };
        figures.iter().all(rest).then_some(())
    });
    if rests.is_none() {
        ledger.find(format!("something still runs or holds memory although nobody asks: {seen}"));
    }
}
