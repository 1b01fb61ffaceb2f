//! Gathers what was given: the file, the environment, the flags, in this order, so that the last one wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use roadstead_model::{BucketName, NameError};
use roadstead_registry::DEFAULT_BUCKET;
use toml::{Table, Value};

use super::Sources;
use super::parser::Parser;
use super::settings::{FURTHER_BUCKETS, SECTIONS, Setting, all};

/// What names of settings of a further bucket begin with.
const IN_BUCKETS: &str = "buckets.";

/// Variables that a Kubernetes Service named `roadstead` puts into every container beside it.
const OF_KUBERNETES: &[&str] = &["ROADSTEAD_SERVICE_", "ROADSTEAD_PORT_"];

/// The texts that were given, by the name of their setting.
#[derive(Default)]
pub(super) struct Given {
    texts: BTreeMap<String, (String, String)>,
    buckets: BTreeSet<BucketName>,
}

impl Given {
    fn put(&mut self, name: &str, text: String, place: String) {
        self.texts.insert(name.to_owned(), (text, place));
    }

    /// Makes a further bucket known.
    fn add_bucket(&mut self, name: &str) -> Result<(), String> {
        if name == DEFAULT_BUCKET {
            return Err(format!("the bucket `{name}` is the one in [bucket]"));
        }
        self.buckets.insert(name.parse().map_err(|error: NameError| error.to_string())?);
        Ok(())
    }

    /// Names of the further buckets of which something was given.
    pub(super) fn buckets(&self) -> impl Iterator<Item = &BucketName> {
        self.buckets.iter()
    }

    /// The value of one setting: given, or its default.
    pub(super) fn read<T: 'static>(
        &self,
        name: &str,
        parser: &Parser<T>,
        default: &str,
        problems: &mut Vec<String>,
    ) -> Option<T> {
        let Some((text, place)) = self.texts.get(name) else {
            let value = parser.parse(default);
            if value.is_none() {
                problems.push(format!("{name} has a default that is not {}: a fault of the program", parser.form));
            }
            return value;
        };
        let value = parser.parse(text.trim());
        if value.is_none() {
            let given = if parser.secret { "what was given".to_owned() } else { format!("{text:?}") };
            problems.push(format!("{name} ({place}): {given} is wrong, it must be {}", parser.form));
        }
        value
    }
}

/// Reads all sources; what can't be read goes to the problems.
pub(super) fn gather(sources: &Sources) -> (Given, Vec<String>) {
    let Some(path) = file_of(sources) else { return gather_from(None, sources) };
    let place = path.display().to_string();
    match fs::read_to_string(&path) {
        Ok(text) => gather_from(Some((&place, &text)), sources),
        Err(error) => {
            let (given, mut problems) = gather_from(None, sources);
            problems.insert(0, format!("the file {place} can't be read: {error}"));
            (given, problems)
        }
    }
}

/// Reads a file by its name and text, and all sources that are not files.
pub(super) fn gather_from(file: Option<(&str, &str)>, sources: &Sources) -> (Given, Vec<String>) {
    let (settings, mut given, mut problems) = (all(), Given::default(), Vec::new());
    if let Some((place, text)) = file {
        read_file(place, text, &settings, &mut given, &mut problems);
    }
    read_environment(sources, &settings, &mut given, &mut problems);
    for (name, value) in &sources.flags {
        given.put(name, value.clone(), format!("--{}", name.replace('_', "-")));
    }
    (given, problems)
}

fn file_of(sources: &Sources) -> Option<PathBuf> {
    let variable = || {
        let found = sources.environment.iter().find(|(name, _)| name == "ROADSTEAD_CONFIG");
        found.map(|(_, value)| PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty())
    };
    sources.file.clone().or_else(variable)
}

fn read_file(place: &str, text: &str, settings: &[Setting], given: &mut Given, problems: &mut Vec<String>) {
    match text.parse::<Table>() {
        Ok(table) => read_table("", &table, place, settings, given, problems),
        // The message of the parser shows the line, which may hold a secret: only where and what is told.
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            problems.push(format!("{place} is not TOML: line {line}: {}", error.message()));
        }
    }
}

fn read_table(
    prefix: &str,
    table: &Table,
    place: &str,
    settings: &[Setting],
    given: &mut Given,
    problems: &mut Vec<String>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        if let Some(setting) = find(settings, &name) {
            match text_of(value, setting.list) {
                Some(text) => given.put(&name, text, place.to_owned()),
                None => problems.push(format!(
                    "{name} ({place}): a {} is wrong, it must be {}",
                    kind_of(value),
                    setting.form
                )),
            }
        } else if let (Value::Table(inner), true) = (value, is_section(&name)) {
            if let Some(bucket) = name.strip_prefix(IN_BUCKETS)
                && let Err(words) = given.add_bucket(bucket)
            {
                problems.push(format!("[{name}] ({place}): {words}"));
                continue;
            }
            read_table(&format!("{name}."), inner, place, settings, given, problems);
        } else if is_section(&name) {
            problems.push(format!("{name} ({place}) is a section: write [{name}] and its settings below"));
        } else {
            let known: Vec<_> = match name.starts_with(IN_BUCKETS) {
                true => of_bucket(settings).map(|(_, key)| format!("{prefix}{key}")).collect(),
                false => settings.iter().map(|setting| setting.name.clone()).collect(),
            };
            let nearest = nearest(&name, known.iter().map(String::as_str));
            problems.push(format!("{name} ({place}): there is no such setting{}", did_you_mean(nearest)));
        }
    }
}

