//! What a run goes on from, in its folder.

use super::{PLAN, PRUNED, PruneRunError, STATE};
use crate::environment::warn_of_other_isa;
use crate::phases::{Earlier, PruneConfig, Pruner, State};
use crate::run_dir::{RunDir, RunDirError, STATE_PREFIX};
use crate::train_run::METRICS;
use crate::trainer::Teacher;
use pleach_core::Network;
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::{fs, io};

const SCHEMA: &str = "pleach.prune-state/1";

/// What a run depends on beside its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// The SHA-256 of the base network with its training state, in hexadecimal.
    base: String,
    /// The same of the network that it goes on from, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// The data set's name and the images of its splits.
    data: (String, [usize; 3]),
    /// The instruction set.
    isa: String,
    config: PruneConfig,
}

impl Known {
    pub(super) fn new(
        cx: &Context,
        dataset: &dyn Dataset,
        base: &Network,
        config: &PruneConfig,
        after: Option<&Earlier>,
    ) -> Result<Self, PruneRunError> {
        use pleach_datasets::Split::{Test, Train, Validation};
        let sha256 = |name: &str, network: &Network| {
            let (name, meta) = (Path::new(name), Meta::default());
            let bytes = checkpoint::to_bytes(name, network, &meta, Dtype::F32, true)?;
            Ok::<_, CheckpointError>(format!("{:x}", Sha256::digest(bytes)))
        };
        let earlier = after.map(|earlier| sha256("the earlier network", &earlier.network));
        Ok(Self {
            base: sha256("the base network", base)?,
            after: earlier.transpose()?,
            data: (
                dataset.spec().name.clone(),
                [Train, Validation, Test].map(|split| dataset.len(split)),
            ),
            isa: cx.isa().name.into(),
            config: config.clone(),
        })
    }
}

/// [`STATE`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved<K, S> {
    schema: String,
    known: K,
    /// Bytes of the metrics: what is beyond is of a step that is done again.
    metrics: u64,
    state: S,
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: String,
}

/// A state and its networks.
pub(super) struct Last {
    pub(super) state: State,
    /// The network that stands, unless it is the base.
    pub(super) standing: Option<Network>,
    pub(super) candidate: Option<Network>,
}

/// Where states are kept.
pub(super) struct Store<'a> {
    run: &'a RunDir,
    meta: &'a Meta,
    known: Known,
    /// The number of the network that was saved last.
    network: u64,
}

impl<'a> Store<'a> {
    pub(super) fn new(run: &'a RunDir, meta: &'a Meta, known: Known) -> Self {
        Self { run, meta, known, network: 0 }
    }

    /// The state that was saved last, if there is one; with the metrics as they were then.
    pub(super) fn load(&mut self) -> Result<Option<Last>, PruneRunError> {
        let path = self.run.file(STATE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.run.truncate(METRICS, 0)?;
                return Ok(None);
            }
            Err(source) => return Err(RunDirError::Io { action: "read", path, source }.into()),
            Ok(text) => text,
        };
        let foreign = |what, expected: &str, found: String| PruneRunError::Foreign {
            file: path.display().to_string(),
            what,
            expected: expected.into(),
            found,
        };
        let malformed =
            |error: serde_json::Error| foreign("it is malformed:", "a state", error.to_string());
        let SchemaOnly { schema } = serde_json::from_str(&text).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(foreign("its schema is", SCHEMA, schema));
        }
        let saved: Saved<Known, State> = serde_json::from_str(&text).map_err(malformed)?;
        let (then, now) = (&saved.known, &self.known);
        if then.base != now.base {
            return Err(foreign("the base network's SHA-256 is", &now.base, then.base.clone()));
        }
        if then.after != now.after {
            let none = || "none".to_owned();
            let [then, now] = [then, now].map(|known| known.after.clone().unwrap_or_else(none));
            return Err(foreign("the earlier network's SHA-256 is", &now, then));
        }
        if then.data != now.data {
            let [then, now] = [then, now].map(|known| {
                let (name, [train, validation, test]) = &known.data;
                format!("{name}, with {train}, {validation} and {test} images")
            });
            return Err(foreign("its data set is", &now, then));
        }
        if then.config != now.config {
            let (expected, found) = ("those of the run", "others".into());
            return Err(foreign("its settings are", expected, found));
        }
        warn_of_other_isa(&then.isa, &now.isa);
        let state = saved.state;
        let load = |name: Option<String>| {
            name.map(|name| Ok(checkpoint::load(&self.run.file(&name))?.network)).transpose()
        };
        let standing = load(network_name(&state)).map_err(|error: PruneRunError| error)?;
        let candidate = load(candidate_name(&state))?;
        self.network = state.network();
        self.run.truncate(METRICS, saved.metrics)?;
        Ok(Some(Last { state, standing, candidate }))
    }

    /// Saves where the run stands, after these lines of the metrics.
    pub(super) fn save(
        &mut self,
        pruner: &mut Pruner<'_>,
        lines: &[String],
    ) -> Result<(), PruneRunError> {
        let run = self.run;
        let answers = pruner.teacher_mut().and_then(Teacher::answers_mut);
        let answers = answers.map_or(Ok(Vec::new()), |answers| run.keep(answers))?;
        let state = pruner.state();
        let metrics = run.append(METRICS, lines)?;
        let [network, candidate] = [network_name(state), candidate_name(state)];
        if let Some(name) = network.as_ref().filter(|_| self.network != state.network()) {
            self.checkpoint(name, pruner.network(), true)?;
            self.checkpoint(PRUNED, pruner.network(), false)?;
            run.write(PLAN, &state.plan().to_json())?;
            self.network = state.network();
        }
        if let (Some(name), Some(network)) = (&candidate, pruner.candidate()) {
            self.checkpoint(name, network, true)?;
        }
        let saved = Saved { schema: SCHEMA.into(), known: &self.known, metrics, state };
        let text = serde_json::to_string(&saved).expect("a state has nothing JSON lacks");
        run.write(STATE, &(text + "\n"))?;
        let keep: Vec<String> = [network, candidate].into_iter().flatten().collect();
        run.remove_state(&[keep, answers, vec![STATE.to_owned()]].concat())?;
        Ok(())
    }

    fn checkpoint(
        &self,
        name: &str,
        network: &Network,
        training_state: bool,
    ) -> Result<(), PruneRunError> {
        let path = self.run.file(name);
        Ok(checkpoint::save(&path, network, self.meta, Dtype::F32, training_state)?)
    }
}

/// The file of the network that stands, unless that is the base.
fn network_name(state: &State) -> Option<String> {
    let number = state.network();
    (number > 0).then(|| format!("{STATE_PREFIX}network-{number}.safetensors"))
}

fn candidate_name(state: &State) -> Option<String> {
    let (tuning, epochs) = state.candidate()?;
    Some(format!("{STATE_PREFIX}tuning-{tuning}-{epochs}.safetensors"))
}
