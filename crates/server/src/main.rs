//! `roadstead`: see [`roadstead_server::commands`].

use std::process::ExitCode;

fn main() -> ExitCode {
    roadstead_server::commands::main()
}
