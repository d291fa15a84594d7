//! Networks by name: `vgg16`, or `vgg16:21,43,67,...` at given widths.

mod assembly;
mod concat;
mod groups;
mod mobile;
mod resnet;
mod vgg;

pub use groups::{WidthGroup, width_groups, widths};

use crate::graph::{Graph, GraphError, NodeId};
use crate::tensor::Shape;
use assembly::Assembly;

/// A family member that [`build`] can make.
///
/// A model is described by its channel groups: sets of output channels that residual adds force to
/// be equal, in the order in which the graph first makes them. A plain network has one group a
/// convolution.
pub struct ModelKind {
    /// The name users write.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The usual width of each stage; of bottlenecks two a stage, inside its blocks and between them.
    pub stage_widths: &'static [usize],
    /// The stage of each channel group, in graph order.
    stages: fn() -> Vec<usize>,
    /// Makes the graph from the image, at one width a channel group; returns the logits' node.
    build: fn(&mut Assembly, image: NodeId, widths: &[usize]) -> Result<NodeId, GraphError>,
    /// This crate's name of a parameter that other codes call otherwise.
    rename: fn(&str) -> String,
}

/// Every model.
pub const MODELS: &[ModelKind] = &[
    vgg::VGG11,
    vgg::VGG16,
    vgg::VGG16_NOBN,
    vgg::VGG19,
    vgg::VGG_SMALL,
    vgg::VGG16_FC3,
    vgg::VGG16_NOBN_FC3,
    resnet::RESNET18,
    resnet::RESNET34,
    resnet::RESNET50,
    resnet::RESNET101,
    resnet::RESNET152,
    resnet::RESNET18_IMAGENET,
    resnet::RESNET34_IMAGENET,
    resnet::RESNET50_IMAGENET,
    resnet::RESNET101_IMAGENET,
    resnet::RESNET152_IMAGENET,
    resnet::RESNET20,
    resnet::RESNET56,
    mobile::MOBILE_SMALL,
    concat::CONCAT_SMALL,
];

/// What PyTorch's names begin with where a network is in something else: in `nn.DataParallel`, in what
/// `torch.compile` makes, or in a training script's own module.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// Why there is no such model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model has this name.
    #[error("there is no model called {name:?}{}", hint(suggestion.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The model whose name is most like it, if one is.
        suggestion: Option<&'static str>,
    },
    /// A width is not a positive number.
    #[error("width {position} of {model} is {found:?}: expected a number of channels, at least 1")]
    Width {
        /// The model.
        model: &'static str,
        /// Its place in the list, from 1.
        position: usize,
        /// What stands there.
        found: String,
    },
    /// The number of widths is wrong.
    #[error("{model} takes {}, found {found}", counts(*stages, *groups))]
    WidthCount {
        /// The model.
        model: &'static str,
        /// Widths where one a stage is given.
        stages: usize,
        /// Widths where one a channel group is given.
        groups: usize,
        /// How many were given.
        found: usize,
    },
    /// The image or a width does not suit the model.
    #[error("{model} cannot be built for images of {image}: {source}")]
    Graph {
        /// The model.
        model: &'static str,
        /// The image's shape.
        image: Shape,
        /// Why.
        source: GraphError,
    },
}

impl ModelKind {
    /// The number of channel groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        (self.stages)().len()
    }

    /// The name that this crate gives a parameter called `name` in another code's state dict: without
    /// leading `module.` and the like, and in the words of the family's usual code.
    #[must_use]
    pub fn canonical(&self, name: &str) -> String {
        let mut name = name;
        while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
            name = rest;
        }
        (self.rename)(name)
    }

    /// The graph at these widths: none (the usual ones), one a stage, or one a channel group.
    ///
    /// # Errors
    /// If the number of widths is wrong, one is 0, or the graph does not fit the image.
    pub fn graph(
        &self,
        widths: &[usize],
        image: Shape,
        classes: usize,
    ) -> Result<Graph, ModelError> {
        let stages = (self.stages)();
        let widths = if widths.is_empty() { self.stage_widths } else { widths };
        if let Some(i) = widths.iter().position(|&width| width == 0) {
            return Err(ModelError::Width { model: self.name, position: i + 1, found: "0".into() });
        }
        let widths: Vec<usize> = if widths.len() == stages.len() {
            widths.to_vec()
        } else if widths.len() == self.stage_widths.len() {
            stages.iter().map(|&stage| widths[stage]).collect()
        } else {
            return Err(ModelError::WidthCount {
                model: self.name,
                stages: self.stage_widths.len(),
                groups: stages.len(),
                found: widths.len(),
            });
        };
        Assembly::new(image, classes)
            .and_then(|(mut net, input)| {
                let output = (self.build)(&mut net, input, &widths)?;
                net.finish(output)
            })
            .map_err(|source| ModelError::Graph { model: self.name, image, source })
    }
}

