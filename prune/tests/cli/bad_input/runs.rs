//! What the verbs refuse that show runs, studies and settings, replay plans, and write scripts and pages.

use super::{Case, case};
use crate::TINY;

pub(super) const CASES: &[Case] = &[
    // Why a layer's filters went or stayed.
    case(&["inspect", "nowhere", "--explain", "conv1"], 2, &["nowhere: there is no such run"]),
    case(&["inspect", TINY, "--explain", "conv1"], 2, &["there is no such run"]),
    case(&["inspect", "full", "--explain", "conv1"], 2, &["full has no plan.json"]),
    case(&["inspect", "notes.toml", "--explain", "conv1"], 2, &["the plan is malformed"]),
    case(&["inspect", "newer", "--explain", "conv1"], 2, &["newer/plan.json", "pleach.plan/9"]),
    case(&["inspect", "bare.json", "--explain", "conv1"], 2, &["no channel groups"]),
    case(&["inspect", "full", "--explain"], 2, &["a value is required for '--explain"]),
    // Plans.
    case(&["prune", TINY, "--plan", "none.json", "-o", "run"], 1, &["cannot read none.json"]),
    case(&["prune", TINY, "--plan", "full", "-o", "run"], 1, &["cannot read full"]),
    case(
        &["prune", TINY, "--plan", "notes.toml", "-o", "run"],
        2,
        &["notes.toml: the plan is malformed"],
    ),
    case(
        &["prune", TINY, "--plan", "cut.json", "-o", "run"],
        2,
        &["cut.json: the plan is malformed: EOF", "line 1 column 37"],
    ),
    case(
        &["prune", TINY, "--plan", "newer/plan.json", "-o", "run"],
        2,
        &["newer/plan.json: the plan has schema \"pleach.plan/9\", expected \"pleach.plan/1\""],
    ),
    case(
        &["prune", TINY, "--plan", "bare.json", "-o", "run"],
        2,
        &["bare.json: the plan keeps channels of conv9, which is no layer of this network"],
    ),
    case(
        &["prune", TINY, "--plan", "more.json", "-o", "run"],
        2,
        &["more.json: the plan is malformed: unknown field `extra`"],
    ),
    case(
        &["prune", TINY, "--plan", "bare.json", "--macs", "2x", "-o", "run"],
        2,
        &["'--plan <FILE>' cannot be used with", "--macs"],
    ),
    case(&["prune", "--plan"], 2, &["a value is required for '--plan"]),
    // Two networks side by side.
    case(&["compare"], 2, &["<A>", "<B>"]),
    case(&["compare", TINY], 2, &["<B>"]),
    case(&["compare", TINY, "vgg17"], 2, &["neither a file nor a model"]),
    case(&["compare", "none.pth", TINY], 1, &["none.pth: there is no such file"]),
    case(&["compare", TINY, "plain.safetensors"], 2, &["no architecture", "--arch"]),
    case(&["compare", TINY, "full"], 2, &["full is a folder: name the checkpoint in it"]),
    case(&["compare", TINY, "cut.pth"], 1, &["cut.pth: at byte 4"]),
    case(&["compare", TINY, TINY, "--seconds=-1"], 2, &["expected a number of seconds, 0 to 3600"]),
    case(&["compare", TINY, TINY, "--batch", "0"], 2, &["expected a number of images, 1 to 4096"]),
    case(&["compare", TINY, TINY, "--data", "nowhere"], 1, &["nowhere: No such file"]),
    // Studies.
    case(&["report"], 2, &["<RUN>"]),
    case(&["report", "nowhere"], 2, &["nowhere: there is no such study or run"]),
    case(&["report", "full"], 2, &["full has neither report.json nor result.json"]),
    case(&["report", "notes.toml"], 1, &["notes.toml is no report of a study or run"]),
    case(&["report", "newer"], 2, &["newer/report.json has schema \"pleach.report/99\", expected"]),
    // Settings.
    case(&["config"], 2, &["Usage: pleach config"]),
    case(&["config", "get"], 2, &["unrecognized subcommand 'get'"]),
    case(&["config", "show", "prune", TINY, TINY], 2, &["unexpected argument"]),
    case(&["config", "show", "eval"], 2, &["unrecognized subcommand 'eval'"]),
    case(&["config", "show", "train", "--set", "pace=1"], 2, &["unknown key pace (from --set"]),
    case(&["config", "show", "prune", "--set", "floor"], 2, &["expected KEY=VALUE, such as"]),
    case(
        &["config", "show", "prune", "--set", "prune.floor=2"],
        2,
        &["prune.floor is 2, expected a fraction, 0 to 1 (from --set prune.floor)"],
    ),
    case(&["config", "show", "prune", "--preset", "fast"], 2, &["'fast'", "2pfpce"]),
    case(
        &["config", "show", "train", "-c", "broken.toml"],
        2,
        &["broken.toml is no settings file of train", "line 1, column 7"],
    ),
    case(&["config", "show", "prune", "-c", "none.toml"], 1, &["cannot read none.toml"]),
    // Scripts and pages.
    case(&["completions"], 2, &["<SHELL>"]),
    case(&["completions", "csh"], 2, &["'csh'", "bash", "zsh"]),
    case(&["completions", "bash", "zsh"], 2, &["unexpected argument 'zsh'"]),
    case(&["man"], 2, &["<DIR>"]),
    case(&["man", "notes.toml"], 1, &["cannot make notes.toml"]),
    case(&["man", "notes.toml/man"], 1, &["cannot make notes.toml/man"]),
];
