//! Zip archives of uncompressed files, as PyTorch writes them: just enough of the format to find each
//! file's bytes (PKWARE's APPNOTE, sections 4.3 and 4.5).
//!
//! Checksums are not compared: PyTorch can be told to leave them out.

use super::Malformed;
use byteorder::{ByteOrder, LittleEndian};
use std::collections::BTreeMap;
use std::ops::Range;

/// How every archive with a file in it begins.
pub(super) const MAGIC: &[u8; 4] = b"PK\x03\x04";

const DIRECTORY_ENTRY: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

/// Bytes of an end record without its comment, and the most that a comment has.
const END_LEN: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;

/// The files of an archive: where the bytes of each are.
pub(super) type Files = BTreeMap<String, Range<usize>>;

/// A field of a record at a fixed offset.
struct Record<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Record<'a> {
    /// The `len` bytes at `offset`, which must begin with `magic`.
    fn at(
        bytes: &'a [u8],
        offset: usize,
        magic: &[u8; 4],
        len: usize,
        what: &str,
    ) -> Result<Self, Malformed> {
        let record = offset.checked_add(len).and_then(|end| bytes.get(offset..end));
        match record {
            Some(record) if record.starts_with(magic) => Ok(Self { bytes: record, offset }),
            _ => {
                let offset = offset.min(bytes.len());
                Err(Malformed::new(offset, format!("{what} of {len} bytes"), "other bytes"))
            }
        }
    }

    fn u16(&self, at: usize) -> usize {
        LittleEndian::read_u16(&self.bytes[at..]).into()
    }

    fn u32(&self, at: usize) -> u64 {
        LittleEndian::read_u32(&self.bytes[at..]).into()
    }

    fn u64(&self, at: usize) -> u64 {
        LittleEndian::read_u64(&self.bytes[at..])
    }
}

/// The central directory: where it begins and how many entries it has.
struct Directory {
    start: usize,
    end: usize,
    entries: u64,
}

/// Finds the files of an archive.
///
/// # Errors
/// If it is cut short, compressed, encrypted, of several parts, has a name twice, or files that overlap
/// each other or lie outside the archive.
pub(super) fn files(bytes: &[u8]) -> Result<Files, Malformed> {
    let directory = directory(bytes)?;
    let mut files = Files::new();
    let mut at = directory.start;
    for _ in 0..directory.entries {
        let (name, range, next) = entry(bytes, at, &directory)?;
        if files.contains_key(&name) {
            return Err(Malformed::new(at, "each file once", format!("{name:?} twice")));
        }
        files.insert(name, range);
        at = next;
    }
    if at != directory.end {
        let found = format!("{} bytes of it", directory.end - at);
        return Err(Malformed::new(at, "the end of the directory", found));
    }
    let mut ranges: Vec<_> = files.iter().map(|(name, range)| (range, name)).collect();
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    for pair in ranges.windows(2) {
        let [(first, one), (second, other)] = [pair[0], pair[1]];
        if second.start < first.end {
            let found = format!("{one:?} and {other:?} in the same bytes");
            return Err(Malformed::new(second.start, "files one after the other", found));
        }
    }
    Ok(files)
}

fn directory(bytes: &[u8]) -> Result<Directory, Malformed> {
    let missing = || {
        let expected = "the end record of a zip archive in the last 65,557 bytes";
        Malformed::new(bytes.len(), expected, "none: the file is cut short")
    };
    let last = bytes.len().checked_sub(END_LEN).ok_or_else(missing)?;
    let end = (last.saturating_sub(MAX_COMMENT)..=last).rev().find(|&at| {
        bytes[at..].starts_with(END)
            && usize::from(LittleEndian::read_u16(&bytes[at + 20..])) == last - at
    });
    let end = end.ok_or_else(missing)?;
    let record = Record::at(bytes, end, END, END_LEN, "an end record")?;
    let parts = [record.u16(4), record.u16(6)];
    let (entries, size, start) = (record.u16(10) as u64, record.u32(12), record.u32(16));
    let is_64 = parts.contains(&0xFFFF)
        || entries == 0xFFFF
        || [size, start].contains(&u64::from(u32::MAX));
    let (entries, size, start, limit) = if is_64 {
        let locator = end.checked_sub(20).ok_or_else(missing)?;
        let record = Record::at(bytes, locator, LOCATOR_64, 20, "a zip64 locator")?;
        let at = usize::try_from(record.u64(8)).unwrap_or(usize::MAX);
        let record = Record::at(bytes, at, END_64, 56, "a zip64 end record")?;
        (record.u64(32), record.u64(40), record.u64(48), at)
    } else {
        if parts != [0, 0] {
            return Err(Malformed::new(end, "an archive of one part", "a part of several"));
        }
        (entries, size, start, end)
    };
    let fits = start.checked_add(size).is_some_and(|end| end <= limit as u64);
    // An entry has at least 46 bytes.
    if !fits || entries > size / 46 {
        let found = format!("{entries} entries in {size} bytes from {start}");
        let expected = format!("a directory within the {limit} bytes before its end");
        return Err(Malformed::new(end, expected, found));
    }
    Ok(Directory { start: start as usize, end: (start + size) as usize, entries })
}

