//! A study, on networks and with settings that take seconds.

mod cells;
#[path = "../common/mod.rs"]
mod common;
mod few;
mod not_finite;
mod resume;

use common::small_graph;
use few::dataset;
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::network::Network;
use pleach_core::tensor::Shape;
use pleach_datasets::Dataset;
use pleach_kernels::{Context, Isa};
use pleach_prune::bias_update::BiasUpdate;
use pleach_prune::compare::{CompareConfig, CompareObserver, compare};
use pleach_prune::criteria::ConEnt;
use pleach_prune::phases::{self, Phases, PruneConfig};
use pleach_prune::ranking::{RankingConfig, rank};
use pleach_prune::reproduce::{
    self, Effort, Found, Given, Job, Report, ReproduceError, ReproduceObserver, Settings,
};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run;
use pleach_prune::trainer::{Observer, Silent, StepReport, TrainConfig};
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 2)
}

fn untrained() -> Network {
    Network::init(small_graph(), 3)
}

/// Every table, in little time.
fn settings() -> Settings {
    let prune = PruneConfig { max_drop: 100.0, global_step: 0.3, ..PruneConfig::default() };
    Settings {
        model: "vgg-small:4,6,6,8,8,8".into(),
        narrow: "vgg-small:4,6,6,8,8,8".into(),
        narrow_nobn: Some("vgg16-nobn:4,4,4,4,4,4,4,4,4,4,4,4,4".into()),
        residual: "resnet20:4,6,8".into(),
        amounts: vec![2.0, 1.5],
        residual_amounts: vec![1.3],
        freeze_amount: 1.5,
        shares: vec![0.25, 0.5],
        effort: Effort {
            base_epochs: 1.0,
            prune_epochs: 1.0,
            curve_epochs: 0.5,
            seeds: 1,
            calibration: 60,
            ranked_filters: 2,
            latency_seconds: 0.001,
        },
        train: TrainConfig { batch: 64, ..TrainConfig::default() },
        prune,
        best: PruneConfig { calibration: 60, ..PruneConfig::best() },
        ..Settings::full(42)
    }
}

/// T1 alone.
fn t1() -> Settings {
    Settings { tables: vec!["T1".into()], ..settings() }
}

struct Study {
    _folder: tempfile::TempDir,
    run: RunDir,
    settings: Settings,
    dataset: Arc<dyn Dataset>,
    cx: Context,
}

impl Study {
    fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(Some(folder.path()), "reproduce", false).expect("it is empty");
        Self { _folder: folder, run, settings, dataset: dataset(), cx: context() }
    }

    fn job(&self) -> Job<'_> {
        let Self { run, settings, dataset, cx, .. } = self;
        Job { cx, dataset, run, settings }
    }

    fn run(
        &self,
        ids: &[&str],
        observer: &mut dyn ReproduceObserver,
    ) -> Result<(), ReproduceError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        reproduce::run(&self.job(), &ids, observer)
    }

    fn report(&self) -> Report {
        reproduce::report(&self.job()).expect("its cells can be read")
    }
}

