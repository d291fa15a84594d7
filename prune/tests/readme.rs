//! What documents say of results is what they say.

use pleach_prune::prune_run::PLAN;
use pleach_prune::report::{self, NamedResult, RESULT, Table};
use pleach_prune::reproduce::Report;
use pleach_prune::run_dir::RunDir;
use std::fs;
use std::path::{Path, PathBuf};

const README: &str = include_str!("../../README.md");
const IN_FULL: &str = include_str!("../results/README.md");

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// A study that is committed.
fn study(folder: &Path) -> Report {
    let json = fs::read_to_string(folder.join("report.json")).expect("it has a report");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// A table whose columns are the rows of another that have these names.
fn columns_of(table: &Table, names: &[&str]) -> Table {
    let row = |name: &&str| table.rows.iter().find(|row| row[0] == *name).expect("it is a row");
    let chosen: Vec<&Vec<String>> =
        std::iter::once(&table.columns).chain(names.iter().map(row)).collect();
    let mut lines =
        (0..table.columns.len()).map(|i| chosen.iter().map(|row| row[i].clone()).collect());
    let columns = lines.next().expect("there are columns");
    Table { columns, rows: lines.collect(), ..table.clone() }
}

/// A document has a table, without its title.
fn assert_has(document: &str, table: &Table) {
    let markdown = table.to_markdown();
    let (_, table) = markdown.split_once("\n\n").expect("a title and a table");
    assert!(document.contains(table), "there should be this table:\n\n{table}");
}

#[test]
fn the_readmes_tables_are_those_of_the_committed_results() {
    let names = [
        "vgg16-cifar10-10x-given",
        "vgg16-cifar10-10x-140-epochs",
        "vgg16-cifar10-10x-165-epochs",
        "vgg16-cifar10-10x-cutmix",
        "vgg16-cifar10-10x-distilled",
        "resnet18-cifar10-2x",
        "resnet18-cifar10-3x",
        "resnet18-cifar10-4.2x",
        "resnet18-cifar10-4.2x-12-epochs",
        "vgg16-cifar10-10x-best",
        "vgg16-cifar10-10x-preset",
        "vgg16-cifar10-10x-2pfpce",
        "vgg16-cifar10.json",
        "vgg16-cifar10-10x",
    ];
    let runs = names.map(|name| {
        let path = committed().join(name);
        let file = if path.is_dir() { path.join(RESULT) } else { path };
        let json = fs::read_to_string(file).expect("it has a result");
        NamedResult { name: name.into(), result: serde_json::from_str(&json).unwrap() }
    });
    let all = report::runs_table(&runs);
    assert_has(IN_FULL, &all);
    let headline = [
        "vgg16-cifar10-10x-140-epochs",
        "vgg16-cifar10-10x-165-epochs",
        "resnet18-cifar10-4.2x",
        "vgg16-cifar10-10x-2pfpce",
    ];
    assert_has(README, &columns_of(&all, &headline));
    runs.iter().for_each(|run| assert_has(IN_FULL, &report::headline(&run.result)));
    let amounts = study(&committed().join("vgg16-cifar10-amounts")).rendered();
    let overview = amounts.tables.iter().find(|table| table.name == "t6-overview");
    assert_has(IN_FULL, overview.expect("T6 has an overview"));
}

#[test]
fn committed_runs_have_reports_although_their_plans_are_not_kept() {
    let folders = fs::read_dir(committed()).expect("it is there");
    let folders = folders.map(|entry| entry.unwrap().path());
    let runs: Vec<PathBuf> = folders.filter(|folder| folder.join(RESULT).exists()).collect();
    assert!(runs.len() >= 5, "{runs:?}");
    for folder in runs {
        let page = report::pruning(&RunDir::existing(&folder).unwrap());
        let page = page.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let has = |id: &str| page.sections.iter().any(|section| section.id == id);
        assert!(has("steps") && has("time"), "{}", folder.display());
        assert_eq!(has("widths"), folder.join(PLAN).exists(), "{}", folder.display());
    }
}

#[test]
fn committed_studies_have_the_tables_of_their_cells() {
    let folders =
        fs::read_dir(committed()).expect("it is there").map(|entry| entry.unwrap().path());
    let studies: Vec<PathBuf> =
        folders.filter(|folder| folder.join("report.json").exists()).collect();
    assert!(studies.len() >= 4, "{studies:?}");
    for folder in studies {
        let page = study(&folder).page();
        let written = fs::read_to_string(folder.join("report.md")).expect("it has tables");
        let name = folder.display();
        assert!(
            page.to_markdown(|figure| Some(figure.into())) == written,
            "{name}: report.md is not of report.json"
        );
        for table in page.sections.iter().flat_map(|section| &section.tables) {
            let file = folder.join(format!("{}.csv", table.name));
            let written = fs::read_to_string(&file).expect("each table is committed");
            assert!(table.to_csv() == written, "{} is not of report.json", file.display());
        }
    }
}
