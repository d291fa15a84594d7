//! Cells that stop in the middle and go on.

use super::{Study, t1};
use pleach_prune::PruneError;
use pleach_prune::phases::{self, Event};
use pleach_prune::prune_run::{PruneRunError, STATE};
use pleach_prune::reproduce::{ReproduceError, ReproduceObserver};
use pleach_prune::train_run;
use pleach_prune::trainer::{Observer, Silent};
use std::ops::ControlFlow;

/// Stops pruning after so many removals, and sees where it goes on.
#[derive(Default)]
struct Pruning {
    removals: usize,
    stop_after: Option<usize>,
    went_on_after: Option<usize>,
}

impl Observer for Pruning {}

impl phases::RunObserver for Pruning {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Step(_) => self.removals += 1,
            Event::GoesOn { steps, .. } => self.went_on_after = Some(*steps),
            _ => {}
        }
    }

    fn goes_on(&mut self) -> bool {
        self.stop_after != Some(self.removals)
    }
}

impl train_run::RunObserver for Pruning {
    fn event(&mut self, _: &train_run::Event<'_>) {}
}

impl ReproduceObserver for Pruning {
    fn part(&mut self, _: &str) {}

    fn progress(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn a_pruning_cell_goes_on_after_its_last_removal_to_the_same_network() {
    let [whole, study] = [t1(), t1()].map(Study::new);
    whole.run(&["t1-both"], &mut Silent).expect("it works");

    let mut first = Pruning { stop_after: Some(2), ..Pruning::default() };
    let stopped = study.run(&["t1-both"], &mut first);
    let interrupted = matches!(
        stopped,
        Err(ReproduceError::PruneRun(PruneRunError::Prune(PruneError::Interrupted)))
    );
    assert!(interrupted, "{stopped:?}");
    let state = study.run.file("cells/t1-both").join(STATE);
    assert!(state.exists());
    let mut second = Pruning::default();
    study.run(&["t1-both"], &mut second).expect("it goes on");
    assert_eq!(second.went_on_after, Some(2));
    assert!(!state.exists(), "a finished cell has nothing to go on from");

    let network = |study: &Study| {
        let cells = study.report().cells;
        let cell = cells.into_iter().find(|record| record.cell.id == "t1-both");
        cell.expect("it is done").network
    };
    assert_eq!(network(&study), network(&whole));
}
