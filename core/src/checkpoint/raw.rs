//! Tensors as files have them: bytes of some type, in some order.

use byteorder::{ByteOrder, LittleEndian};

/// A tensor in a file.
#[derive(Clone, Debug)]
pub(super) struct RawTensor<'a> {
    /// The type of its values, as safetensors writes it.
    pub(super) dtype: &'static str,
    /// Its dimensions; none: a scalar.
    pub(super) shape: Vec<usize>,
    bytes: &'a [u8],
    /// How far apart values are along each dimension, unless they are dense in row-major order.
    strides: Option<Vec<usize>>,
}

impl<'a> RawTensor<'a> {
    /// A tensor whose values are `bytes`, little-endian, dense in row-major order.
    pub(super) fn dense(dtype: &'static str, shape: Vec<usize>, bytes: &'a [u8]) -> Self {
        Self { dtype, shape, bytes, strides: None }
    }

    /// A tensor whose values, little-endian, are `strides` apart in `bytes`, which has them all and may
    /// have more.
    pub(super) fn strided(
        dtype: &'static str,
        shape: Vec<usize>,
        strides: Vec<usize>,
        bytes: &'a [u8],
    ) -> Self {
        let tensor = Self { dtype, shape, bytes, strides: None };
        match tensor.is_dense(&strides) {
            true => Self { bytes: &bytes[..tensor.len_bytes()], ..tensor },
            false => Self { strides: Some(strides), ..tensor },
        }
    }

    /// Whether its values are floats.
    pub(super) fn is_float(&self) -> bool {
        widen(self.dtype, &[]).is_some()
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }

    /// The bytes of all values.
    pub(super) fn len_bytes(&self) -> usize {
        self.len() * size_of(self.dtype).unwrap_or(1)
    }

    /// The values in row-major order as `f32`, if they are floats: `F64` to the nearest, all others as
    /// they are.
    pub(super) fn to_f32(&self) -> Option<Vec<f32>> {
        match &self.strides {
            None => widen(self.dtype, self.bytes),
            Some(strides) => {
                let size = size_of(self.dtype)?;
                widen(self.dtype, &gather(self.bytes, size, &self.shape, strides))
            }
        }
    }

    /// Whether values that are `strides` apart are dense; along a dimension of one value any stride is.
    fn is_dense(&self, strides: &[usize]) -> bool {
        let mut expected = 1;
        self.len() == 0
            || self.shape.iter().zip(strides).rev().all(|(&dim, &stride)| {
                let dense = dim == 1 || stride == expected;
                expected *= dim;
                dense
            })
    }
}

/// Bytes of a value of a type that may hold weights or counts.
pub(super) fn size_of(dtype: &str) -> Option<usize> {
    match dtype {
        "F64" | "I64" => Some(8),
        "F32" | "I32" => Some(4),
        "F16" | "BF16" | "I16" => Some(2),
        "I8" | "U8" | "BOOL" => Some(1),
        _ => None,
    }
}

/// Little-endian floats as `f32`; `None` of other types.
pub(crate) fn widen(dtype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = bytes.chunks_exact(2).map(LittleEndian::read_u16);
    match dtype {
        "F64" => {
            Some(bytes.chunks_exact(8).map(|bytes| LittleEndian::read_f64(bytes) as f32).collect())
        }
        "F32" => {
            let mut values = vec![0.0; bytes.len() / 4];
            LittleEndian::read_f32_into(bytes, &mut values);
            Some(values)
        }
        "F16" => Some(halves.map(|bits| half::f16::from_bits(bits).to_f32()).collect()),
        "BF16" => Some(halves.map(|bits| half::bf16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

/// Values of `size` bytes in row-major order, of a tensor whose values are `strides` apart in `bytes`,
/// which has them all.
pub(crate) fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let len = if shape.contains(&0) { 0 } else { shape.iter().product() };
    let mut dense = Vec::with_capacity(len * size);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..len {
        dense.extend_from_slice(&bytes[at * size..(at + 1) * size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= shape[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_followed_whatever_their_order() {
        let bytes: Vec<u8> = (0..24).collect();
        let transposed = gather(&bytes, 1, &[4, 3, 2], &[1, 4, 12]);
        let expected: Vec<u8> = (0..24).map(|i| i / 6 + 4 * (i / 2 % 3) + 12 * (i % 2)).collect();
        assert_eq!(transposed, expected);
        assert_eq!(gather(&bytes, 2, &[2, 2], &[6, 1]), [0, 1, 2, 3, 12, 13, 14, 15]);
        assert_eq!(gather(&bytes, 1, &[3], &[0]), [0, 0, 0]);
        assert_eq!(gather(&bytes, 4, &[], &[]), [0, 1, 2, 3]);
        assert!(gather(&bytes, 4, &[2, 0, usize::MAX], &[1, 1, 1]).is_empty());
    }

    #[test]
    fn dense_strides_are_recognised() {
        let bytes = [0; 24];
        let tensor = |shape: &[usize], strides: &[usize]| {
            RawTensor::strided("F32", shape.to_vec(), strides.to_vec(), &bytes)
        };
        assert!(tensor(&[2, 3], &[3, 1]).strides.is_none());
        assert!(tensor(&[2, 1, 3], &[3, 77, 1]).strides.is_none());
        assert!(tensor(&[2, 3], &[1, 2]).strides.is_some());
        assert_eq!(tensor(&[2], &[1]).bytes.len(), 8);
    }
}
