//! What was measured, as ratios.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use jiff::Timestamp;

use crate::{
    contestants::Name,
    load::Done,
    operations::{self, Unit},
};

/// Where the tables are kept, from the project's root.
const PAGE: &str = "docs/performance.md";
/// They stand between these lines of it.
const BEGIN: &str = "<!-- written by bench -->";
const END: &str = "<!-- end -->";

/// One operation on one server once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Operations or bytes in a second.
    rate: f64,
    /// Seconds of processor time for each.
    cpu: f64,
}

impl Sample {
    pub(crate) fn new(done: Done, cpu: Duration, unit: Unit) -> Self {
        let count = match unit {
            Unit::Operations => done.operations,
            Unit::Bytes => done.bytes,
        } as f64;
        Self { rate: count / done.took.as_secs_f64(), cpu: cpu.as_secs_f64() / count.max(1.0) }
    }
}

/// What a ratio must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    AtLeast(f64),
    AtMost(f64),
}

impl Must {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }

    /// It is missed by so much that no noise explains it.
    fn slips(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio < least / 2.0,
            Self::AtMost(most) => ratio > most * 2.0,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }
}

/// Something else than operations in a second: what we take beside what somebody else takes, or we under another condition.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) beside: String,
    pub(crate) ratio: f64,
    pub(crate) must: Option<Must>,
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All that a run measured.
#[derive(Default)]
pub(crate) struct Measured {
    /// The samples of each line of [`operations::ALL`].
    samples: BTreeMap<(usize, Name), Vec<Sample>>,
    /// By those of [`CHECKS`].
    pub(crate) checks: BTreeMap<&'static str, Vec<Check>>,
}

/// What is measured besides operations, by name. Memory last: its pushes leave the disk busy for a while.
pub(crate) const CHECKS: [&str; 5] = ["mix", "large", "rights", SCALED_OUT, "memory"];
const SCALED_OUT: &str = "scaled-out";

impl Measured {
    pub(crate) fn add(&mut self, operation: usize, name: Name, sample: Sample) {
        self.samples.entry((operation, name)).or_default().push(sample);
    }

    fn sorted(&self, operation: usize, name: Name, of: fn(&Sample) -> f64) -> Option<Vec<f64>> {
        let mut values: Vec<f64> = self.samples.get(&(operation, name))?.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        Some(values)
    }

    fn median(&self, operation: usize, name: Name, of: fn(&Sample) -> f64) -> Option<f64> {
        self.sorted(operation, name, of).map(|values| values[values.len() / 2])
    }

    /// Half of the distance between the quartiles, in hundredths of the median.
    fn spread(&self, operation: usize, name: Name) -> Option<f64> {
        let values = self.sorted(operation, name, |sample| sample.rate)?;
        let (low, high) = (values[values.len() / 4], values[values.len() * 3 / 4]);
        Some(50.0 * (high - low) / values[values.len() / 2])
    }

    /// How many times as much as `other` we do.
    fn ratio(&self, operation: usize, other: Name, of: fn(&Sample) -> f64) -> Option<f64> {
        Some(self.median(operation, Name::Roadstead, of)? / self.median(operation, other, of)?)
    }

    /// What is under half of what it must be (a slip, however noisy the machine), in words by the name of what was measured.
    pub(crate) fn slips(&self) -> BTreeMap<&'static str, String> {
        let mut slips = BTreeMap::new();
        for (number, one) in operations::ALL.iter().enumerate() {
            for (name, least) in one.musts {
                let Some(ratio) = self.ratio(number, *name, |sample| sample.rate) else { continue };
                if Must::AtLeast(*least).slips(ratio) {
                    let words = format!("{} connections, {ratio:.2} x {} (≥ {least})", one.connections, name.text());
                    slips.insert(one.what, words);
                }
            }
            if let Some((name, most)) = one.cpu
                && let Some(ratio) = self.ratio(number, name, |sample| sample.cpu)
                && Must::AtMost(most).slips(ratio)
            {
                let words =
                    format!("{} connections, {ratio:.2} x the CPU of {} (≤ {most})", one.connections, name.text());
                slips.insert(one.what, words);
            }
        }
        for (name, checks) in &self.checks {
            for check in checks {
                if let Some(must) = check.must.filter(|must| must.slips(check.ratio)) {
                    slips.insert(*name, format!("{}: {:.2} ({})", check.what, check.ratio, must.text()));
                }
            }
        }
        slips
    }
}