/// The model called `name`.
///
/// # Errors
/// If there is none; the error names the most similar one.
pub fn find(name: &str) -> Result<&'static ModelKind, ModelError> {
    MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
        let closest = MODELS.iter().map(|m| (edits(&name.to_lowercase(), m.name), m.name)).min();
        let suggestion = closest.filter(|&(n, _)| n <= 3).map(|(_, name)| name);
        ModelError::Unknown { name: name.into(), suggestion }
    })
}

/// The model and the widths (none: the usual ones) that `spec` names: `NAME` or `NAME:W,W,...`.
///
/// # Errors
/// If there is no such model or a width is not a number of at least 1.
pub fn parse(spec: &str) -> Result<(&'static ModelKind, Vec<usize>), ModelError> {
    let Some((name, list)) = spec.split_once(':') else {
        return Ok((find(spec)?, Vec::new()));
    };
    let model = find(name)?;
    let widths = list.split(',').enumerate().map(|(i, text)| match text.trim().parse() {
        Ok(width) if width > 0 => Ok(width),
        _ => {
            let (position, found) = (i + 1, text.trim().to_owned());
            Err(ModelError::Width { model: model.name, position, found })
        }
    });
    Ok((model, widths.collect::<Result<_, _>>()?))
}

/// The graph of the model that `spec` names, `NAME` or `NAME:W,W,...`, for images of shape `image`
/// and `classes` classes. Widths are one a stage or one a channel group; [`widths`] gives the latter
/// back.
///
/// ```
/// use pleach_core::{models, tensor::Shape};
///
/// let graph = models::build("vgg16", Shape::new(3, 32, 32), 10)?;
/// assert_eq!((graph.macs(), graph.trainable()), (313_201_664, 14_724_042));
/// # Ok::<(), models::ModelError>(())
/// ```
///
/// # Errors
/// If there is no such model, its widths are wrong, or it does not fit the image.
pub fn build(spec: &str, image: Shape, classes: usize) -> Result<Graph, ModelError> {
    let (model, widths) = parse(spec)?;
    model.graph(&widths, image, classes)
}

fn hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean {name}?"),
        None => {
            let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
            format!("; there are {}", names.join(", "))
        }
    }
}

fn counts(stages: usize, groups: usize) -> String {
    if stages == groups {
        format!("{groups} widths")
    } else {
        format!("{stages} widths (one a stage) or {groups} (one a channel group)")
    }
}

