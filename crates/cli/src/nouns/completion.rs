//! `completion`: what makes a shell complete commands.

use clap::{Command, ValueEnum};
use clap_complete::{generate, shells};

use crate::{World, failure::Failure, output};

/// The shells that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Prints the script for a shell. `command` is all that can be typed.
///
/// # Errors
/// When it can't be written.
pub fn completion(shell: Shell, command: &mut Command, world: &World) -> Result<(), Failure> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    match shell {
        Shell::Bash => generate(shells::Bash, command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, command, name, &mut script),
        Shell::Fish => generate(shells::Fish, command, name, &mut script),
    }
    output::raw(world.terminal.as_ref(), &script)
}
