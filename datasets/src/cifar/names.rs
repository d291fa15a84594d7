//! The text file of class names, which says which class a label means.

use super::Layout;
use super::files::Contents;
use crate::DataError;

/// More than this is not a list of class names (CIFAR-100's has 1,000 bytes or so).
pub(super) const MAX_LEN: u64 = 64 << 10;

/// Checks that the names are the layout's, in its order: one a line, blank lines aside.
///
/// # Errors
/// At the first line that is another one.
pub(super) fn check(layout: &Layout, names: &Contents) -> Result<(), DataError> {
    let fail = |offset: usize, expected: &str, found: &[u8]| {
        let found = if found.is_empty() {
            "the end of the file".to_string()
        } else {
            // A copy: the bytes may be those of a mapped file, and text must not change.
            let shown = found[..found.len().min(40)].to_vec();
            format!("{:?}", String::from_utf8_lossy(&shown))
        };
        Err(DataError::malformed(&names.path, offset, expected, found))
    };
    let mut expected = layout.class_names().enumerate();
    let mut offset = 0;
    for line in names.split_inclusive(|&byte| byte == b'\n') {
        let name = line.trim_ascii();
        if !name.is_empty() {
            match expected.next() {
                Some((_, wanted)) if wanted.as_bytes() == name => {}
                Some((class, wanted)) => {
                    return fail(offset, &format!("{wanted:?}, the name of class {class}"), name);
                }
                None => return fail(offset, "no more class names", name),
            }
        }
        offset += line.len();
    }
    match expected.next() {
        None => Ok(()),
        Some((class, wanted)) => {
            fail(names.len(), &format!("{wanted:?}, the name of class {class}"), &[])
        }
    }
}
