//! What a trial has seen: printed, and on demand kept in the table of `docs/reliability.md`.

use std::{fs, path::Path, process::Command};

use jiff::Timestamp;

use crate::{ledger::Ledger, region::Engine};

/// A row of the table. Rows are told apart by fault and engine.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done to the region, such as `kill -9 of the server`.
    pub fault: String,
    /// On what it stood.
    pub engine: Engine,
    /// How it was made.
    pub how: String,
    /// What Roadstead promises then.
    pub promised: String,
    /// How often it was done.
    pub times: u64,
}

/// The page that keeps the table, below the root of the project.
pub const PAGE: &str = "docs/reliability.md";

/// Prints the figures and findings of a trial and keeps its row where that is wanted. True: nothing was found.
///
/// # Panics
/// When the page can't be written, or has no table.
pub fn report(row: &Row, ledger: &Ledger, binary: &Path, record: bool) -> bool {
    report_as(row, ledger, &seen(ledger), binary, record)
}

/// As [`report`], for a trial that has words of its own for what was seen.
///
/// # Panics
/// As [`report`].
pub fn report_as(row: &Row, ledger: &Ledger, seen: &str, binary: &Path, record: bool) -> bool {
    let findings = ledger.findings();
    println!("\n{} ({}): {} times", row.fault, row.engine, row.times);
    for (what, count) in ledger.tally() {
        println!("{count:>15} {what}");
    }
    for (number, finding) in findings.iter().enumerate() {
        println!("finding {}: {finding}", number + 1);
    }
    println!("{}", if findings.is_empty() { "nothing was lost" } else { "FAILED" });
    if record {
        let text =
            fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}: run from the project's root"));
        let text = replaced(&text, row, seen, &when(binary));
        fs::write(PAGE, text).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    }
    findings.is_empty()
}

/// The result in a few words.
fn seen(ledger: &Ledger) -> String {
    let count = |what: &str| ledger.counted(what);
    let findings = match ledger.findings().len() {
        0 => "nothing lost, nothing half-made, nothing left over".to_owned(),
        count => format!("**{count} findings**"),
    };
    format!(
        "{findings}; {} changes acknowledged ({} blobs, {} manifests), {} requests cut, {} uploads gone on with; {} comparisons of everything, of {} GB",
        count(crate::ledger::ACKNOWLEDGED),
        count("blobs"),
        count("manifests"),
        count("requests without an answer"),
        count("uploads gone on with"),
        count("verifications"),
        count("bytes compared") / 1_000_000_000,
    )
}

/// Day, build, machine.
fn when(binary: &Path) -> String {
    let output = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let version = output(binary, &["--version"]);
    let commit = output(Path::new("git"), &["rev-parse", "--short", "HEAD"]);
    let kind = if binary.components().any(|part| part.as_os_str() == "release") { "release" } else { "debug" };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 20;
    let day = Timestamp::now().strftime("%Y-%m-%d");
    format!("{day}; {version} ({commit}, {kind}); Linux, {cores} cores, {memory} GiB")
}

/// The page with this row in place of the one with the same fault and engine, or after the last.
fn replaced(page: &str, row: &Row, seen: &str, when: &str) -> String {
    let key = format!("| {} ({}) |", row.fault, row.engine);
    let line = format!("{key} {} | {} | {seen} | {} times | {when} |", row.how, row.promised, row.times);
    let mut lines: Vec<&str> = page.lines().collect();
    match lines.iter().position(|known| known.starts_with(&key)) {
        Some(place) => lines[place] = &line,
        None => {
            let header = lines.iter().position(|known| known.starts_with("| fault |"));
            let header = header.unwrap_or_else(|| panic!("{PAGE} has no line `| fault | ...`"));
            let rows = lines[header..].iter().take_while(|known| known.starts_with('|')).count();
            lines.insert(header + rows, &line);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_replaces_the_one_of_its_fault_and_engine() {
        let row = |how: &str, engine| Row {
            fault: "kill".to_owned(),
            engine,
            how: how.to_owned(),
            promised: "all".to_owned(),
            times: 3,
        };
        let page = "# Words\n\n| fault | how |\n| --- | --- |\n\nThe end\n";
        let page = replaced(page, &row("a", Engine::Directory), "seen", "today");
        let page = replaced(&page, &row("b", Engine::Cluster), "seen", "today");
        let page = replaced(&page, &row("c", Engine::Directory), "seen", "today");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| kill")).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].contains("| c | all | seen | 3 times |") && rows[1].contains("| b |"));
        assert!(page.ends_with("\n\nThe end\n"));
    }
}
