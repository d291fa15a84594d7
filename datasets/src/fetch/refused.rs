//! In the place of HTTP, where the crate is built without it.

use super::download::Received;
use std::io::Read;

/// The useful part of an answer.
pub(super) struct Response {
    pub(super) start: u64,
    pub(super) total: Option<u64>,
    pub(super) body: Box<dyn Read>,
}

/// Never.
pub(super) fn get(_url: &str, _start: u64) -> Result<Response, Received> {
    Err(Received::Refused("a build without the feature `download`".to_string()))
}
