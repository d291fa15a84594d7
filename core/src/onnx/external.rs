//! Files beside the model, which its weights may be in.

use super::OnnxError;
use super::proto::{Attribute, Graph};
use super::tensor::{Data, Place, Tensor};
use crate::checkpoint::map;
use memmap2::Mmap;
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::rc::Rc;

/// Files that a model's weights may be in. Exporters write one, or one a tensor.
const MAX_FILES: usize = 1 << 12;

/// The files beside the model that its weights are in.
#[derive(Debug, Default)]
pub(super) struct Files {
    maps: BTreeMap<String, Mmap>,
}

impl Files {
    /// Opens the files that the tensors of `graph`, the model at `path`, name.
    pub(super) fn open(path: &Path, graph: &Graph<'_>) -> Result<Self, OnnxError> {
        let mut maps = BTreeMap::new();
        let mut ranges = Vec::new();
        for (tensor, place) in tensors(graph) {
            let Some(name) = file_name(place.location) else {
                let reason = format!(
                    "the values of {:?} are said to be in {:?}, which is no file beside the model",
                    tensor.name, place.location
                );
                return Err(OnnxError::model(path, reason));
            };
            if !maps.contains_key(name) {
                if maps.len() == MAX_FILES {
                    let reason = format!("its values are in more than {MAX_FILES} other files");
                    return Err(OnnxError::model(path, reason));
                }
                maps.insert(name.to_owned(), map(&path.with_file_name(name))?);
            }
            if let Some(len) = place.len.or_else(|| tensor.bytes_len().map(|len| len as u64)) {
                let end = place.offset.saturating_add(len);
                ranges.push((name, place.offset, end, tensor.name));
            }
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            let [(file, begin, end, name), (other_file, other_begin, other_end, other)] = pair
            else {
                continue;
            };
            // One range may be that of several tensors: some exporters keep equal values once.
            let is_same = (begin, end) == (other_begin, other_end);
            if file == other_file && other_begin < end && !is_same {
                let reason = format!("the values of {name:?} and {other:?} overlap in {file}");
                return Err(OnnxError::model(path, reason));
            }
        }
        Ok(Self { maps })
    }

    /// Bytes of all files.
    pub(super) fn len(&self) -> usize {
        self.maps.values().map(|map| map.len()).sum()
    }

    /// The bytes at `place`; without a length there, `len`.
    pub(super) fn bytes(&self, place: &Place<'_>, len: Option<usize>) -> Result<&[u8], String> {
        let location = place.location;
        let Some(map) = file_name(location).and_then(|name| self.maps.get(name)) else {
            return Err(format!(
                "has its values in {location:?}, which is only looked for beside a model in a file"
            ));
        };
        let range = || {
            let begin = usize::try_from(place.offset).ok()?;
            let len = match place.len {
                Some(len) => usize::try_from(len).ok()?,
                None => len?,
            };
            map.get(begin..begin.checked_add(len)?)
        };
        range().ok_or_else(|| {
            let (offset, end) = (place.offset, map.len());
            format!("has its values at byte {offset} of {location:?}, beyond its {end} bytes")
        })
    }
}

/// All tensors whose values are in other files.
fn tensors<'g, 'a>(graph: &'g Graph<'a>) -> impl Iterator<Item = (&'g Tensor<'a>, &'g Place<'a>)> {
    let attributes = graph.nodes.iter().flat_map(|node| &node.attributes);
    let constants = attributes.filter_map(|(_, value)| match value {
        Attribute::Tensor(tensor) => Some(tensor),
        _ => None,
    });
    let all = graph.initializers.iter().chain(constants).map(Rc::as_ref);
    all.filter_map(|tensor| match &tensor.data {
        Data::External(place) => Some((tensor, place)),
        _ => None,
    })
}

/// The name of the file beside the model that `location` is, if it is one: no path leads elsewhere.
fn file_name(location: &str) -> Option<&str> {
    // As other systems write paths.
    if location.contains(['\\', ':', '\0']) {
        return None;
    }
    let mut parts = Path::new(location).components().filter(|part| *part != Component::CurDir);
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => name.to_str(),
        _ => None,
    }
}
