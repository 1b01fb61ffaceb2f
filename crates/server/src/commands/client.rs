//! Commands that go to a service: over its API, or, some of them, past it to the service of this machine.
//!
//! Nothing is guessed: what could mean two services is refused ([`target`]).

use std::path::Path;

use roadstead_cli::{Code, Failure, Service};
use roadstead_cli::{Environment, Flags, Verb, World, completion, key, output::Output, registry};
use serde_json::Value;

use super::arguments::{Arguments, Common};
use super::execute::{Command, Outcome};
use super::{output, run};
use crate::config::{Config, Sources};
use clap::CommandFactory as _;

/// Variables that say where the service of this machine keeps its data.
const OF_THE_MACHINE: [&str; 3] = ["ROADSTEAD_CONFIG", "ROADSTEAD_DATA_DIR", "ROADSTEAD_DATABASE_URL"];
/// Where a service without configuration keeps its data, from where it was started.
const USUAL_DATA: &str = "./roadstead-data";

/// Where a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// To the service of this machine, past its API.
    Machine,
    /// To the API of a service.
    Service,
}

/// Does what was typed, where it belongs.
///
/// # Errors
/// What was in the way.
pub(super) async fn run(verb: Verb, common: &Common, sources: &Sources) -> Result<(), Failure> {
    let world = World::real(Environment::new(sources.environment.clone()));
    if let Verb::Completion { shell } = verb {
        return completion(shell, &mut Arguments::command(), &world);
    }
    let local_data = Path::new(USUAL_DATA).is_dir();
    match target(common, &world.environment, has_a_local_form(&verb), local_data)? {
        Target::Service => roadstead_cli::run(verb, &common.client, &world).await,
        Target::Machine => {
            let config = Config::load(sources).map_err(|error| Failure::other(error.to_string()))?;
            here(verb, &config, &common.client, &world).await
        }
    }
}

/// Whether a command works past the API too, for who can't sign in yet or any more.
fn has_a_local_form(verb: &Verb) -> bool {
    match verb {
        Verb::Registry { command } => {
            !matches!(command, registry::Command::Change { .. } | registry::Command::Restore { .. })
        }
        Verb::Key { .. } => true,
        _ => false,
    }
}

/// Where a command goes. `local_data`: the working directory holds the data of a service.
fn target(common: &Common, environment: &Environment, both: bool, local_data: bool) -> Result<Target, Failure> {
    let flags =
        [("--local", common.local), ("--config", common.config.is_some()), ("--data-dir", common.data_dir.is_some())];
    let machine = flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag);
    let remote = [("--remote", common.remote), ("--context", common.client.context.is_some())];
    let remote = remote.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag);
    match (machine, remote) {
        (Some(machine), Some(remote)) => {
            let words = format!(
                "`{machine}` means the service of this machine, and `{remote}` one that is signed in at: say one"
            );
            return Err(Failure::usage(words));
        }
        (Some(machine), None) if !both => {
            let words =
                format!("`{machine}` can't be here: this goes over the API, so sign in with `roadstead login URL`");
            return Err(Failure::usage(words));
        }
        (Some(_), None) => return Ok(Target::Machine),
        (None, Some(_)) => return Ok(Target::Service),
        (None, None) if !both => return Ok(Target::Service),
        (None, None) => {}
    }
    let variable = OF_THE_MACHINE.into_iter().find(|name| environment.get(name).is_some());
    let here = variable.map(|name| format!("{name} is set")).or(local_data.then(|| format!("{USUAL_DATA} is here")));
    match (here, Service::find(None, environment)?) {
        (Some(here), Some(there)) => Err(Failure::usage(format!(
            "this could mean the service of this machine ({here}) or {} ({}): say `--local` or `--remote`",
            there.host(),
            there.named_by()
        ))),
        (Some(_), None) => Ok(Target::Machine),
        (None, Some(_)) => Ok(Target::Service),
        (None, None) => Err(Failure::new(
            Code::SignedOut,
            "not signed in, and no service of this machine is named: `roadstead login URL`, or `--local` where the data or the configuration of a service is",
        )),
    }
}