/// Insertions, deletions and substitutions from `a` to `b` (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A name longer than this is like none of ours.
    for (i, x) in a.bytes().take(32).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Shape = Shape::new(3, 32, 32);

    #[test]
    fn cost_is_the_published_one() {
        // VGG-16 and ResNet-18: the counts every pruning paper for CIFAR-10 starts from. ResNet-20
        // and -56 with projections instead of the paper's zero padding (option B of He et al. 2015):
        // 40.55 and 125.49 M MACs and 269,722 and 853,018 parameters, plus two 1x1 convolutions of
        // 131,072 MACs each and their 2,560 weights and 192 batch-norm parameters. ResNet-50: what PyTorch
        // counts in torchvision's with a 3x3 convolution of stride 1 in the place of its stem and pool.
        for (name, macs, params) in [
            ("vgg16", 313_201_664, 14_724_042),
            ("vgg16-nobn", 313_201_664, 14_719_818),
            ("vgg11", 152_769_536, 9_228_362),
            ("vgg19", 398_136_320, 20_035_018),
            ("resnet18", 555_422_720, 11_173_962),
            ("resnet50", 1_297_829_888, 23_520_842),
            ("resnet20", 40_551_040 + 262_144, 269_722 + 2_752),
            ("resnet56", 125_485_696 + 262_144, 853_018 + 2_752),
        ] {
            let graph = build(name, IMAGE, 10).unwrap();
            assert_eq!((graph.macs(), graph.trainable()), (macs, params), "{name}");
        }
    }

    #[test]
    fn the_line_about_each_model_states_its_cost() {
        for model in MODELS {
            let macs = model.graph(&[], IMAGE, 10).unwrap().macs() as f64 / 1e6;
            let stated = format!(" {macs:.1} M MACs on 32x32");
            assert!(model.about.ends_with(&stated), "{}:{stated}", model.name);
        }
    }

    #[test]
    fn vgg16_at_the_widths_of_a_tenth_has_41_million_macs() {
        let spec = "vgg16:21,43,67,73,101,93,71,53,37,29,23,19,31";
        let macs = build(spec, IMAGE, 10).unwrap().macs();
        assert_eq!((macs as f64 / 1e5).round(), 413.0);
    }

    #[test]
    fn the_small_vgg_has_5_to_8_million_macs() {
        let macs = build("vgg-small", IMAGE, 10).unwrap().macs();
        assert!((5_000_000..=8_000_000).contains(&macs), "{macs}");
    }

    #[test]
    fn every_model_is_rebuilt_from_its_widths() {
        for model in MODELS {
            let graph = model.graph(&[], IMAGE, 10).unwrap();
            let found = widths(&graph);
            assert_eq!(found.len(), model.groups(), "{}", model.name);
            assert_eq!(model.graph(&found, IMAGE, 10).unwrap(), graph, "{}", model.name);
            let odd: Vec<usize> = (0..found.len()).map(|i| 2 * i + 3).collect();
            let graph = model.graph(&odd, IMAGE, 7).unwrap();
            assert_eq!(widths(&graph), odd, "{}", model.name);
        }
    }

    #[test]
    fn residual_models_take_one_width_a_stage() {
        let graph = build("resnet18:12,24,48,96", IMAGE, 10).unwrap();
        assert_eq!(widths(&graph), [12, 12, 12, 24, 24, 24, 48, 48, 48, 96, 96, 96]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_most_similar_one() {
        let error = |spec| build(spec, IMAGE, 10).unwrap_err().to_string();
        let expected = "there is no model called \"vgg-16\"; did you mean vgg16?";
        assert_eq!(error("vgg-16"), expected);
        assert!(error("ResNet18:1,2").ends_with("did you mean resnet18?"));
        assert!(error("transformer").contains("; there are vgg11, vgg16,"));
        assert!(error(&"x".repeat(100_000)).contains("there are"));
    }

    #[test]
    fn bad_widths_are_named() {
        let error = |spec: &str| build(spec, IMAGE, 10).unwrap_err().to_string();
        assert!(error("vgg16:1,0,3").starts_with("width 2 of vgg16 is \"0\""));
        assert!(error("vgg16:").starts_with("width 1 of vgg16 is \"\""));
        assert!(error("vgg16:1,-2").starts_with("width 2 of vgg16 is \"-2\""));
        assert!(error("vgg16:99999999999999999999").contains("99999999999999999999"));
        assert_eq!(error("vgg16:1,2,3"), "vgg16 takes 13 widths, found 3");
        let expected = "resnet18 takes 4 widths (one a stage) or 12 (one a channel group), found 1";
        assert_eq!(error("resnet18:8"), expected);
        let huge = usize::MAX.to_string();
        let widths = vec![huge.as_str(); 13].join(",");
        assert!(error(&format!("vgg16:{widths}")).contains("more than 2^28"));
        let widths = ["200000"; 13].join(",");
        assert!(error(&format!("vgg16:{widths}")).contains("a parameter of more than 2^28"));
    }

    #[test]
    fn an_image_too_small_for_the_pools_is_refused() {
        let error = build("vgg16", Shape::new(3, 8, 8), 10).unwrap_err().to_string();
        assert!(
            error.starts_with("vgg16 cannot be built for images of [3, 8, 8]: layer"),
            "{error}"
        );
    }
}
