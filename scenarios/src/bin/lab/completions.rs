//! `lab completions`: what a shell needs to complete its commands and options.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use harness::Failure;

/// Arguments of `lab completions`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It completes the word `lab`, so give that name to `cargo lab` first:\n  \
    bash, zsh: alias lab='cargo lab'; source <(cargo lab completions bash)\n  \
    fish: alias lab 'cargo lab'; cargo lab completions fish | source\n\
    zsh looks behind aliases unless told otherwise: setopt complete_aliases"
)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Generated into memory: a reader that goes away early is an error, and no panic.
    let mut script = Vec::new();
    let mut command = crate::Arguments::command().bin_name("lab");
    clap_complete::generate(arguments.shell, &mut command, "lab", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn each_shell_gets_the_commands_there_are() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            let mut command = crate::Arguments::command().bin_name("lab");
            clap_complete::generate(*shell, &mut command, "lab", &mut script);
            let script = String::from_utf8_lossy(&script);
            for word in ["verify", "scenario", "k3s-image", "before"] {
                assert!(script.contains(word), "{shell}: no {word:?}");
            }
        }
    }
}
