//! What can be typed. The help texts teach: each shows how it is used.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Sources;

/// A registry for container images and everything else that OCI clients push.
#[derive(Debug, Parser)]
#[command(
    name = "roadstead",
    version,
    after_help = "Examples:
  roadstead                                    start on 127.0.0.1:5000, data in ./roadstead-data
  roadstead serve --listen 0.0.0.0:5000        answer other machines too
  roadstead registry create team               make a registry: images are then HOST/team/NAME
  roadstead key create --description laptop    make another access key for `docker login`
  roadstead config check                       try the configuration, the database and the bucket
  roadstead config reference                   all settings, as a page

Commands work beside a running server: give them the same configuration."
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
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of this node's data (setting `data_dir`)
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// How results are shown
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
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
    /// Registries: make, list, show, delete
    #[command(after_help = "Examples:
  roadstead registry create team               HOST/team/NAME, for people with an access key
  roadstead registry create public --public    anyone may pull, people with an access key push
  roadstead registry list
  roadstead registry show team -o json
  roadstead registry delete team               asks for the name again; it goes to the trash")]
    Registry {
        #[command(subcommand)]
        command: RegistryCommand,
    },
    /// Access keys for `docker login`: make, list, revoke
    #[command(after_help = "Examples:
  roadstead key create --description \"build server\"    prints id and secret, the secret only this once
  roadstead key list
  roadstead key revoke RSKXXXXXXXXXXXXXXXXX           from its next request on it is refused")]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
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
}

impl Default for Verb {
    fn default() -> Self {
        Self::Serve { listen: Vec::new() }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// Make a registry
    Create {
        /// 3 to 30 lower-case letters, digits and `-`, starting with a letter
        name: String,
        /// Anyone may pull, without an access key
        #[arg(long)]
        public: bool,
        /// The project it belongs to, made if there is none of this name
        #[arg(long, default_value = "default")]
        project: String,
        /// The bucket that its blobs go to, one that the configuration names; for good
        #[arg(long)]
        bucket: Option<String>,
        /// A few words about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List the registries
    List,
    /// Show one registry
    Show {
        /// Its name
        name: String,
    },
    /// Put a registry and all it holds into the trash
    Delete {
        /// Its name
        name: String,
        /// Its name again, instead of being asked for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an access key; its secret is shown only this once
    ///
    /// It has the rights of that person: roles are given by the management API (`/api` of a running server shows it).
    Create {
        /// Whose it is
        #[arg(long, default_value = "administrator")]
        person: String,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Days after which it ends by itself, at least 1
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// List the access keys
    List {
        /// Of this person only
        #[arg(long)]
        person: Option<String>,
    },
    /// Revoke an access key: gone with its next request
    Revoke {
        /// Its id
        key_id: String,
    },
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