/// The tables in Markdown.
pub(crate) fn text(measured: &Measured) -> String {
    let mut text = String::new();
    let mut others = vec![Name::Dr, Name::D3, Name::Nginx, Name::Loop];
    if measured.samples.keys().any(|(_, name)| *name == Name::Before) {
        others.insert(0, Name::Before);
    }
    if !measured.samples.is_empty() {
        let names: String = others.iter().map(|name| format!("x {} | ", name.text())).collect();
        let _ = writeln!(text, "| operation | connections | Roadstead | CPU for each | {names}CPU, x DR |");
        let _ = writeln!(text, "|{}", "---|".repeat(5 + others.len()));
    }
    for (number, operation) in operations::ALL.iter().enumerate() {
        let Some(rate) = measured.median(number, Name::Roadstead, |sample| sample.rate) else { continue };
        let cpu = measured.median(number, Name::Roadstead, |sample| sample.cpu).unwrap_or_default();
        let spread = measured.spread(number, Name::Roadstead).unwrap_or_default();
        let (rate, cpu) = match operation.unit {
            Unit::Operations => (format!("{rate:.0}/s"), format!("{:.1} us", cpu * 1e6)),
            Unit::Bytes => (format!("{:.2} GB/s", rate / 1e9), format!("{:.2} s/GB", cpu * 1e9)),
        };
        let _ = write!(text, "| {} | {} | {rate} ±{spread:.0} % | {cpu} ", operation.what, operation.connections);
        for other in &others {
            let must = operation.musts.iter().find(|(name, _)| name == other).map(|(_, must)| Must::AtLeast(*must));
            let ratio = measured.ratio(number, *other, |it| it.rate);
            let _ = write!(text, "| {} ", ratio.map_or_else(String::new, |ratio| cell(ratio, must)));
        }
        let ratio = measured.ratio(number, Name::Dr, |it| it.cpu);
        let must = operation.cpu.map(|(_, most)| Must::AtMost(most));
        let _ = writeln!(text, "| {} |", ratio.map_or_else(String::new, |ratio| cell(ratio, must)));
    }
    let (scaled_out, embedded): (Vec<_>, Vec<_>) = CHECKS
        .iter()
        .filter_map(|name| Some((*name, measured.checks.get(name)?)))
        .partition(|(name, _)| *name == SCALED_OUT);
    for (name, checks) in [("", embedded), (SCALED_OUT, scaled_out)] {
        text += &checks_text(name, checks.into_iter().flat_map(|(_, checks)| checks));
    }
    text
}

/// The table of one of [`CHECKS`], or of those of one server together.
pub(crate) fn checks_text<'a>(name: &str, checks: impl IntoIterator<Item = &'a Check>) -> String {
    let mut checks = checks.into_iter().peekable();
    let mut text = String::new();
    if checks.peek().is_some() {
        let kind = if name == SCALED_OUT { "PostgreSQL and S3: " } else { "" };
        let _ = write!(text, "\n| {kind}what | Roadstead | beside | ratio |\n|---|---|---|---|\n");
    }
    for Check { what, ours, beside, ratio, must } in checks {
        let _ = writeln!(text, "| {what} | {ours} | {beside} | {} |", cell(*ratio, *must));
    }
    text
}

/// A ratio, with what it must be; bold when it is.
fn cell(ratio: f64, must: Option<Must>) -> String {
    match must {
        None => format!("{ratio:.2}"),
        Some(must) if must.holds(ratio) => format!("**{ratio:.2}** ({})", must.text()),
        Some(must) => format!("{ratio:.2} (must be {})", must.text()),
    }
}

/// Puts the tables into the page, with `how` they came to be.
pub(crate) fn record(measured: &Measured, how: &str) {
    let page = fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}: run from the project's root"));
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has no line {BEGIN}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{PAGE} has no line {END}"));
    let page =
        format!("{before}{BEGIN}\n{}: {how}\n\n{}{END}{after}", Timestamp::now().strftime("%Y-%m-%d"), text(measured));
    fs::write(PAGE, page).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
}