/// Lists the cells that begin, and stops in the progress of one.
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
        // The others are waited for.
        if let Some((id, _)) = title.split_once(": ") {
            self.parts.push(id.into());
        }
    }

    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        let stops = self.parts.last().is_some_and(|part| part == self.stop_in);
        if stops && done + 1 == of { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl CompareObserver for Stopping {
    fn point(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        self.parts.push(format!("{done} of {of}"));
        ControlFlow::Continue(())
    }
}

#[test]
fn every_table_has_rows_and_every_cell_leaves_its_record() {
    let study = Study::new(settings());
    study.run(&[], &mut Silent).expect("it works");
    let report = study.report();
    assert_eq!(report.missing, [""; 0]);
    reproduce::write(&study.run, &report).expect("it can be written");
    let written = fs::read_to_string(study.run.file(reproduce::REPORT)).expect("it is written");
    assert_eq!(serde_json::from_str::<Report>(&written).expect("it is a report"), report);

    for record in &report.cells {
        let Some(network) = &record.network else { continue };
        let file = study.run.file(&format!("cells/{}/{}", record.cell.id, network.file));
        let saved = pleach_core::checkpoint::load(&file).expect("it is saved");
        let (macs, fewer) = match &record.found {
            Found::Pruned(run) => (run.pruned.macs, run.base.macs as f64 / run.pruned.macs as f64),
            Found::Network(network) => (network.facts.macs, 0.0),
            found => panic!("{found:?} has no network"),
        };
        assert_eq!(saved.network.graph().macs(), macs, "{}", record.cell.id);
        if record.cell.id.starts_with("t6-") && !record.cell.id.contains("scratch") {
            let amount = if record.cell.id.ends_with("-2x") { 2.0 } else { 1.5 };
            assert!(fewer >= amount, "{} got to {fewer}x", record.cell.id);
        }
        assert_eq!(network.sha256.len(), 64);
    }

    let rendered = report.rendered();
    let names: BTreeSet<&str> = rendered.tables.iter().map(|table| &*table.name).collect();
    let expected = [
        "t1-phases",
        "t1-speed",
        "t2-freeze",
        "t3-con_ent",
        "t3-criteria",
        "t3-tuned",
        "t3-ranks",
        "t4-overview",
        "t4-residual",
        "t4-speed",
        "t5-updates",
        "t5-tuned",
        "t5-updates-nobn",
        "t5-tuned-nobn",
        "t6-overview",
        "t6-paper",
        "t6-amounts",
        "t6-speed",
    ];
    assert_eq!(names, expected.into_iter().collect());
    for table in &rendered.tables {
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.name);
        let file = |kind: &str| {
            fs::read_to_string(study.run.file(&format!("{}.{kind}", table.name))).expect("written")
        };
        assert_eq!((file("csv"), file("tex")), (table.to_csv(), table.to_latex()));
    }
    let figures: Vec<&str> = rendered.figures.iter().map(|figure| &*figure.name).collect();
    assert_eq!(figures, ["t3-criteria", "t3-tuned", "t6-macs", "t6-time"]);
    assert!(
        fs::read_to_string(study.run.file("t6-time.svg")).expect("written").contains("<circle")
    );
    let run = |id: &str| match report.found(id) {
        Some(Found::Pruned(run)) => run,
        found => panic!("{id}: {found:?}"),
    };
    // Each amount goes on from the one before, and epochs are counted from the base.
    let (first, second) = (run("t6-l1-1.5x"), run("t6-l1-2x"));
    assert_eq!(first.base, second.base);
    assert!(first.epochs > 0.0 && second.epochs > 1.9 * first.epochs, "{first:?} {second:?}");
    let overview = rendered.tables.iter().find(|table| table.name == "t6-overview");
    let overview = overview.expect("there is one");
    let accuracies = ["con_ent", "l1", "random", "best"]
        .map(|way| format!("{:.2}", 100.0 * run(&format!("t6-{way}-2x")).pruned.accuracy));
    let row = overview.rows.iter().find(|row| row[0] == "2x").expect("it has this amount");
    assert_eq!(row[1..5], accuracies);
    assert!(row[6..].iter().all(|faster| faster.contains("x, ")), "in turn and warm: {row:?}");
    let layerwise = run("t1-layerwise");
    let accuracy = format!("{:.2}", 100.0 * layerwise.pruned.accuracy);
    assert_eq!(rendered.tables[0].rows[3][..2], ["layerwise".to_owned(), accuracy]);
}

#[test]
fn a_study_that_was_interrupted_goes_on_with_the_cell_it_was_in() {
    let study = Study::new(t1());
    let mut first = Stopping { stop_in: "t1-speed", ..Stopping::default() };
    let stopped = study.run(&[], &mut first);
    assert!(matches!(stopped, Err(ReproduceError::Interrupted)), "{stopped:?}");
    assert_eq!(first.parts, ["base", "t1-both", "t1-global", "t1-layerwise", "t1-speed"]);
    assert_eq!(study.report().missing, ["t1-speed"]);

    let mut second = Stopping::default();
    study.run(&[], &mut second).expect("it goes on");
    assert_eq!(second.parts, ["t1-speed"]);
    assert_eq!(study.report().missing, [""; 0]);
}

