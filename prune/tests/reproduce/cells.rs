//! What the cells of a study are, before any is done.

use super::common;
use pleach_prune::reproduce::{self, Cell, Given, Rates, Settings, Work};

#[test]
fn a_budget_cuts_epochs_and_one_that_is_too_small_is_refused() {
    let (settings, dataset) = (Settings::full(42), common::dataset());
    let cells = reproduce::cells(&settings, &*dataset).expect("all tables are there");
    // A machine on which the whole takes a hundred hours.
    let rates = |rate: f64| cells.iter().map(|cell| (cell.model.clone(), rate)).collect::<Rates>();
    let rates = rates(rates(1.0).total(&cells) / 100.0);
    let half =
        reproduce::within(&settings, &*dataset, 50.0, &rates).expect("models").expect("fits");
    let share = half.effort.base_epochs / settings.effort.base_epochs;
    assert!((0.4..=0.5).contains(&share), "{share}");
    let cells = reproduce::cells(&half, &*dataset).expect("all tables are there");
    assert!((45.0..=50.0).contains(&rates.total(&cells)));
    // A model that trains half as fast takes twice the time, and the others what they took.
    let slower = |model: &str| -> f64 {
        let rate = |cell: &Cell| if cell.model == model { 0.5 } else { 1.0 };
        let rates: Rates = cells.iter().map(|cell| (cell.model.clone(), rate(cell))).collect();
        rates.total(&cells)
    };
    let of_residual: f64 =
        cells.iter().filter(|cell| cell.model == settings.residual).map(|cell| cell.macs).sum();
    assert!(of_residual > 0.0);
    let more = slower(&settings.residual) - slower("none of them");
    assert!((more * 3600.0 / of_residual - 1.0).abs() < 1e-6, "{more}");
    let whole = reproduce::within(&settings, &*dataset, 101.0, &rates).expect("models");
    assert_eq!(whole.expect("fits"), settings);
    let error = reproduce::within(&settings, &*dataset, 0.1, &rates).expect("models");
    assert!(error.expect_err("too small").to_string().contains("0.1 CPU hours is too small"));
}

#[test]
fn each_base_is_trained_at_the_rate_of_its_kind() {
    let cells = reproduce::cells(&Settings::full(42), &*common::dataset()).expect("tables");
    let rate = |id: &str| match &cells.iter().find(|cell| cell.id == id).expect(id).work {
        Work::Train { config, .. } | Work::Scratch { config, .. } => config.lr,
        Work::Curve { tune: Some(tune), .. } => tune.lr,
        other => panic!("{id} trains nothing: {other:?}"),
    };
    assert_eq!((rate("base"), rate("base-nobn-s42")), (0.05, 0.2 * 0.05));
    assert_eq!(rate("base-residual"), 0.4);
    // Without batch norm fine-tuning takes small steps too.
    assert_eq!((rate("t5-mean-s42"), rate("t5-mean-nobn-s42")), (0.02, 0.2 * 0.02));
}

#[test]
fn each_amount_goes_on_from_the_one_before_and_ways_take_turns() {
    let settings = Settings { tables: vec!["T6".into(), "T4".into()], ..Settings::full(42) };
    let cells = reproduce::cells(&settings, &*common::dataset()).expect("tables");
    let pruned = cells.iter().filter_map(|cell| match &cell.work {
        Work::Prune { after, .. } => Some((&*cell.id, after.as_deref(), cell.macs)),
        _ => None,
    });
    let pruned: Vec<_> = pruned.collect();
    let ids: Vec<&str> = pruned.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids[..4], ["t6-con_ent-2x", "t6-l1-2x", "t6-random-2x", "t6-best-2x"]);
    let residual = ["t4-2x", "t4-best-2x", "t4-3x", "t4-best-3x", "t4-4.2x", "t4-best-4.2x"];
    assert_eq!((ids[23], &ids[24..]), ("t6-best-15x", &residual[..]));
    for (i, &(id, after, macs)) in pruned.iter().enumerate() {
        let (first, ways) = if id.starts_with("t6") { (0, 4) } else { (24, 2) };
        let before = (i - first).checked_sub(ways).map(|before| first + before);
        assert_eq!(after, before.map(|before| ids[before]), "{id}");
        assert!(before.is_none_or(|before| macs < pruned[before].2), "{id}: ever smaller ones");
    }
}

#[test]
fn the_best_way_keeps_smaller_multiples_of_narrow_layers() {
    for (residual, expected) in
        [("resnet18", 16), ("resnet20", 4), ("resnet20:20,40,80", 4), ("resnet20:3,4,5", 1)]
    {
        let tables = vec!["T4".into()];
        let settings = Settings { tables, residual: residual.into(), ..Settings::full(42) };
        let cells = reproduce::cells(&settings, &*common::dataset()).expect("a table");
        let multiples: Vec<usize> = cells
            .iter()
            .filter(|cell| cell.id.starts_with("t4-best"))
            .map(|cell| match &cell.work {
                Work::Prune { config, .. } => config.round_to,
                other => panic!("{} prunes: {other:?}", cell.id),
            })
            .collect();
        assert_eq!(multiples, [expected; 3], "{residual}");
    }
}

#[test]
fn methods_are_compared_on_the_base_that_is_given_if_it_is_a_model_and_on_a_trained_one_if_not() {
    let bases = |name: Option<&str>| {
        let name = name.map(Into::into);
        let base = Some(Given { net: "own.onnx".into(), name, ..Given::default() });
        let settings = Settings { base, ..Settings::quick(42) };
        let cells = reproduce::cells(&settings, &*common::dataset()).expect("tables");
        let of = |cell: &Cell| match &cell.work {
            Work::Curve { base, .. } => Some(("curve", base.clone())),
            Work::Prune { base, .. } => Some(("run", base.clone())),
            _ => None,
        };
        let mut bases: Vec<_> = cells.iter().filter_map(of).collect();
        bases.sort_unstable();
        bases.dedup();
        let trained = cells.iter().filter_map(|cell| match &cell.work {
            Work::Train { model, .. } => Some((cell.id.clone(), model.clone())),
            _ => None,
        });
        (bases, trained.collect::<Vec<_>>())
    };
    let text = |text: &str| text.to_owned();
    let (known, trained) = bases(None);
    assert_eq!(known, [("curve", text("base")), ("run", text("base"))]);
    assert!(trained.is_empty(), "{trained:?}");
    // Of a network that is no model, nobody knows which criteria can score it before it is read.
    let (own, trained) = bases(Some("own"));
    assert_eq!(own, [("curve", text("base-narrow-s42")), ("run", text("base"))]);
    assert_eq!(trained, [(text("base-narrow-s42"), text("vgg-small"))]);
}

#[test]
fn cells_say_the_name_of_the_residual_base_that_is_given() {
    let given = |name: Option<&str>| {
        let name = name.map(Into::into);
        let residual_base = Some(Given { net: "own.onnx".into(), name, ..Given::default() });
        let tables = vec!["T4".into()];
        let settings = Settings { tables, residual_base, ..Settings::full(42) };
        let cells = reproduce::cells(&settings, &*common::dataset()).expect("a table");
        cells.into_iter().find(|cell| cell.id == "t4-2x").expect("it is pruned").about
    };
    assert_eq!(given(None), "2x fewer MACs of resnet18 by con_ent");
    assert_eq!(given(Some("own")), "2x fewer MACs of own by con_ent");
}
