//! Networks as PyTorch code: a plain `nn.Module` with the widths that a network has, to which its weights
//! load under the names that they have.
//!
//! Values are `[N, C, H, W]` or `[N, C]`. This crate does not tell maps of 1x1 from features; PyTorch
//! does, and the code says so where a layer takes the other.

mod layers;
mod modules;
mod variables;

use crate::checkpoint::{Meta, Normalisation};
use crate::graph::{Graph, Node};
use layers::Code;
use modules::Modules;
use std::fmt::Write as _;
use variables::Variables;

/// The dimensions of a value in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// `[N, C, H, W]`.
    Maps,
    /// `[N, C]`.
    Flat,
}

/// A value in the code: an expression and what it is.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    rank: Rank,
}

impl Value {
    /// The value as maps.
    fn maps(&self) -> String {
        match self.rank {
            Rank::Maps => self.text.clone(),
            Rank::Flat => format!("{}[:, :, None, None]", self.text),
        }
    }

    /// The value as features.
    fn flat(&self) -> String {
        match self.rank {
            Rank::Maps => format!("{}.flatten(1)", self.text),
            Rank::Flat => self.text.clone(),
        }
    }
}

/// Why a network has no PyTorch code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PytorchError {
    /// A module cannot have the name of a layer.
    #[error("layer {name} cannot be a module of PyTorch's, which uses the name training")]
    Name {
        /// The layer.
        name: String,
    },
}

/// The names in a network's PyTorch code, which follow from the name of the file with its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The Python module: `modeling_vgg16_pruned`.
    pub module: String,
    /// The class: `Vgg16Pruned`.
    pub class: String,
    /// The file with the weights: `vgg16-pruned.safetensors`.
    pub weights: String,
}

impl Names {
    /// The names for weights in `stem.safetensors`.
    #[must_use]
    pub fn new(stem: &str) -> Self {
        /// What the code uses, and words of the language that begin with a capital.
        const TAKEN: [&str; 6] = ["F", "MEAN", "STD", "None", "True", "False"];
        let words = || stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let module = format!("modeling_{}", words().collect::<Vec<_>>().join("_"));
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let mut class: String = words().map(capital).collect();
        if !class.starts_with(|c: char| c.is_ascii_alphabetic()) || TAKEN.contains(&&*class) {
            class.insert_str(0, "Net");
        }
        Self { module, class, weights: format!("{stem}.safetensors") }
    }
}

/// The source of a Python module with a class for networks of this graph.
///
/// `CLASS().load_state_dict(safetensors.torch.load_file(WEIGHTS), strict=True)` takes the file that
/// [`crate::checkpoint::save`] writes of such a network, and computes the same logits up to rounding.
///
/// # Errors
/// If a layer has a name that no module can have.
pub fn source(graph: &Graph, meta: &Meta, names: &Names) -> Result<String, PytorchError> {
    let unusable = |node: &&Node| {
        !node.params.is_empty() && node.name.split('.').any(|part| part == "training")
    };
    if let Some(node) = graph.nodes().iter().find(unusable) {
        return Err(PytorchError::Name { name: node.name.clone() });
    }
    let mut modules = Modules::new(graph);
    let mut variables = Variables::new(graph);
    let mut forward = String::new();
    for id in graph.ids() {
        let inputs = variables.inputs(id);
        let Code { module, value } = layers::code(graph, id, &inputs, &modules.path(id));
        if let Some(constructor) = module {
            modules.add(id, constructor);
        }
        let text = value.text.clone();
        let name = variables.assign(id, value.rank);
        if name != text {
            writeln!(forward, "        {name} = {text}").expect("strings take all writes");
        }
    }
    let logits = variables.value(graph.output()).flat();
    let Names { class, .. } = names;
    Ok(format!(
        "{}\nimport torch\nfrom torch import nn\nfrom torch.nn import functional as F\n{}\n\n\
         class {class}(nn.Module):\n    def __init__(self):\n        super().__init__()\n{}\n    \
         def forward(self, x):\n{forward}        return {logits}\n",
        about(graph, meta, names),
        normalisation(meta),
        modules.source()
    ))
}

