//! Buffers of floats that start on a cache line.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes in a cache line, and the alignment of every buffer.
const LINE: usize = 64;

/// A fixed-length buffer of `f32` that starts on a 64-byte boundary.
///
/// It over-allocates by one line and starts at the first aligned float, so it needs no unsafe code.
#[derive(Default)]
pub struct AlignedBuffer {
    storage: Vec<f32>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let storage = vec![0.0; len + LINE / size_of::<f32>()];
        let start = storage.as_ptr().align_offset(LINE);
        Self { storage, start, len }
    }

    /// Makes this `len` floats of unspecified contents, in the memory it has if that suffices.
    pub fn resize(&mut self, len: usize) {
        if self.start + len <= self.storage.len() {
            self.len = len;
        } else {
            *self = Self::zeros(len);
        }
    }

    /// Makes room for at least `len` floats and returns the first `len` of them. Contents are
    /// unspecified (zeros or values of earlier use).
    pub fn take(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            self.resize(len);
        }
        &mut self[..len]
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_and_their_copies_start_on_a_cache_line() {
        for len in [0, 1, 15, 16, 1000] {
            let buffer = AlignedBuffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % LINE, 0);
            assert_eq!(buffer.clone().as_ptr() as usize % LINE, 0);
        }
    }
}
