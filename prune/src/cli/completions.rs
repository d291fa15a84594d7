//! `pleach completions`

use super::{exit, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use clap_complete::Shell;

/// Print a script that completes command lines in a shell
///
/// For bash: pleach completions bash > ~/.local/share/bash-completion/completions/pleach
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "pleach", &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(exit::OK)
}
