//! Names of layers.

use crate::graph::is_name;
use crate::onnx::proto::Node;
use std::collections::{HashMap, HashSet};

/// Bytes of a name made here, a number at its end excepted: less than a layer's name may have.
const MAX_LEN: usize = 180;

/// The names that layers have so far.
#[derive(Debug)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// The next number to try at the end of a name.
    numbers: HashMap<String, usize>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { taken: HashSet::from(["input".to_owned()]), numbers: HashMap::new() }
    }

    /// A name for a layer that `node` becomes, whose parameters are called `params`: the module that
    /// these belong to in a state dict of PyTorch, or the node's own name, or that of its output. A name
    /// that is taken gets a number.
    pub(super) fn of<'a>(&mut self, node: &Node<'a>, params: &[&'a str]) -> String {
        let modules = params.iter().filter_map(|param| module_of(param)).map(str::to_owned);
        let own = [Some(node.name), node.outputs.first().copied()];
        let own = own.into_iter().flatten().map(|name| path_of(name, node.op, !params.is_empty()));
        let mut candidates = modules.chain(own).filter(|name| !name.is_empty());
        let Some(first) = candidates.next() else { return self.number(&node.op.to_lowercase()) };
        if self.taken.insert(first.clone()) {
            return first;
        }
        // Equal parameters are kept once by some exporters, under the name of the first.
        match candidates.find(|name| *name != first && !self.taken.contains(name)) {
            Some(name) => {
                self.taken.insert(name.clone());
                name
            }
            None => self.number(&first),
        }
    }

    fn number(&mut self, name: &str) -> String {
        let name = cut(name);
        let number = self.numbers.entry(name.to_owned()).or_insert(2);
        loop {
            let numbered = format!("{name}_{number}");
            *number += 1;
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}

/// The module of a parameter that is named as in a state dict: `features.0` of `features.0.weight`.
fn module_of(param: &str) -> Option<&str> {
    let (module, name) = param.rsplit_once('.')?;
    let is_param = matches!(name, "weight" | "bias" | "running_mean" | "running_var");
    (is_param && is_name(module)).then_some(module)
}

/// `name` as a layer's name. PyTorch's exporter calls nodes by the modules around them, each by its whole path
/// in the one around it, and by their operator: `/layer1/layer1.0/conv1/Conv` is `layer1.0.conv1`, the
/// last part only where the node `has_params` and so is a module.
fn path_of(name: &str, op: &str, has_params: bool) -> String {
    if is_name(name) {
        return name.to_owned();
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let parts = match &parts[..] {
        [modules @ .., last] if has_params && !modules.is_empty() && last.starts_with(op) => {
            modules
        }
        parts => parts,
    };
    let mut path: Vec<&str> = Vec::new();
    for part in parts {
        let is_below = |above: &&str| part.strip_prefix(above).is_some_and(|s| s.starts_with('.'));
        path.pop_if(|above| is_below(&&**above));
        path.push(part);
    }
    let mut clean = String::new();
    for part in path.iter().flat_map(|part| part.split('.')).filter(|part| !part.is_empty()) {
        if !clean.is_empty() {
            clean.push('.');
        }
        clean.extend(part.chars().map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        }));
    }
    cut(&clean).to_owned()
}

/// The first bytes of a name in ASCII, to which a number may be added.
fn cut(name: &str) -> &str {
    name[..name.len().min(MAX_LEN)].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pytorchs_exporter_become_paths() {
        for (name, op, has_params, expected) in [
            ("/features/features.0/Conv", "Conv", true, "features.0"),
            ("/layers/layers.2/down/down.0/Conv", "Conv", true, "layers.2.down.0"),
            ("/layers/layers.2/Relu_1", "Relu", false, "layers.2.Relu_1"),
            ("Conv_12", "Conv", true, "Conv_12"),
            ("/Conv", "Conv", true, "Conv"),
            ("features.2", "Relu", false, "features.2"),
            ("onnx::Gemm_7", "Gemm", true, "onnx__Gemm_7"),
            ("a..b//.c.", "Relu", false, "a.b.c"),
            ("", "Relu", false, ""),
            ("///...", "Relu", false, ""),
            ("größe", "Relu", false, "gr__e"),
        ] {
            assert_eq!(path_of(name, op, has_params), expected, "{name}");
        }
        let long = path_of(&"x.".repeat(1000), "Relu", false);
        assert!(long.len() <= MAX_LEN && is_name(&long), "{long}");
        let longest = "m".repeat(200);
        assert_eq!(path_of(&longest, "Relu", false), longest, "a layer may be called so");
    }

    #[test]
    fn each_name_is_given_once() {
        let mut names = Names::new();
        let node = |name| Node { name, op: "Conv", outputs: vec!["out"], ..Node::default() };
        assert_eq!(names.of(&node("c"), &["a.weight", "a.bias"]), "a");
        assert_eq!(names.of(&node("c"), &["a.weight", "b.bias"]), "b");
        assert_eq!(names.of(&node("c"), &["a.weight"]), "c");
        assert_eq!(names.of(&node("c"), &["a.weight"]), "out");
        assert_eq!(names.of(&node("c"), &["a.weight"]), "a_2");
        assert_eq!(names.of(&node("c"), &["a.weight"]), "a_3");
        assert_eq!(names.of(&node("input"), &[]), "input_2", "the image is called input");
        assert_eq!(names.of(&Node { op: "Conv", ..Node::default() }, &[]), "conv_2");
        let longest = "m".repeat(200);
        assert_eq!(names.of(&node(&longest), &[]), longest);
        let numbered = names.of(&node(&longest), &[]);
        assert!(numbered.ends_with("m_2") && is_name(&numbered), "{numbered}");
    }
}
