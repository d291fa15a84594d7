//! `pleach env`

use super::common::Common;
use super::{exit, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_prune::environment::Environment;

/// Show what this machine is and what of it is used
#[derive(ClapArgs)]
pub(super) struct Args {}

pub(super) fn run(common: &Common, _: &Args) -> Result<u8> {
    let environment = Environment::current(common.isa()?, common.thread_count()?);
    if common.json {
        output::json(&environment)?;
    } else {
        output::print(&text(&environment))?;
    }
    Ok(exit::OK)
}

fn text(env: &Environment) -> String {
    let unknown = || "unknown".to_owned();
    let memory = env.memory_bytes.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    let caches = env.caches.iter().map(|cache| match cache.bytes {
        bytes if bytes < 1 << 20 => format!("L{} {} KiB", cache.level, bytes >> 10),
        bytes => format!("L{} {} MiB", cache.level, bytes >> 20),
    });
    let caches = Some(caches.collect::<Vec<_>>().join(", ")).filter(|caches| !caches.is_empty());
    let rows = [
        ("version", format!("pleach {}", env.version)),
        ("system", format!("{} {}", env.os, env.arch)),
        ("processor", env.cpu.clone().unwrap_or_else(unknown)),
        ("cores", env.cores.to_string()),
        ("caches", caches.unwrap_or_else(unknown)),
        ("memory", memory.unwrap_or_else(unknown)),
        ("instruction set", format!("{} (of {})", env.isa, env.isas.join(", "))),
        ("threads", env.threads.to_string()),
        ("algorithms", env.algorithms.join(", ")),
        ("chosen by", "estimates that are built in (pleach bench --tune measures)".to_owned()),
    ];
    rows.into_iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
}
