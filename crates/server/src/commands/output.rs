//! What commands print.

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::Format;
use super::execute::{KeyView, Outcome, RegistryView};

/// The outcome as text to print.
pub(super) fn show(outcome: &Outcome, format: Format) -> String {
    match format {
        Format::Table => for_people(outcome),
        Format::Json => for_programs(outcome),
    }
}

fn for_programs(outcome: &Outcome) -> String {
    let value = match outcome {
        Outcome::Created(it) | Outcome::Registry(it) | Outcome::Deleted(it) => serde_json::to_value(it),
        Outcome::Registries(all) => serde_json::to_value(all),
        Outcome::NewKey(key) => serde_json::to_value(key),
        Outcome::Keys(all) => serde_json::to_value(all),
        Outcome::Revoked { key_id } => Ok(serde_json::json!({ "key_id": key_id })),
        Outcome::DatabaseTime(micros) => Ok(serde_json::json!({ "now": micros })),
    };
    let mut value = value.unwrap_or_default();
    match &mut value {
        Value::Array(all) => all.iter_mut().for_each(write_times),
        one => write_times(one),
    }
    format!("{value:#}\n")
}

/// Times inside are microseconds; outside they are RFC 3339, UTC.
fn write_times(of: &mut Value) {
    for name in ["now", "created", "used", "expires", "revoked", "trashed_until"] {
        if let Some(time) = of.get_mut(name)
            && let Some(micros) = time.as_i64()
        {
            *time = Value::from(Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string());
        }
    }
}

fn for_people(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Created(registry) => {
            let who = if registry.public_pull { "anyone pulls" } else { "people with an access key pull" };
            format!("The registry {0} is ready: push to HOST/{0}/NAME; {who}.\n", registry.name)
        }
        Outcome::Registry(registry) => describe(registry),
        Outcome::Registries(all) => registries(all),
        Outcome::Deleted(registry) => {
            let until = registry.trashed_until.map_or_else(String::new, |until| format!(" until {}", time(until)));
            format!("The registry {} lies in the trash{until}.\n", registry.name)
        }
        Outcome::NewKey(key) => format!(
            "access key   {}\nsecret       {}  (write it down, it is not shown again)\nperson       {}\n{}\n  docker login HOST -u {} -p {}\n",
            key.key_id,
            key.secret,
            key.person,
            key.expires.map_or_else(String::new, |expires| format!("ends         {}\n", time(expires))),
            key.key_id,
            key.secret
        ),
        Outcome::Keys(all) => keys(all),
        Outcome::Revoked { key_id } => format!("The access key {key_id} is revoked.\n"),
        Outcome::DatabaseTime(micros) => format!("{}\n", time(*micros)),
    }
}

fn describe(registry: &RegistryView) -> String {
    let state = match registry.trashed_until {
        Some(until) => format!("in the trash until {}", time(until)),
        None => "ready".to_owned(),
    };
    let rows = [
        ("name", registry.name.clone()),
        ("project", registry.project.clone()),
        ("kind", registry.kind.clone()),
        ("state", state),
        ("anyone pulls", yes_or_no(registry.public_pull)),
        ("bucket", registry.bucket.clone()),
        ("repositories", registry.repositories.to_string()),
        ("artifacts", registry.artifacts.to_string()),
        ("stored", bytes(registry.bytes)),
        ("created", time(registry.created)),
        ("description", registry.description.clone()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<13}{value}").trim_end().to_owned() + "\n").collect()
}

fn registries(all: &[RegistryView]) -> String {
    if all.is_empty() {
        return "There is no registry: `roadstead registry create NAME` makes one.\n".to_owned();
    }
    let head = ["NAME", "PROJECT", "ANYONE PULLS", "REPOSITORIES", "ARTIFACTS", "STORED", "STATE"];
    let row = |it: &RegistryView| {
        let state = if it.trashed_until.is_some() { "in the trash" } else { "ready" };
        [
            it.name.clone(),
            it.project.clone(),
            yes_or_no(it.public_pull),
            it.repositories.to_string(),
            it.artifacts.to_string(),
            bytes(it.bytes),
            state.to_owned(),
        ]
    };
    table(&head, all.iter().map(row))
}

fn keys(all: &[KeyView]) -> String {
    if all.is_empty() {
        return "There is no access key: `roadstead key create` makes one.\n".to_owned();
    }
    let row = |it: &KeyView| {
        let state = match it {
            it if it.revoked.is_some() => "revoked",
            it if !it.living => "expired",
            _ => "living",
        };
        let used = it.used.map_or_else(|| "never".to_owned(), time);
        [it.key_id.clone(), it.person.clone(), state.to_owned(), time(it.created), used, it.description.clone()]
    };
    table(&["KEY ID", "PERSON", "STATE", "CREATED", "LAST USED", "DESCRIPTION"], all.iter().map(row))
}

fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(line).collect()
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// A time as people read it, UTC.
fn time(micros: i64) -> String {
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A size as people read it.
pub fn bytes(bytes: i64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["longer".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["X", "Y"], rows.into_iter()), "X       Y\na       long cell\nlonger  b\n");
    }

    #[test]
    fn programs_get_times_in_rfc_3339() {
        let text = for_programs(&Outcome::DatabaseTime(1_700_000_000_000_000));
        assert_eq!(text, "{\n  \"now\": \"2023-11-14T22:13:20Z\"\n}\n");
    }

    #[test]
    fn sizes_and_times_are_read_at_a_glance() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 40)], ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]);
        assert_eq!(time(1_700_000_000_000_000), "2023-11-14 22:13 UTC");
    }
}