#[test]
fn a_cell_alone_does_first_what_it_needs_and_the_report_has_what_is_done() {
    let study = Study::new(t1());
    let mut observer = Stopping::default();
    study.run(&["t1-global"], &mut observer).expect("it works");
    assert_eq!(observer.parts, ["base", "t1-global"]);
    let report = study.report();
    assert_eq!(report.missing, ["t1-both", "t1-layerwise", "t1-speed"]);
    assert!(
        report
            .page()
            .to_markdown(|_| None)
            .contains("Not done yet: t1-both, t1-layerwise, t1-speed.")
    );
    assert_eq!(report.rendered().tables[0].rows.len(), 2, "the base and the one run");

    let error = study.run(&["t9"], &mut Silent).expect_err("there is none");
    assert!(error.to_string().contains("no cell \"t9\""), "{error}");
}

#[test]
fn workers_share_a_study_and_do_each_cell_once() {
    let study = Study::new(t1());
    let parts: Vec<String> = std::thread::scope(|scope| {
        let worker = |ids: &'static [&'static str]| {
            let study = &study;
            scope.spawn(move || {
                let mut observer = Stopping::default();
                study.run(ids, &mut observer).expect("it works");
                observer.parts
            })
        };
        let workers = [worker(&["t1-both", "t1-global"]), worker(&["t1-layerwise", "t1-global"])];
        workers.into_iter().flat_map(|worker| worker.join().expect("it works")).collect()
    });
    let begun = |id: &str| parts.iter().filter(|part| *part == id).count();
    assert_eq!(["base", "t1-both", "t1-global", "t1-layerwise"].map(begun), [1; 4], "{parts:?}");
    assert_eq!(study.report().missing, ["t1-speed"]);
}

#[test]
fn a_base_that_is_given_is_not_trained() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.safetensors");
    let study = Study::new(t1());
    study.run(&["base"], &mut Silent).expect("it works");
    fs::copy(study.run.file("cells/base/best.safetensors"), &file).expect("it is there");

    let net = file.to_str().expect("a plain path").to_owned();
    let given = Study::new(Settings { base: Some(Given { net, ..Given::default() }), ..t1() });
    given.run(&["base"], &mut Silent).expect("it works");
    let (theirs, ours) = (study.report(), given.report());
    let (Some(Found::Network(trained)), Some(Found::Network(given))) =
        (theirs.found("base"), ours.found("base"))
    else {
        panic!("both have a base")
    };
    assert_eq!(trained.facts, given.facts);
    assert!(trained.training.is_some() && given.training.is_none());
}

#[test]
fn a_base_that_is_given_gives_tables_and_costs_their_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, model: &str, network: &Network| {
        let file = folder.path().join(name);
        let meta = Meta { model: model.into(), ..Meta::default() };
        checkpoint::save(&file, network, &meta, Dtype::F32, false).expect("it is saved");
        Given { net: file.to_str().expect("a plain path").into(), ..Given::default() }
    };
    let image = Shape::new(3, 32, 32);
    let named = |given: Given, is_residual: bool| {
        let [base, residual_base] = match is_residual {
            true => [None, Some(given)],
            false => [Some(given), None],
        };
        let mut settings = Settings { base, residual_base, ..settings() };
        reproduce::name_given(&mut settings, &*dataset()).expect("it fits");
        settings
    };
    let [usual, narrow] = ["vgg-small", "resnet20:3,4,5"].map(|model| {
        let graph = pleach_core::models::build(model, image, 10).expect("there is such a model");
        save(model, model.split(':').next().expect("a name"), &Network::init(graph, 1))
    });
    assert_eq!(named(usual, false).model, "vgg-small");
    // One width a group.
    let groups = "resnet20:3,3,3,3,4,4,4,4,5,5,5,5";
    assert_eq!(named(narrow.clone(), false).model, groups);
    let residual = named(narrow, true);
    assert_eq!((&*residual.residual, &*residual.model), (groups, &*settings().model));
    let own = named(save("own", "own", &untrained()), false);
    assert_eq!(own.model, settings().model, "costs go by the model that is nearest");
    assert!(own.model_name().ends_with("own"), "{}", own.model_name());
}

