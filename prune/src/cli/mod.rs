//! The command line: one file a verb.

mod bench;
mod common;
mod compare;
mod completions;
mod config;
mod data;
mod env;
mod eval;
mod exit;
mod export;
mod import;
mod inspect;
mod interrupt;
mod lines;
mod links;
mod man;
mod output;
mod progress;
mod prune;
mod report;
mod reproduce;
mod train;
mod trainable;
mod weights;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use common::Common;
use pleach_core::models::MODELS;
use pleach_datasets::DATASETS;
use std::process::ExitCode;

/// Trains CNNs, prunes their filters by conditional entropy, and measures what that does to their
/// speed on this CPU.
///
/// A network (NET) is a file (a checkpoint, a state dict of PyTorch's in .pth or .safetensors, an ONNX
/// model), a model's name, or a model at given widths (vgg16:21,43,67,...), which has random weights. Without --data, every verb uses the built-in data
/// set.
#[derive(Parser)]
#[command(name = "pleach", version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed while running
  2    wrong command line or configuration
  3    a check failed, or a target was missed
  4    training diverged; the last good checkpoint is kept
  130  interrupted, after saving; 143 likewise";

#[derive(Subcommand)]
enum Verb {
    Train(train::Args),
    Prune(Box<prune::Args>),
    Eval(eval::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Compare(compare::Args),
    Import(import::Args),
    Export(export::Args),
    Data(data::Args),
    Config(Box<config::Args>),
    Completions(completions::Args),
    Man(man::Args),
    Env(env::Args),
    Reproduce(reproduce::Args),
    Report(report::Args),
}

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    // What colour the parser's own messages have is decided before it has parsed anything.
    let color = common::color_before_parsing(std::env::args_os());
    let matches = command().color(color).try_get_matches();
    let cli = matches.and_then(|matches| {
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.common.note_environment(&matches);
        Ok(cli)
    });
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(1);
            // There is nobody left to tell if even this cannot be written.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let colored = cli.common.start_logging(color);
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let label = if colored { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
            output::tell(&format!("{label} {}", message(&error)));
            ExitCode::from(exit::code(&error))
        }
    }
}

/// The parser, with what there is to choose from in its help.
fn command() -> clap::Command {
    let models = MODELS.iter().map(|model| format!("  {:<18} {}\n", model.name, model.about));
    let data = DATASETS.iter().map(|kind| format!("  {:<18} {}\n", kind.name, kind.summary));
    let (models, data) = (models.collect::<String>(), data.collect::<String>());
    Cli::command().after_help(format!("Models:\n{models}\nData sets:\n{data}\n{EXIT_CODES}"))
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let common = &cli.common;
    match &cli.verb {
        Verb::Train(args) => train::run(common, args),
        Verb::Prune(args) => prune::run(common, args),
        Verb::Eval(args) => eval::run(common, args),
        Verb::Bench(args) => bench::run(common, args),
        Verb::Inspect(args) => inspect::run(common, args),
        Verb::Compare(args) => compare::run(common, args),
        Verb::Import(args) => import::run(common, args),
        Verb::Export(args) => export::run(common, args),
        Verb::Data(args) => data::run(common, args),
        Verb::Config(args) => config::run(common, args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(common, args),
        Verb::Reproduce(args) => reproduce::run(common, args),
        Verb::Report(args) => report::run(common, args),
        Verb::Env(args) => env::run(common, args),
    }
}

/// An error and its causes in one line, without what a cause only repeats.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file");
        assert_eq!(message(&error), "cannot read x: no such file");
        let error = anyhow::anyhow!("no such file").context("cannot read x");
        assert_eq!(message(&error), "cannot read x: no such file");
    }
}