/// The name and the bytes of the file whose directory entry is at `at`, and where the next entry is.
fn entry(
    bytes: &[u8],
    at: usize,
    directory: &Directory,
) -> Result<(String, Range<usize>, usize), Malformed> {
    let bytes_before_end = &bytes[..directory.end];
    let record = Record::at(bytes_before_end, at, DIRECTORY_ENTRY, 46, "a directory entry")?;
    let (flags, method) = (record.u16(8), record.u16(10));
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| record.u16(at));
    let name_at = at + 46;
    let next = name_at + name_len + extra_len + comment_len;
    if next > directory.end {
        return Err(Malformed::new(at, "a directory entry in the directory", "a longer one"));
    }
    // A copy, as of all text: the bytes may be those of a file that another process writes to.
    let name = String::from_utf8(bytes[name_at..name_at + name_len].to_vec())
        .map_err(|_| Malformed::new(name_at, "a file's name in UTF-8", "other bytes"))?;
    if flags & 1 != 0 {
        return Err(Malformed::new(at, "files in the clear", format!("{name:?} encrypted")));
    }
    if method != 0 {
        let found = format!("{name:?} compressed by method {method}");
        return Err(Malformed::new(at, "uncompressed files, as torch.save writes them", found));
    }
    let (mut compressed, mut size, mut offset) = (record.u32(20), record.u32(24), record.u32(42));
    let extra = &bytes[name_at + name_len..name_at + name_len + extra_len];
    let mut large = zip64(extra).chunks_exact(8).map(LittleEndian::read_u64);
    // The extra field has those of the fields that do not fit, in this order.
    for field in [&mut size, &mut compressed, &mut offset] {
        if *field == u64::from(u32::MAX) {
            let missing = || Malformed::new(at, format!("a zip64 field of {name:?}"), "none");
            *field = large.next().ok_or_else(missing)?;
        }
    }
    if compressed != size {
        let found = format!("{compressed} bytes of {size}");
        return Err(Malformed::new(at, format!("all bytes of {name:?}"), found));
    }
    let files = &bytes[..directory.start];
    let offset_len = usize::try_from(offset).unwrap_or(usize::MAX);
    let local = Record::at(files, offset_len, MAGIC, 30, &format!("the header of {name:?}"))?;
    let (local_name, local_extra) = (local.u16(26), local.u16(28));
    let start = local.offset + 30 + local_name + local_extra;
    let name_range = local.offset + 30..local.offset + 30 + local_name;
    if files.get(name_range) != Some(name.as_bytes()) {
        let found = "another one";
        return Err(Malformed::new(local.offset, format!("the header of {name:?}"), found));
    }
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
    match end.filter(|&end| end <= directory.start) {
        Some(end) => Ok((name, start..end, next)),
        None => {
            let expected = format!("{name:?} before the directory, at byte {}", directory.start);
            Err(Malformed::new(at, expected, format!("{size} bytes from byte {start}")))
        }
    }
}

/// The zip64 field among the extra fields of a directory entry, or nothing.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (id, len) = (LittleEndian::read_u16(extra), LittleEndian::read_u16(&extra[2..]).into());
        let Some(field) = extra[4..].get(..len) else { break };
        if id == 1 {
            return field;
        }
        extra = &extra[4 + len..];
    }
    &[]
}
