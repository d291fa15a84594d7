//! Just enough of PNG (ISO/IEC 15948) to look at a screenshot.

use flate2::read::ZlibDecoder;
use std::collections::BTreeSet;
use std::io::Read;

/// A picture of three or four bytes a pixel.
pub(crate) struct Png {
    pub(crate) width: usize,
    pub(crate) height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

impl Png {
    /// Decodes what a browser writes: 8 bits a channel, no palette, not interlaced.
    pub(crate) fn decode(file: &[u8]) -> Self {
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
        let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(16), number(20));
        let channels = match file[24..29] {
            [8, 2, 0, 0, 0] => 3,
            [8, 6, 0, 0, 0] => 4,
            ref other => panic!("a kind of PNG that is not read: {other:?}"),
        };
        let (mut at, mut packed) = (8, Vec::new());
        while at < file.len() {
            let (len, kind) = (number(at), &file[at + 4..at + 8]);
            if kind == b"IDAT" {
                packed.extend(&file[at + 8..at + 8 + len]);
            }
            at += 12 + len;
        }
        let mut lines = Vec::new();
        ZlibDecoder::new(&*packed).read_to_end(&mut lines).unwrap();
        let row = width * channels;
        let mut bytes: Vec<u8> = Vec::with_capacity(row * height);
        for line in lines.chunks_exact(row + 1) {
            let start = bytes.len();
            for (i, &byte) in line[1..].iter().enumerate() {
                let left = if i < channels { 0 } else { bytes[start + i - channels] };
                let up = if start == 0 { 0 } else { bytes[start + i - row] };
                let corner = match i >= channels && start > 0 {
                    true => bytes[start + i - row - channels],
                    false => 0,
                };
                let expected = match line[0] {
                    0 => 0,
                    1 => left,
                    2 => up,
                    3 => u8::midpoint(left, up),
                    4 => paeth(left, up, corner),
                    filter => panic!("filter {filter}"),
                };
                bytes.push(byte.wrapping_add(expected));
            }
        }
        assert_eq!(bytes.len(), row * height);
        Self { width, height, channels, bytes }
    }

    fn pixels(&self) -> impl Iterator<Item = [u8; 3]> {
        self.bytes.chunks_exact(self.channels).map(|pixel| [pixel[0], pixel[1], pixel[2]])
    }

    /// How many colours there are.
    pub(crate) fn colors(&self) -> usize {
        self.pixels().collect::<BTreeSet<_>>().len()
    }

    /// The mean of all channels, 0 to 255.
    pub(crate) fn brightness(&self) -> f64 {
        let sum: u64 = self.pixels().flatten().map(u64::from).sum();
        sum as f64 / (3 * self.width * self.height) as f64
    }
}

/// The nearest of three to where they point.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let target = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |value: u8| (target - i16::from(value)).abs();
    [left, up, corner].into_iter().min_by_key(|&value| distance(value)).unwrap_or_default()
}
