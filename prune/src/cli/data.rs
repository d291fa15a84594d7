//! `pleach data`

use super::common::{Common, DataArgs};
use super::config::Origin;
use super::exit::{self, usage};
use super::interrupt;
use super::output::{self, grouped, table};
use super::progress::Progress;
use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};
use pleach_datasets::fetch::{self, OFFICIAL};
use pleach_datasets::registry::{Format, Source};
use pleach_datasets::verify::{self, Info, Report};
use pleach_datasets::{DATASETS, Split, open};
use serde::Serialize;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Show, check or download data sets
#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show what is in a data set
    Info {
        /// A folder or archive; the default is the built-in data set
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// The same
        #[command(flatten)]
        data: DataArgs,
    },
    /// Read all of a data set and check its structure and counts
    Verify {
        /// A folder or archive
        #[arg(value_name = "DIR", required_unless_present = "data")]
        folder: Option<PathBuf>,
        /// The same
        #[command(flatten)]
        data: DataArgs,
    },
    /// Download an official archive, check its sha256, and unpack it
    Fetch {
        /// The data set
        #[arg(value_parser = fetchable_names())]
        name: String,
        /// Where to put it
        #[arg(short, long, value_name = "DIR", default_value = "data")]
        out: PathBuf,
        /// The folder on the web that has the archive
        #[arg(long, value_name = "URL", default_value = OFFICIAL)]
        url: String,
    },
}

fn fetchable() -> impl Iterator<Item = (&'static str, &'static dyn Format)> {
    DATASETS.iter().filter_map(|kind| match kind.source {
        Source::Files(format) => Some((kind.name, format)),
        Source::BuiltIn(_) => None,
    })
}

fn fetchable_names() -> clap::builder::PossibleValuesParser {
    fetchable().map(|(name, _)| name).collect::<Vec<_>>().into()
}

/// Where the data is: as the argument says, else as `--data` or the environment does.
fn place<'a>(
    common: &Common,
    folder: Option<&'a Path>,
    data: &'a DataArgs,
) -> Result<Option<&'a Path>> {
    let other = data.data.as_deref();
    match (folder, other, common.origin("data")) {
        (Some(folder), Some(other), Origin::Flag(flag)) => {
            let (folder, other) = (folder.display(), other.display());
            Err(usage(format!("{folder} and {flag} {other}: name one data set")))
        }
        (folder, other, _) => Ok(folder.or(other)),
    }
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    match &args.verb {
        Verb::Info { folder, data } => {
            let dataset = open(place(common, folder.as_deref(), data)?)?;
            show_info(common, &verify::info(&*dataset))?;
        }
        Verb::Verify { folder, data } => {
            let path = place(common, folder.as_deref(), data)?;
            let path = path.ok_or_else(|| usage("name the data set to verify"))?;
            show_report(common, &verify::verify(path)?)?;
        }
        Verb::Fetch { name, out, url } => {
            let found = fetchable().find(|(known, _)| known == name);
            let (_, format) = found.ok_or_else(|| usage(format!("{name} cannot be fetched")))?;
            interrupt::listen()?;
            let progress = Progress::new(common.style());
            progress.line(&format!("fetching {name} from {url} into {}", out.display()));
            let mut begun = false;
            let fetched = fetch::fetch(format, url, out, &mut |state| {
                // Before the server has answered nobody knows how much it is.
                if !begun && state.received > 0 {
                    progress.start(format!("fetching {name}"), state.total.unwrap_or(0) >> 20);
                    begun = true;
                }
                if begun {
                    progress.set(state.received >> 20, || "MiB".to_owned());
                }
                match interrupt::is_requested() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            progress.finish();
            let fetched = fetched?;
            if common.json {
                output::json(&json!({
                    "schema": "pleach.data-fetch/1",
                    "dataset": name,
                    "archive": output::shown(&fetched.archive),
                    "folder": output::shown(&fetched.folder),
                    "downloaded": fetched.downloaded,
                }))?;
            } else {
                let how = if fetched.downloaded { "downloaded" } else { "was there" };
                let (archive, folder) = (fetched.archive.display(), fetched.folder.display());
                output::print(&format!("{archive} {how}; use it with --data {folder}\n"))?;
            }
        }
    }
    Ok(exit::OK)
}

#[derive(Serialize)]
struct InfoDocument<'a> {
    schema: &'static str,
    dataset: &'a str,
    class_names: &'a [String],
    image: [usize; 3],
    images: [usize; 3],
    mean: &'a [f32],
    std: &'a [f32],
}

fn show_info(common: &Common, info: &Info) -> Result<()> {
    if common.json {
        let Info { name, class_names, image, images, mean, std } = info;
        return output::json(&InfoDocument {
            schema: "pleach.data-info/1",
            dataset: name,
            class_names,
            image: *image,
            images: *images,
            mean,
            std,
        });
    }
    output::print(&info_text(info))
}

fn info_text(info: &Info) -> String {
    let [channels, height, width] = info.image;
    let count = |split: Split| format!("{} {split}", grouped(info.images[split as usize] as u64));
    let counts: Vec<String> = Split::ALL.into_iter().map(count).collect();
    format!(
        "{}: {} classes of {channels}x{height}x{width} images: {}\nclasses: {}\nnormalised by mean {:?} \
         and standard deviation {:?}\n",
        info.name,
        info.class_names.len(),
        counts.join(", "),
        info.class_names.join(", "),
        info.mean,
        info.std
    )
}

fn show_report(common: &Common, report: &Report) -> Result<()> {
    for warning in &report.warnings {
        log::warn!("{warning}");
    }
    if common.json {
        let files = report.files.iter().map(|file| {
            let path = output::shown(&file.path);
            json!({ "path": path, "bytes": file.bytes, "sha256": file.sha256 })
        });
        return output::json(&json!({
            "schema": "pleach.data-verify/1",
            "dataset": report.info.name,
            "path": output::shown(&report.path),
            "images": report.info.images,
            "class_counts": report.class_counts,
            "mean": report.mean,
            "std": report.std,
            "files": files.collect::<Vec<_>>(),
            "warnings": report.warnings,
        }));
    }
    let files = report.files.iter().map(|file| {
        vec![file.path.display().to_string(), grouped(file.bytes), file.sha256.clone()]
    });
    let names = report.info.class_names.iter().enumerate();
    let classes = names.map(|(class, name)| {
        let counts = report.class_counts.iter().map(|counts| grouped(counts[class] as u64));
        [name.clone()].into_iter().chain(counts).collect()
    });
    output::print(&format!(
        "{}\n{}\n{}\n{} is whole\n",
        info_text(&report.info),
        table(&["file", "bytes", "sha256"], files.collect()),
        table(&["images of class", "train", "validation", "test"], classes.collect()),
        report.path.display()
    ))
}
