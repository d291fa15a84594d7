//! `pleach man`

use super::common::{Common, refuse_to_overwrite};
use super::{exit, output};
use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Command};
use clap_mangen::Man;
use pleach_core::checkpoint::write_atomically;
use serde::Serialize;
use std::fs;
use std::path::PathBuf;

/// Write the manual pages, one a verb
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The folder, made if it is not there, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Overwrite pages
    #[arg(short, long)]
    force: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    files: Vec<String>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let mut commands = Vec::new();
    collect(&command, &mut commands);
    let mut pages = Vec::with_capacity(commands.len());
    for command in commands {
        let man = Man::new(command);
        let path = args.folder.join(man.get_filename());
        refuse_to_overwrite(&path, args.force)?;
        let mut page = Vec::new();
        man.render(&mut page)?;
        pages.push((path, page));
    }
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {folder}"))?;
    for (path, page) in &pages {
        write_atomically(path, |file| file.write_all(page))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let files: Vec<String> = pages.iter().map(|(path, _)| output::shown(path)).collect();
    if common.json {
        output::json(&Document { schema: "pleach.man/1", files })?;
    } else {
        let (count, first) = (files.len(), &files[0]);
        output::print(&format!(
            "{count} manual pages are in {folder}; read one with man {first}\n"
        ))?;
    }
    Ok(exit::OK)
}

/// A command, and all below it.
fn collect(command: &Command, found: &mut Vec<Command>) {
    found.push(command.clone());
    command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .for_each(|verb| collect(verb, found));
}
