//! What can be typed. The help texts teach: each shows how it is used.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use roadstead_cli::{Flags, Verb as Client};

use crate::config::Sources;

/// A registry for container images and everything else that OCI clients push.
#[derive(Debug, Parser)]
#[command(
    name = "roadstead",
    version,
    after_help = "Examples:
  roadstead                                    start on 127.0.0.1:5000, data in ./roadstead-data
  roadstead serve --listen 0.0.0.0:5000        answer other machines too
  roadstead config check                       try the configuration, the database and the bucket
  roadstead config reference                   all settings, as a page
  roadstead registry create team               make a registry: images are then HOST/team/NAME
  roadstead key create --description laptop    make another access key for `docker login`
  roadstead login registry.example.com         sign in at a service: all commands then go there
  roadstead tag list team/app                  what is in it

On the machine of a service `registry` and `key` work without signing in: where its data or configuration is, or with --local."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Read settings from this TOML file (or from the one that ROADSTEAD_CONFIG names)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of all commands")]
    pub(super) config: Option<PathBuf>,
    /// Directory of this node's data (setting `data_dir`)
    #[arg(long, global = true, value_name = "DIRECTORY", help_heading = "Options of all commands")]
    pub(super) data_dir: Option<PathBuf>,
    /// The service of this machine, past its API: with its data directory or configuration, without signing in
    #[arg(long, global = true, help_heading = "Options of all commands")]
    pub(super) local: bool,
    /// The service that is signed in at, also where this machine has one of its own
    #[arg(long, global = true, help_heading = "Options of all commands")]
    pub(super) remote: bool,
    #[command(flatten)]
    pub(super) client: Flags,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Start the service (what happens without a command, too)
    #[command(after_help = "Examples:
  roadstead serve
  roadstead serve --listen 0.0.0.0:5000 --listen '[::1]:5001' --data-dir /var/lib/roadstead
  ROADSTEAD_LISTEN=0.0.0.0:5000 roadstead serve
  roadstead serve --config /etc/roadstead.toml

SIGTERM ends it once all running requests are answered, a second SIGTERM at once. SIGHUP reads certificates again.")]
    Serve {
        /// Address to listen on, can be given several times (setting `listen`)
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Vec<String>,
    },
    /// The configuration: try it, or show all settings
    #[command(after_help = "Examples:
  roadstead config check --config /etc/roadstead.toml
  roadstead config reference > configuration.md
  roadstead config openapi > openapi.json")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    #[command(flatten)]
    Client(Client),
}

impl Default for Verb {
    fn default() -> Self {
        Self::Serve { listen: Vec::new() }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read everything, then try the database, the bucket (presigned addresses too) and the clock
    Check,
    /// Print all settings as a Markdown page
    Reference,
    /// Print the OpenAPI document of the management API
    Openapi,
}

impl Common {
    /// Where the settings come from: this process, and what was typed.
    pub(super) fn sources(&self, verb: &Verb) -> Sources {
        let mut sources = Sources { file: self.config.clone(), ..Sources::of_process() };
        if let Some(path) = &self.data_dir {
            sources.flags.push(("data_dir", path.display().to_string()));
        }
        if let Verb::Serve { listen } = verb
            && !listen.is_empty()
        {
            sources.flags.push(("listen", listen.join(",")));
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn what_can_be_typed_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_typed_means_serve() {
        let arguments = Arguments::try_parse_from(["roadstead"]).expect("right");
        assert!(matches!(arguments.verb.unwrap_or_default(), Verb::Serve { .. }));
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("roadstead {}", command.get_name())), "{}", command.get_name());
        }
    }
}