/// Past the API, at the service of this machine.
async fn here(verb: Verb, config: &Config, flags: &Flags, world: &World) -> Result<(), Failure> {
    let (terminal, now) = (world.terminal.as_ref(), world.clock.now());
    let output = Output::new(terminal, flags.output, now);
    let (command, limit) = match verb {
        Verb::Registry { command: registry::Command::Create { public_endpoint: Some(_), .. } } => {
            return Err(Failure::usage(
                "`--public-endpoint` is said over the API alone: sign in with `roadstead login URL`",
            ));
        }
        Verb::Registry {
            command: registry::Command::Create { name, public, project, bucket, description, public_endpoint: None },
        } => (Command::RegistryCreate { name, project, bucket, public, description }, None),
        Verb::Registry { command: registry::Command::List { paging } } => (Command::RegistryList, paging.limit),
        Verb::Registry { command: registry::Command::Show { name } } => (Command::RegistryShow { name }, None),
        Verb::Registry { command: registry::Command::Delete { name, deletion } } => {
            deletion.confirm(terminal, &format!("The registry {name} of this machine"), registry::FATE, &name)?;
            (Command::RegistryDelete { name }, None)
        }
        Verb::Key { command: key::Command::Create { person, description, days } } => {
            let person = person.unwrap_or_else(|| "administrator".to_owned());
            (Command::KeyCreate { person, description, days }, None)
        }
        Verb::Key { command: key::Command::List { person, paging } } => (Command::KeyList { person }, paging.limit),
        Verb::Key { command: key::Command::Delete { key_id } } => (Command::KeyRevoke { key_id }, None),
        _ => return Err(Failure::usage("this goes over the API alone: sign in with `roadstead login URL`")),
    };
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match run::run(config, command).await.map_err(Failure::other)? {
        Outcome::Created(of) => {
            let value = output::registry(&of);
            output.done(&value, &registry::made(&value, "HOST"))
        }
        Outcome::Registry(of) => output.one(registry::CARD, &output::registry(&of)),
        Outcome::Registries(all) => {
            let items = all.iter().take(limit).map(output::registry).collect();
            output.all(registry::COLUMNS, registry::EMPTY, items)
        }
        Outcome::Deleted(of) => output.done(&Value::Null, &format!("The registry {} lies in the trash.", of.name)),
        Outcome::NewKey(of) => {
            let value = output::new_key(&of);
            output.done(&value, &key::made(&value, "HOST"))
        }
        Outcome::Keys(all) => {
            let items = all.iter().take(limit).map(|it| output::key(it, now)).collect();
            output.all(key::COLUMNS_OF_ALL, key::EMPTY, items)
        }
        Outcome::Revoked { key_id } => output.done(&Value::Null, &key::revoked(&key_id)),
        Outcome::DatabaseTime(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const CI: [(&str, &str); 3] =
        [("ROADSTEAD_URL", "https://r.test"), ("ROADSTEAD_KEY_ID", "RSK"), ("ROADSTEAD_SECRET", "s3cret")];
    const SET: (&str, &str) = ("ROADSTEAD_DATA_DIR", "/var/lib/roadstead");

    fn typed(line: &str, variables: &[(&str, &str)], local_data: bool) -> Result<Target, Code> {
        let arguments = Arguments::try_parse_from(line.split(' ')).expect(line);
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let Some(super::super::arguments::Verb::Client(verb)) = &arguments.verb else { panic!("{line}") };
        let environment = Environment::new(variables);
        target(&arguments.common, &environment, has_a_local_form(verb), local_data).map_err(|failure| failure.code())
    }

    #[test]
    fn what_could_mean_two_services_is_refused() {
        let line = "roadstead registry create team";
        for (variables, local_data, goes) in [
            (&[][..], false, Err(Code::SignedOut)),
            (&[], true, Ok(Target::Machine)),
            (&[SET], false, Ok(Target::Machine)),
            (&CI, false, Ok(Target::Service)),
            (&CI, true, Err(Code::Usage)),
            (&[SET, CI[0], CI[1], CI[2]], false, Err(Code::Usage)),
        ] {
            assert_eq!(typed(line, variables, local_data), goes, "{variables:?} {local_data}");
        }
    }

    #[test]
    fn a_flag_decides() {
        let all = [SET, CI[0], CI[1], CI[2]];
        for (flag, goes) in [
            ("--local", Target::Machine),
            ("--data-dir x", Target::Machine),
            ("--config x", Target::Machine),
            ("--remote", Target::Service),
            ("--context x", Target::Service),
        ] {
            assert_eq!(typed(&format!("roadstead key list {flag}"), &all, true), Ok(goes), "{flag}");
        }
        for flags in ["--local --remote", "--config x --context y"] {
            assert_eq!(typed(&format!("roadstead key list {flags}"), &all, true), Err(Code::Usage), "{flags}");
        }
    }

    #[test]
    fn what_only_the_api_does_goes_there() {
        for line in ["roadstead tag list team/app", "roadstead registry change team --public true", "roadstead whoami"]
        {
            assert_eq!(typed(line, &[SET], true), Ok(Target::Service), "{line}");
            assert_eq!(typed(&format!("{line} --local"), &[SET], true), Err(Code::Usage), "{line}");
        }
    }
}
