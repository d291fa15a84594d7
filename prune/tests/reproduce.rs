//! The whole job, on a network and with settings that take seconds.

mod common;

use common::{dataset, small_graph};
use pleach_core::checkpoint::Meta;
use pleach_core::network::Network;
use pleach_kernels::{Context, Isa};
use pleach_prune::bias_update::BiasUpdate;
use pleach_prune::compare::{CompareConfig, compare};
use pleach_prune::phases::{self, Phases, PruneConfig};
use pleach_prune::report::{self, Report};
use pleach_prune::reproduce::{
    self, Base, Job, ReproduceConfig, ReproduceError, ReproduceObserver,
};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run;
use pleach_prune::trainer::{Observer, Silent, StepReport, TrainConfig};
use std::fs;
use std::ops::ControlFlow;

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 2)
}

fn untrained() -> Network {
    Network::init(small_graph(), 3)
}

fn config() -> ReproduceConfig {
    let prune = PruneConfig {
        max_drop: 100.0,
        target: Some(pleach_prune::target::Target {
            unit: pleach_prune::target::Unit::Macs,
            amount: "1.5x".parse().expect("an amount"),
        }),
        epochs_budget: Some(0.1),
        calibration: 100,
        ..PruneConfig::default()
    };
    ReproduceConfig {
        model: "small".into(),
        train: TrainConfig { epochs: 0.2, ..TrainConfig::default() },
        runs: vec![
            ("both".into(), prune.clone()),
            ("layerwise".into(), PruneConfig { phases: Phases::Layerwise, ..prune }),
        ],
        shares: vec![0.25, 0.5],
        calibration: 100,
        latency_seconds: 0.001,
        seed: 42,
    }
}

fn reproduce(
    run: &RunDir,
    resume: bool,
    base: Option<Base>,
    observer: &mut dyn ReproduceObserver,
) -> Result<Report, ReproduceError> {
    let meta = Meta { model: "small".into(), ..Meta::default() };
    let (cx, dataset) = (context(), dataset());
    let job = Job { cx: &cx, dataset: &dataset, run, meta: &meta, resume };
    reproduce::run(&job, &config(), base, untrained, observer)
}

fn folder() -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(Some(folder.path()), "reproduce", false).expect("it is empty");
    (folder, run)
}

/// Lists the parts that begin, and stops before the last of a part's progress.
#[derive(Default)]
struct Stopping {
    parts: Vec<String>,
    stop_in: &'static str,
}

impl Observer for Stopping {
    fn step(&mut self, _: &StepReport) -> bool {
        true
    }
}

