//! protocol.md 4: fifty bugs of other registries and their clients, each with a test named after its number: `bug13_...`.
//! What only a real client can show is shown by a recipe of `e2e/`, which the test then names.

mod blobs;
mod collector;
mod deletes;
mod manifests;
mod mounts;
mod parallel;
pub(crate) mod proxies;
mod referrers;
mod tags;
mod tokens;
mod uploads;

/// protocol.md 2.6 has T1 to T16, protocol.md 4 the bugs 1 to 50: each has a test named after its number, on each engine.
/// The list is that of this very program, so a test that is written but not run does not count.
#[test]
fn every_number_has_its_test() {
    let list =
        std::process::Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output();
    let list = String::from_utf8(list.unwrap().stdout).unwrap();
    let numbers = (1..=16).map(|n| format!("t{n}_")).chain((1..=50).map(|n| format!("bug{n}_")));
    let missing: Vec<String> = numbers
        .flat_map(|number| ["directory", "s3"].map(|engine| (number.clone(), engine)))
        .filter(|(number, engine)| {
            !list.lines().filter_map(|line| line.strip_suffix(": test")).any(|name| {
                let mut parts = name.split("::").skip_while(|part| !part.starts_with(number.as_str()));
                parts.next().is_some() && parts.next() == Some(*engine)
            })
        })
        .map(|(number, engine)| format!("{number}...::{engine}"))
        .collect();
    assert!(missing.is_empty(), "no test of the name {}", missing.join(", "));
}
