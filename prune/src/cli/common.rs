//! Flags that several verbs have, and what they become.

mod guards;
mod nets;

pub(super) use guards::{check_memory, check_place, located, refuse_data, refuse_to_overwrite};
pub(super) use nets::{model_name, net_for_data, net_for_run, warn_of_other_data};

use super::config::Origin;
use super::exit::usage;
use super::progress::Style;
use anyhow::{Context as _, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ColorChoice, ValueEnum};
use pleach_datasets::Dataset;
use pleach_kernels::{Context, Isa};
pub(super) use pleach_prune::net::meta;
use pleach_prune::reproduce;
use pleach_prune::run_dir::RunDir;
use pleach_prune::settings::{MOST_SEED, SEED};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flags of every verb.
#[derive(Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct Common {
    /// Threads; the default is all cores. `bench` and `compare` take a list: 1,2
    #[arg(
        short,
        long,
        global = true,
        value_name = "N",
        env = given("PLEACH_THREADS"),
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = threads
    )]
    pub(super) threads: Vec<usize>,
    /// Instruction set: avx512, avx2, neon or portable; the default is the best of this CPU
    #[arg(
        long,
        global = true,
        value_name = "ISA",
        env = given("PLEACH_ISA"),
        hide_env_values = true
    )]
    pub(super) isa: Option<String>,
    /// Seed of everything random [default: 42]
    #[arg(
        long,
        global = true,
        value_name = "S",
        env = given("PLEACH_SEED"),
        hide_env_values = true,
        value_parser = seed
    )]
    seed: Option<u64>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say nothing but results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more; twice, even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// How to show progress: a bar, a line an epoch, or not at all
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    progress: Progress,
    /// The arguments that the environment gives.
    #[arg(skip)]
    from_environment: BTreeSet<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Progress {
    /// A bar on a terminal, else lines
    #[default]
    Auto,
    Bar,
    Lines,
    None,
}

/// The data.
#[derive(Args)]
pub(super) struct DataArgs {
    /// CIFAR-10 or CIFAR-100: a folder with the binary files, or the official .tar.gz
    #[arg(long, value_name = "DIR", env = given("PLEACH_DATA"), hide_env_values = true)]
    pub(super) data: Option<PathBuf>,
}

/// Where a run goes.
#[derive(Args)]
pub(super) struct RunArgs {
    /// The run's folder; the default is a fresh one under runs/
    #[arg(short, long, value_name = "RUN")]
    pub(super) out: Option<PathBuf>,
    /// Overwrite the run in the folder
    #[arg(short, long)]
    pub(super) force: bool,
}

/// Whether anything is done.
#[derive(Args)]
pub(super) struct DryRunArg {
    /// Check everything, say what would be done, and write nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

/// A variable that an argument may be from; none, if it is empty, which is as if it were not there.
fn given(variable: &'static str) -> Option<&'static str> {
    std::env::var_os(variable).is_none_or(|value| !value.is_empty()).then_some(variable)
}

fn threads(text: &str) -> Result<usize, String> {
    /// More threads than this are a slip of the hand.
    const MOST: usize = 1024;
    let count = text.trim().parse::<usize>().ok().filter(|count| (1..=MOST).contains(count));
    count.ok_or_else(|| expected(&format!("a number of threads, 1 to {MOST}"), "THREADS", text))
}

fn seed(text: &str) -> Result<u64, String> {
    let seed = text.trim().parse::<u64>().ok().filter(|&seed| seed <= MOST_SEED);
    seed.ok_or_else(|| expected(SEED, "SEED", text))
}

/// What is expected instead of `text`, and whether `PLEACH_NAME` says that: the parser only names the flag.
fn expected(what: &str, name: &str, text: &str) -> String {
    let says_it = |value: String| value.split(',').any(|part| part == text) || value == text;
    match std::env::var(format!("PLEACH_{name}")).is_ok_and(says_it) {
        true => format!("expected {what} (from PLEACH_{name})"),
        false => format!("expected {what}"),
    }
}

/// What `--color` says, found before the command line is parsed.
pub(super) fn color_before_parsing(args: impl Iterator<Item = OsString>) -> ColorChoice {
    let args: Vec<String> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let value = args.iter().enumerate().find_map(|(i, arg)| match arg.strip_prefix("--color=") {
        Some(value) => Some(value),
        None if arg == "--color" => args.get(i + 1).map(String::as_str),
        None => None,
    });
    match value {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => {
            ColorChoice::Never
        }
        _ => ColorChoice::Auto,
    }
}

impl Common {
    /// Starts the log and returns whether stderr is coloured.
    pub(super) fn start_logging(&self, color: ColorChoice) -> bool {
        use env_logger::WriteStyle;
        let level = match (self.quiet, self.verbose) {
            (true, _) | (_, 0) => log::LevelFilter::Warn,
            (_, 1) => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        };
        let (colored, style) = match color {
            ColorChoice::Always => (true, WriteStyle::Always),
            ColorChoice::Never => (false, WriteStyle::Never),
            ColorChoice::Auto => (io::stderr().is_terminal(), WriteStyle::Auto),
        };
        env_logger::Builder::new()
            .filter_level(level)
            .write_style(style)
            .format_timestamp(None)
            .format_target(false)
            .init();
        colored
    }

    /// How progress is shown.
    pub(super) fn style(&self) -> Style {
        match self.progress {
            _ if self.quiet => Style::None,
            Progress::None => Style::None,
            Progress::Lines => Style::Lines,
            Progress::Bar => Style::Bar,
            Progress::Auto if io::stderr().is_terminal() => Style::Bar,
            Progress::Auto => Style::Lines,
        }
    }

    /// The seed asked for, or 42.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or(42)
    }

    /// The seed asked for.
    pub(super) fn seed_given(&self) -> Option<u64> {
        self.seed
    }

    /// Takes note of the arguments that the environment gives.
    pub(super) fn note_environment(&mut self, matches: &ArgMatches) {
        for id in matches.ids() {
            if matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable) {
                self.from_environment.insert(id.as_str().to_owned());
            }
        }
        if let Some((_, matches)) = matches.subcommand() {
            self.note_environment(matches);
        }
    }