impl phases::RunObserver for Stopping {
    fn event(&mut self, _: &phases::Event<'_>) {}
}

impl train_run::RunObserver for Stopping {
    fn event(&mut self, _: &train_run::Event<'_>) {}
}

impl ReproduceObserver for Stopping {
    fn part(&mut self, title: &str) {
        self.parts.push(title.into());
    }

    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        let stops = self.parts.last().is_some_and(|part| part == self.stop_in);
        if stops && done + 1 == of { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn the_whole_job_leaves_its_report_its_tables_and_its_networks() {
    let (_folder, run) = folder();
    let report = reproduce(&run, false, None, &mut Silent).expect("it works");
    let written = fs::read_to_string(run.file(reproduce::REPORT)).expect("it is written");
    assert_eq!(serde_json::from_str::<Report>(&written).expect("it is a report"), report);

    assert_eq!(report.runs.len(), 2);
    for run_report in &report.runs {
        let network = format!("{}/pruned.safetensors", run_report.name);
        let saved = pleach_core::checkpoint::load(&run.file(&network)).expect("it is saved");
        assert_eq!(saved.network.graph().macs(), run_report.pruned.macs);
        assert!(run_report.target_met && run_report.pruned.macs * 3 <= run_report.base.macs * 2);
        // Channels take memory by sixteens, of which each layer of this network has at most one.
        assert_eq!(run_report.activation_bytes, report.base.activation_bytes);
    }
    // Batch norm does not follow every layer of this network, so that criterion has no curve.
    let names: Vec<&str> = report.curves.iter().map(|curve| curve.criterion.as_str()).collect();
    assert!(names.contains(&"l1") && !names.contains(&"bn_scale"), "{names:?}");
    let training = report.base.training.as_ref().expect("it was trained here");
    assert_eq!((training.epochs, training.best_epoch), (1, 1));

    let tables = report::tables(&report);
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    assert_eq!(names, ["phases", "speed", "criteria", "bias-updates", "paper"]);
    for table in &tables {
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.name);
        let csv = fs::read_to_string(run.file(&format!("{}.csv", table.name))).expect("written");
        assert_eq!(csv, table.to_csv());
    }
    let accuracy = format!("{:.2}", 100.0 * report.runs[1].pruned.accuracy);
    assert_eq!(tables[0].rows[2][..2], ["layerwise".to_owned(), accuracy]);
    let markdown = fs::read_to_string(run.file(reproduce::TABLES)).expect("written");
    assert_eq!(markdown, report::to_markdown(&report));
}

#[test]
fn a_job_that_was_interrupted_goes_on_with_the_part_it_was_in() {
    let (_folder, run) = folder();
    let mut first = Stopping { stop_in: "speed", ..Stopping::default() };
    let stopped = reproduce(&run, false, None, &mut first);
    assert!(matches!(stopped, Err(ReproduceError::Interrupted)), "{stopped:?}");
    let all =
        ["training small", "pruning: both", "pruning: layerwise", "criteria side by side", "speed"];
    assert_eq!(first.parts, all);
    assert!(!run.file(reproduce::REPORT).exists());

    let mut second = Stopping::default();
    let report = reproduce(&run, true, None, &mut second).expect("it goes on");
    assert_eq!(second.parts, ["speed"]);
    assert_eq!(report.runs.len(), 2);

    let mut anew = Stopping { stop_in: "criteria side by side", ..Stopping::default() };
    assert!(reproduce(&run, false, None, &mut anew).is_err());
    assert_eq!(anew.parts, all[..4], "nothing of an earlier job counts without asking");
}

#[test]
fn a_base_that_is_given_is_not_trained() {
    let (_folder, run) = folder();
    let mut observer = Stopping { stop_in: "criteria side by side", ..Stopping::default() };
    let base = Base { name: "mine".into(), network: untrained() };
    assert!(reproduce(&run, false, Some(base), &mut observer).is_err());
    assert_eq!(observer.parts, ["pruning: both", "pruning: layerwise", "criteria side by side"]);
}

#[test]
fn a_part_that_is_not_one_is_refused_by_its_path() {
    let (_folder, run) = folder();
    fs::create_dir(run.file("base")).expect("a folder");
    fs::write(run.file("base/training.json"), "{\"epochs\": -1}").expect("a file");
    let error = reproduce(&run, true, None, &mut Silent).expect_err("it is no part");
    assert!(error.to_string().contains("training.json: expected a part"), "{error}");
}

#[test]
fn every_layer_loses_the_same_share_and_accuracy_is_that_of_the_network_left() {
    let network = untrained();
    let config = CompareConfig {
        curves: vec![("l1".into(), BiasUpdate::None), ("random".into(), BiasUpdate::MaxEntropy)],
        shares: vec![0.0, 0.5],
        calibration: 50,
        ..CompareConfig::every_criterion(&network, 1)
    };
    let mut calls = Vec::new();
    let curves = compare(&context(), &dataset(), &network, &config, &mut |done, of| {
        calls.push((done, of));
        ControlFlow::Continue(())
    });
    let curves = curves.expect("both can score it");
    assert_eq!(calls, [(0, 4), (1, 4), (2, 4), (3, 4)]);
    let whole = pleach_prune::eval::evaluate(
        &context(),
        &network,
        &dataset(),
        pleach_datasets::Split::Validation,
        None,
    );
    for curve in &curves {
        assert_eq!(curve.points[0].accuracy, whole.accuracy, "nothing removed");
        // 8 channels of 3x3 over 3 at 16x16, 16 over 8 at 8x8, 10 over 16; half of each is left.
        assert_eq!(curve.points[0].macs, 8 * 27 * 256 + 16 * 72 * 64 + 160);
        assert_eq!(curve.points[1].macs, 4 * 27 * 256 + 8 * 36 * 64 + 80);
        assert_eq!(curve.points[1].removed, 12);
    }
}

#[test]
fn phase_two_alone_prunes_once_by_the_same_share_of_every_layer() {
    let config = PruneConfig {
        phases: Phases::Layerwise,
        target: Some(pleach_prune::target::Target {
            unit: pleach_prune::target::Unit::Channels,
            amount: "50%".parse().expect("an amount"),
        }),
        max_drop: 100.0,
        epochs_budget: Some(0.0),
        calibration: 50,
        ..PruneConfig::default()
    };
    let outcome = phases::run(&context(), &dataset(), &untrained(), "small", &config, &mut Silent)
        .expect("ok");
    assert_eq!(pleach_core::models::widths(outcome.network.graph()), [4, 8]);
    assert_eq!((outcome.steps.len(), outcome.epochs), (1, 0.0));
}
