//! Attributes of nodes, by name and kind.

use super::{Refusal, refuse};
use crate::onnx::proto::{Attribute, Node};

impl<'a> Node<'a> {
    /// The attribute called `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, Refusal> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => unlike(name, "a whole number"),
        }
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Refusal> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(*value)),
            Some(_) => unlike(name, "a number"),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&[i64]>, Refusal> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => unlike(name, "a list of whole numbers"),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Text(value)) => Ok(Some(value)),
            Some(_) => unlike(name, "text"),
        }
    }

    /// That this attribute must have this value.
    pub(super) fn must_be(&self, name: &str, expected: i64) -> Result<(), Refusal> {
        match self.int(name, expected)? {
            found if found == expected => Ok(()),
            found => refuse(format!("has {name} {found}; only {expected} is taken over")),
        }
    }
}

fn unlike<T>(name: &str, expected: &str) -> Result<T, Refusal> {
    refuse(format!("has an attribute {name} that is not {expected}"))
}