    /// Where the value of an argument is from that is given: `--NAME` or `PLEACH_NAME`.
    pub(super) fn origin(&self, name: &str) -> Origin {
        match self.from_environment.contains(name) {
            true => Origin::Environment(format!("PLEACH_{}", name.to_uppercase())),
            false => Origin::Flag(format!("--{name}")),
        }
    }

    /// The instruction set asked for, or the best.
    pub(super) fn isa(&self) -> Result<&'static Isa> {
        let Some(name) = &self.isa else { return Ok(Isa::best()) };
        Isa::find(name).map_err(|error| usage(format!("--isa or PLEACH_ISA: {error}")))
    }

    /// The threads asked for, or all cores.
    pub(super) fn thread_count(&self) -> Result<usize> {
        match self.threads[..] {
            [] => Ok(all_cores()),
            [count] => Ok(count),
            _ => Err(usage(
                "several numbers of threads (--threads) are for bench and compare; give one",
            )),
        }
    }

    /// The numbers of threads asked for, or all cores.
    pub(super) fn thread_counts(&self) -> Vec<usize> {
        if self.threads.is_empty() { vec![all_cores()] } else { self.threads.clone() }
    }

    /// What kernels run with that are not timed, where numbers of threads are: the most of these.
    pub(super) fn context_for_any_threads(&self) -> Result<Context> {
        let most = self.thread_counts().into_iter().max();
        Ok(Context::new(self.isa()?, most.expect("there is a number")))
    }

    /// What kernels run with.
    pub(super) fn context(&self) -> Result<Context> {
        let (isa, threads) = (self.isa()?, self.thread_count()?);
        log::info!("instruction set {}, threads {threads}", isa.name);
        Ok(Context::with_this_thread(isa, threads))
    }
}

/// The cores of this machine that the process may use.
pub(super) fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A path that a flag gives, as settings files have it.
pub(super) fn utf8<'a>(flag: &str, path: Option<&'a Path>) -> Result<Option<&'a str>> {
    let no_utf8 = |path: &Path| usage(format!("{flag} {}: its name is no UTF-8", path.display()));
    path.map(|path| path.to_str().ok_or_else(|| no_utf8(path))).transpose()
}

impl DataArgs {
    /// The data's place as settings files have it.
    pub(super) fn text(&self) -> Result<Option<&str>> {
        utf8("--data", self.data.as_deref())
    }

    /// Opens the data.
    pub(super) fn open(&self) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::from(pleach_datasets::open(self.data.as_deref())?))
    }
}

impl RunArgs {
    /// Refuses, with `--force`, a folder from which a file would go that the new run reads.
    pub(super) fn spare<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        let Some(out) = self.out.as_deref().filter(|_| self.force) else { return Ok(()) };
        match inputs.into_iter().find(|input| RunDir::clears(out, input)) {
            Some(input) => Err(usage(format!(
                "{} is of the run in {}, which --force overwrites: name another folder (-o)",
                input.display(),
                out.display()
            ))),
            None => Ok(()),
        }
    }

    /// Makes the run's folder.
    pub(super) fn create(&self, verb: &str) -> Result<RunDir> {
        let run = RunDir::create(self.out.as_deref(), verb, self.force)?;
        reproduce::clear(&run)?;
        Ok(run)
    }
}

/// Reads a text file that the user named.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