/// The text at the head of the code.
fn about(graph: &Graph, meta: &Meta, names: &Names) -> String {
    let Names { module, class, weights } = names;
    let model = if meta.model.is_empty() { "A network" } else { &meta.model };
    format!(
        "\"\"\"{}: {:.1} M multiply-adds an image of {}, {:.2} M parameters.\n\nWritten by pleach, like \
         its weights:\n\n    from safetensors.torch import load_file\n    from {module} import {class}\n\n    \
         model = {class}()\n    model.load_state_dict(load_file(\"{}\"), strict=True)\n    model.eval()\n\
         \"\"\"\n",
        harmless(model),
        graph.macs() as f64 / 1e6,
        graph.input_shape(),
        graph.trainable() as f64 / 1e6,
        harmless(weights)
    )
}

fn normalisation(meta: &Meta) -> String {
    match &meta.normalisation {
        None => String::new(),
        Some(Normalisation { mean, std }) => format!(
            "\n# An input is an image with values in [0, 1], minus MEAN, over STD, by channel.\n\
             MEAN = {mean:?}\nSTD = {std:?}\n"
        ),
    }
}

/// Text from a file as it may stand in code.
fn harmless(text: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || " ._-+=:,()".contains(c);
    text.chars().take(200).map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::tensor::Shape;

    #[test]
    fn names_are_those_of_python() {
        for (stem, module, class) in [
            ("vgg16-pruned", "modeling_vgg16_pruned", "Vgg16Pruned"),
            ("best", "modeling_best", "Best"),
            ("5x fewer", "modeling_5x_fewer", "Net5xFewer"),
            ("f", "modeling_f", "NetF"),
            ("\u{e9}\"\"\"", "modeling_", "Net"),
        ] {
            let names = Names::new(stem);
            assert_eq!((&*names.module, &*names.class), (module, class));
        }
    }

    #[test]
    fn nothing_from_a_file_becomes_code() {
        let graph = models::build("concat-small", Shape::new(3, 8, 8), 2).unwrap();
        let model = "\"\"\"\nimport os\nos.system('true')\n\"\"\"\\".to_owned();
        let meta = Meta { model, ..Meta::default() };
        let source = source(&graph, &meta, &Names::new("a\"\"\"\\\n")).unwrap();
        assert!(source.starts_with("\"\"\"____import os_os.system(_true_)_"), "{source}");
        assert!(source.contains("load_file(\"a_____.safetensors\")"), "{source}");
    }

    #[test]
    fn code_reads_as_one_would_write_it() {
        let graph = models::build("resnet20:2,3,4", Shape::new(3, 8, 8), 2).unwrap();
        let source = source(&graph, &Meta::default(), &Names::new("net")).unwrap();
        for lines in [
            "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\nclass Net(nn.Module):\n",
            "        self.conv1 = nn.Conv2d(3, 2, 3, padding=1, bias=False)\n        self.bn1 = nn.BatchNorm2d(2)\n        \
             self.layer1 = nn.ModuleDict()\n        self.layer1[\"0\"] = nn.ModuleDict()\n        \
             self.layer1[\"0\"][\"conv1\"] = nn.Conv2d(2, 2, 3, padding=1, bias=False)\n",
            "        self.linear = nn.Linear(4, 2)\n\n    def forward(self, x):\n        x = self.conv1(x)\n        \
             x = self.bn1(x)\n        x = F.relu(x)\n        x1 = self.layer1[\"0\"][\"conv1\"](x)\n",
            "        x1 = self.layer1[\"0\"][\"bn2\"](x1)\n        x = x1 + x\n        x = F.relu(x)\n",
            "        x = x.mean((2, 3))\n        x = self.linear(x)\n        return x\n",
        ] {
            assert!(source.contains(lines), "{lines} is not in {source}");
        }
    }
}
