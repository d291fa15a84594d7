//! The modules of a network, nested as their names say.

use crate::graph::{Graph, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Names that `nn.Module` and `nn.ModuleDict` have for something else.
const TAKEN: &[&str] = &[
    "T_destination",
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "clear",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "items",
    "keys",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "pop",
    "register_backward_hook",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_module",
    "register_parameter",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "update",
    "values",
    "xpu",
    "zero_grad",
];

/// Words of the language.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// The modules that the code constructs.
pub(super) struct Modules<'g> {
    graph: &'g Graph,
    /// The nodes that are modules, by name: those that have parameters.
    nodes: BTreeMap<&'g str, NodeId>,
    constructors: BTreeMap<NodeId, String>,
}

impl<'g> Modules<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let nodes = graph.ids().filter(|&id| !graph.node(id).params.is_empty());
        let nodes = nodes.map(|id| (graph.node(id).name.as_str(), id)).collect();
        Self { graph, nodes, constructors: BTreeMap::new() }
    }

    /// Node `id` is what this expression makes.
    pub(super) fn add(&mut self, id: NodeId, constructor: String) {
        self.constructors.insert(id, constructor);
    }

    /// The expression for the module of node `id`.
    pub(super) fn path(&self, id: NodeId) -> String {
        self.expression(&self.graph.node(id).name)
    }

    /// The lines that make all modules, in the order of the nodes, each after those that it is in.
    pub(super) fn source(&self) -> String {
        let mut made = BTreeSet::new();
        let mut lines = String::new();
        for &id in self.constructors.keys() {
            let name = self.graph.node(id).name.as_str();
            let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
            for prefix in ends.map(|end| &name[..end]) {
                if !made.insert(prefix) {
                    continue;
                }
                let constructor = match self.nodes.get(prefix) {
                    Some(id) => self.constructors[id].as_str(),
                    None => "nn.ModuleDict()",
                };
                lines += &format!("        {} = {constructor}\n", self.expression(prefix));
            }
        }
        lines
    }

    /// The expression for the module called `name`. PyTorch's own way of finding modules does not reach
    /// all names: some are taken, and those in a layer are none of its attributes.
    fn expression(&self, name: &str) -> String {
        let Some((parent, part)) = name.rsplit_once('.') else {
            let begins = !name.starts_with(|c: char| c.is_ascii_digit());
            let word = begins && !name.contains('-') && !KEYWORDS.contains(&name);
            return match word && !is_taken(name) {
                true => format!("self.{name}"),
                false => format!("self._modules[\"{name}\"]"),
            };
        };
        let within = self.expression(parent);
        match self.nodes.contains_key(parent) || is_taken(part) {
            true => format!("{within}._modules[\"{part}\"]"),
            false => format!("{within}[\"{part}\"]"),
        }
    }
}

fn is_taken(part: &str) -> bool {
    part.starts_with('_') || TAKEN.contains(&part)
}