/// The setting of this name; a further bucket has those of `bucket`.
fn find<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    match name.strip_prefix(IN_BUCKETS) {
        Some(rest) => {
            let (_, key) = rest.split_once('.')?;
            of_bucket(settings).find(|(_, of)| *of == key).map(|(setting, _)| setting)
        }
        None => settings.iter().find(|setting| setting.name == name),
    }
}

/// The settings of a bucket with their names in it.
fn of_bucket(settings: &[Setting]) -> impl Iterator<Item = (&Setting, &str)> {
    settings.iter().filter_map(|setting| Some((setting, setting.name.strip_prefix("bucket.")?)))
}

fn is_section(name: &str) -> bool {
    let further_bucket = || name.strip_prefix(IN_BUCKETS).is_some_and(|rest| !rest.contains('.'));
    let known = || SECTIONS.iter().any(|(section, _)| *section == name);
    name != "general" && (known() || name == FURTHER_BUCKETS || further_bucket())
}

fn text_of(value: &Value, list: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Array(items) if list => {
            let items: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "list",
        Value::Table(_) => "section",
        Value::Float(_) => "number with a fraction",
        Value::Datetime(_) => "date",
        _ => "value of this kind",
    }
}

fn read_environment(sources: &Sources, settings: &[Setting], given: &mut Given, problems: &mut Vec<String>) {
    let by_variable: BTreeMap<String, &Setting> = settings.iter().map(|s| (s.variable(), s)).collect();
    for (variable, value) in &sources.environment {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("ROADSTEAD_")) else { continue };
        if variable == "ROADSTEAD_CONFIG" || is_foreign(variable) {
            continue;
        }
        let plain = by_variable.get(variable).map(|setting| setting.name.clone());
        let Some(name) = plain.or_else(|| in_further_bucket(variable, settings, given)) else {
            let nearest = nearest(variable, by_variable.keys().map(String::as_str));
            problems.push(format!("{variable}: there is no such variable{}", did_you_mean(nearest)));
            continue;
        };
        match value.to_str() {
            Some(text) => given.put(&name, text.to_owned(), variable.to_owned()),
            None => problems.push(format!("{variable} is not UTF-8")),
        }
    }
}

/// The setting that `ROADSTEAD_BUCKETS_NAME_KEY` gives. Keys hold `_` too: the longest that leaves a name is meant.
fn in_further_bucket(variable: &str, settings: &[Setting], given: &mut Given) -> Option<String> {
    let rest = variable.strip_prefix("ROADSTEAD_BUCKETS_")?.to_ascii_lowercase();
    let split = |key: &str| rest.strip_suffix(key)?.strip_suffix('_').map(|name| name.replace('_', "-"));
    let named = of_bucket(settings).filter_map(|(_, key)| Some((key, split(key).filter(|name| !name.is_empty())?)));
    let (key, name) = named.max_by_key(|(key, _)| key.len())?;
    given.add_bucket(&name).ok()?;
    Some(format!("{IN_BUCKETS}{name}.{key}"))
}

/// Not a setting although it begins like one: what Kubernetes adds, what commands read that go to a service, and what the
/// project's own tests use.
fn is_foreign(variable: &str) -> bool {
    variable == "ROADSTEAD_PORT"
        || roadstead_cli::VARIABLES.contains(&variable)
        || variable.starts_with("ROADSTEAD_TEST_")
        || OF_KUBERNETES.iter().any(|prefix| variable.starts_with(prefix))
}

fn did_you_mean(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; `roadstead config reference` shows all".to_owned(),
    }
}

/// The longest name that is compared with the known ones, in bytes; comparing takes time and memory.
const LONGEST_NAME: usize = 100;

/// The known name that a wrong one looks like: few letters differ, or it lacks its section.
fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if wrong.len() > LONGEST_NAME {
        return None;
    }
    let bare = wrong.strip_prefix("ROADSTEAD_").unwrap_or(wrong);
    let mut same_end = known.clone().filter(|name| {
        name.len() > bare.len() && name.ends_with(bare) && name[..name.len() - bare.len()].ends_with(['.', '_'])
    });
    if let (Some(only), None) = (same_end.next(), same_end.next()) {
        return Some(only);
    }
    let closest = known.map(|name| (distance(wrong, name), name)).min()?;
    (closest.0 <= 2.max(bare.len() / 4)).then_some(closest.1)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
