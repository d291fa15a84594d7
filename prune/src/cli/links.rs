//! How a text links to files that lie elsewhere.

use std::io;
use std::path::{Component, Path, PathBuf};

/// What Markdown in the folder `from` links to files in `folder` by; nothing for those that are not there.
pub(super) fn to_files(from: &Path, folder: &Path) -> impl Fn(&str) -> Option<String> {
    let way = way(from, folder);
    move |name| {
        let way = way.as_ref().ok().filter(|_| folder.join(name).exists())?;
        // On all systems links have the web's slashes.
        let parts = way.iter().map(|part| part.to_string_lossy()).chain([name.into()]);
        let link = parts.collect::<Vec<_>>().join("/");
        Some(match link.contains([' ', '(', ')']) {
            true => format!("<{link}>"),
            false => link,
        })
    }
}

/// The way from a folder to another; nothing from one to itself.
fn way(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_seen_from_where_the_text_is_and_those_that_are_not_there_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["a/runs/one", "a/texts", "a/two words"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["a/runs/one/f.svg", "a/two words/f.svg"] {
            fs::write(at(path), "").unwrap();
        }
        let seen = |from: &str, to: &str| to_files(&at(from), &at(to))("f.svg");
        assert_eq!(seen("a/runs/one", "a/runs/one").as_deref(), Some("f.svg"));
        assert_eq!(seen("a", "a/runs/one").as_deref(), Some("runs/one/f.svg"));
        assert_eq!(seen("a/texts", "a/runs/one").as_deref(), Some("../runs/one/f.svg"));
        assert_eq!(seen("a/texts", "a/two words").as_deref(), Some("<../two words/f.svg>"));
        assert_eq!(seen("a/runs/one", "a/texts"), None, "it has no such file");
    }
}