#[test]
fn records_that_are_none_of_the_study_are_refused_by_their_path() {
    let study = Study::new(t1());
    fs::create_dir_all(study.run.file("cells/base")).expect("a folder");
    fs::write(study.run.file("cells/base/cell.json"), "{\"epochs\": -1}").expect("a file");
    let error = study.run(&[], &mut Silent).expect_err("it is no cell");
    assert!(error.to_string().contains("cell.json: expected a cell of this study"), "{error}");

    let study = Study::new(t1());
    study.run(&["base"], &mut Silent).expect("it works");
    // Of a version that said something else of it and knew no models: it is done all the same.
    let path = study.run.file("cells/base/cell.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
    let cell = record["cell"].as_object_mut().expect("a cell");
    assert!(cell.remove("model").is_some());
    cell.insert("about".into(), "the base".into());
    cell.insert("macs".into(), 1.0.into());
    fs::write(&path, record.to_string()).expect("a file");
    let report = reproduce::report(&study.job()).expect("it is of this study");
    assert!(report.found("base").is_some() && !report.missing.contains(&"base".to_owned()));

    record["dataset"] = "cifar-100".into();
    fs::write(&path, record.to_string()).expect("a file");
    let error = reproduce::report(&study.job()).expect_err("it is of other data");
    assert!(error.to_string().contains("found one on cifar-100, where the data is"), "{error}");

    let other = Settings { train: TrainConfig { lr: 0.2, ..t1().train }, ..t1() };
    let job = Job { settings: &other, ..study.job() };
    let error = reproduce::report(&job).expect_err("its base is another");
    assert!(error.to_string().contains("with other settings"), "{error}");
}

#[test]
fn single_filters_are_ranked_by_what_their_removal_costs() {
    let config = RankingConfig { filters: 3, calibration: 50, seed: 1 };
    let mut done = Vec::new();
    let ranking = rank(&context(), &dataset(), &untrained(), &config, &mut |i, of| {
        done.push((i, of));
        ControlFlow::Continue(())
    });
    let ranking = ranking.expect("criteria fit").expect("it was not stopped");
    assert_eq!(done, (0..6).map(|i| (i, 6)).collect::<Vec<_>>(), "three of each layer");
    assert!(ranking.groups.iter().all(|group| group.loss_increases.len() == 3));
    let names: Vec<&str> = ranking.rows.iter().map(|row| &*row.criterion).collect();
    // Batch norm does not follow every layer of this network, so that criterion has no row.
    assert!(names.contains(&"taylor") && !names.contains(&"bn_scale"), "{names:?}");
    let variants = names.iter().filter(|name| name.starts_with("con_ent (")).count();
    assert_eq!(variants, ConEnt::variants().len(), "{names:?}");
    assert!(ranking.rows.iter().all(|row| row.within.abs() <= 1.0 && row.across.abs() <= 1.0));
    let stopped =
        rank(&context(), &dataset(), &untrained(), &config, &mut |_, _| ControlFlow::Break(()));
    assert_eq!(stopped.expect("criteria fit"), None);
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
    let mut observer = Stopping::default();
    let curves = compare(&context(), &dataset(), &network, &config, &mut observer);
    let curves = curves.expect("both can score it");
    assert_eq!(observer.parts, ["0 of 4", "1 of 4", "2 of 4", "3 of 4"]);
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
        assert!(curve.points.iter().all(|point| point.tuned_accuracy.is_none()));
    }

    let tune = TrainConfig { epochs: 0.05, ..TrainConfig::default() };
    let tuned = CompareConfig { tune: Some(tune), ..config };
    let tuned = compare(&context(), &dataset(), &network, &tuned, &mut Stopping::default());
    for (curve, tuned) in curves.iter().zip(tuned.expect("both can score it")) {
        for (point, tuned) in curve.points.iter().zip(tuned.points) {
            assert_eq!(point.accuracy, tuned.accuracy, "right after surgery all is as before");
            assert!(tuned.tuned_accuracy.is_some());
        }
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
