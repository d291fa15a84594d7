//! `pleach config`

use super::Settings;
use super::layers::{Key, Layers, Origin, Settled};
use super::planned::settle;
use crate::cli::common::Common;
use crate::cli::{exit, output, prune, train};
use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::Value;

/// Show the settings of a run, where each is from, and which are not read beside the others
///
/// A flag beats the environment, that a file, that a preset, that the default. Variables are PLEACH_TRAIN__KEY and
/// PLEACH_PRUNE__KEY, in capitals and with two underscores for a dot: PLEACH_PRUNE__CON_ENT__BINS=16.
#[derive(ClapArgs)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show every key, its value and where that is from
    Show(ShowArgs),
}

#[derive(ClapArgs)]
struct ShowArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Of training, with these flags
    Train(Box<train::Args>),
    /// Of pruning, with these flags
    Prune(Box<prune::Args>),
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    verbs: Vec<OfVerb>,
}

#[derive(Serialize)]
struct OfVerb {
    verb: &'static str,
    keys: Vec<Key>,
}

pub(in crate::cli) fn run(common: &Common, args: &Args) -> Result<u8> {
    let Action::Show(ShowArgs { verb }) = &args.action;
    let verbs = match verb {
        Some(Verb::Train(args)) => {
            let (config, resume) = (args.config.config.as_deref(), args.resume.as_deref());
            vec![of::<train::File>(settle(resume, config, |file| args.layers(common, file))?)]
        }
        Some(Verb::Prune(args)) => {
            let (config, resume) = (args.config.config.as_deref(), args.resume.as_deref());
            vec![of::<prune::File>(settle(resume, config, |file| args.layers(common, file))?)]
        }
        None => vec![of_environment::<train::File>()?, of_environment::<prune::File>()?],
    };
    if common.json {
        output::json(&Document { schema: "pleach.config/1", verbs })?;
    } else {
        output::print(&text(&verbs))?;
    }
    Ok(exit::OK)
}

fn of<T: Settings>(settled: Settled<T>) -> OfVerb {
    OfVerb { verb: T::VERB, keys: settled.keys }
}

/// What holds without flags.
fn of_environment<T: Settings>() -> Result<OfVerb> {
    let mut layers = Layers::over(&T::default());
    layers.environment(T::VERB, super::variables())?;
    Ok(of::<T>(layers.settle()?))
}

fn text(verbs: &[OfVerb]) -> String {
    let tables = verbs.iter().map(|OfVerb { verb, keys }| {
        let rows = keys.iter().map(|Key { key, value, origin, unread }| {
            let value = match value {
                Value::Null => "unset".to_owned(),
                Value::String(text) if text.is_empty() => "unset".to_owned(),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let origin = match origin {
                Origin::Default => "default".to_owned(),
                Origin::Preset(name) => format!("preset {name}"),
                Origin::File(name) => format!("file {name}"),
                Origin::Environment(name) => format!("environment {name}"),
                Origin::Flag(name) => format!("flag {name}"),
            };
            let unread = unread.map_or(String::new(), |why| format!("; not read: {why}"));
            vec![key.clone(), value, origin + &unread]
        });
        let table = output::listing(&[verb, "value", "from"], rows.collect());
        format!("{table}\n")
    });
    tables.collect::<String>().trim_end().to_owned()
}
