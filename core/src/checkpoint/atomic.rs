//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const PREFIX: &str = ".pleach-";
const SUFFIX: &str = ".tmp";

/// Whether a file of this name is a temporary sibling of [`write_atomically`]: one that stays belongs to
/// a process that was killed.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Writes a file by way of a temporary sibling that is synced to the disk and then renamed, so that at
/// no moment is there a part of it under its name. If anything fails, what was there before is still
/// there, and the sibling is removed. What is there and is no regular file, such as a device, stays: the
/// rename would take its place.
///
/// # Errors
/// What the operating system or `write` says; [`io::ErrorKind::InvalidInput`] if something else than a file
/// is there.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    // What the crate says names the sibling.
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    // As any new file, minus the umask, where the crate's own choice is its user's eyes only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself survives a power cut once the folder is synced. Not every file system can,
    // and the file is whole either way.
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        fs::write(&path, "the last good one").unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(&[1; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"the last good one");
        assert_eq!(names(folder.path()), ["best.safetensors"]);
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_files_place_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let result = write_atomically(&folder.path().join("no/file"), |_| Ok(()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
        let result = write_atomically(folder.path(), |_| Ok(()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(names(folder.path()).is_empty());
    }

    /// Nor what a link to one leads to.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let (socket, link) = (folder.path().join("socket"), folder.path().join("link"));
        let _listener = UnixListener::bind(&socket).unwrap();
        symlink(&socket, &link).unwrap();
        for path in [&socket, &link] {
            let error = write_atomically(path, |file| file.write_all(b"x")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "is no regular file");
        }
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn files_have_the_permissions_of_any_other_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a"), folder.path().join("b"));
        write_atomically(&ours, |file| file.write_all(b"x")).unwrap();
        fs::write(&theirs, "x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(theirs));
    }
}
