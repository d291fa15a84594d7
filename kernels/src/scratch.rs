//! Buffers of floats that start on a cache line.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes in a cache line, and the alignment of every buffer.
const LINE: usize = 64;

/// Bytes in a huge page of the usual size.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// A fixed-length buffer of `f32` that starts on a 64-byte boundary; on Linux, one of a megabyte or more
/// lies on huge pages where the system grants them, since streams through it are up to a half faster
/// then, and strided walks miss no translations.
///
/// It over-allocates and starts at the first aligned float, so it needs no unsafe code.
#[derive(Default)]
pub struct AlignedBuffer {
    storage: Storage,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let (storage, align) = Storage::zeros(len);
        let start = storage.floats().as_ptr().align_offset(align);
        Self { storage, start, len }
    }

    /// Makes this `len` floats of unspecified contents, in the memory it has if that suffices.
    pub fn resize(&mut self, len: usize) {
        if self.start + len <= self.storage.floats().len() {
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
        &self.storage.floats()[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage.floats_mut()[self.start..self.start + self.len]
    }
}

/// Memory for a buffer.
enum Storage {
    Heap(Vec<f32>),
    #[cfg(target_os = "linux")]
    Huge(memmap2::MmapMut),
}

impl Default for Storage {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Storage {
    /// Zeros, and the alignment in bytes of a float from which on there are at least `len` of them.
    fn zeros(len: usize) -> (Self, usize) {
        #[cfg(target_os = "linux")]
        if let Some(huge) = Self::huge(len) {
            return (huge, HUGE_PAGE);
        }
        (Self::Heap(vec![0.0; len + LINE / size_of::<f32>()]), LINE)
    }

    /// Whole huge pages for `len` floats, if that is half a page or more and there is address space.
    #[cfg(target_os = "linux")]
    fn huge(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        if bytes < HUGE_PAGE / 2 {
            return None;
        }
        let mapped = bytes.checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE)?;
        let map = memmap2::MmapMut::map_anon(mapped).ok()?;
        // Where the system has no huge pages, small ones do.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(Self::Huge(map))
    }

    fn floats(&self) -> &[f32] {
        match self {
            Self::Heap(floats) => floats,
            #[cfg(target_os = "linux")]
            Self::Huge(map) => bytemuck::cast_slice(map),
        }
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Heap(floats) => floats,
            #[cfg(target_os = "linux")]
            Self::Huge(map) => bytemuck::cast_slice_mut(map),
        }
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
        for len in [0, 1, 15, 16, 1000, 300_000, 600_000] {
            let buffer = AlignedBuffer::zeros(len);
            assert!(buffer.len() == len && buffer.iter().all(|&x| x == 0.0));
            assert_eq!(buffer.as_ptr() as usize % LINE, 0);
            assert_eq!(buffer.clone().as_ptr() as usize % LINE, 0);
        }
    }
}
