//! Downloads from a server on this machine: whole, resumed, and gone wrong in every way.

#![cfg(feature = "download")]

use pleach_datasets::fetch::{OFFICIAL, Progress, fetch};
use pleach_datasets::registry::{Archive, Format, Place};
use pleach_datasets::{DataError, Dataset, Spec, Split};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};
use tempfile::tempdir;

/// A format whose archive is any bytes at all, and whose one file, `data.bin`, is that archive.
struct Blob {
    sha256: &'static str,
}

/// Formats live as long as the program. Those of tests are kept here, so that none counts as leaked.
static BLOBS: Mutex<Vec<&Blob>> = Mutex::new(Vec::new());

impl Blob {
    fn of(bytes: &[u8]) -> &'static Self {
        let digest = Sha256::digest(bytes);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let blob = Box::leak(Box::new(Self { sha256: sha256.leak() }));
        BLOBS.lock().unwrap().push(blob);
        blob
    }
}

impl Format for Blob {
    fn folder(&self) -> &'static str {
        "blob"
    }

    fn owns(&self, file_name: &str) -> bool {
        file_name == "blob.tar.gz"
    }

    fn archive(&self) -> Archive {
        Archive { file_name: "blob.tar.gz", sha256: self.sha256 }
    }

    fn open(&'static self, place: &Place) -> Result<Box<dyn Dataset>, DataError> {
        let path = match place {
            Place::Archive(path) => path.clone(),
            Place::Folder(path) => path.join("data.bin"),
        };
        let bytes = fs::read(path).unwrap_or_default();
        if bytes.is_empty() || bytes == b"not a data set" {
            let path = place.path().to_path_buf();
            let (expected, found) = ("a data set".to_string(), "none".to_string());
            return Err(DataError::Unexpected { path, expected, found });
        }
        Ok(Box::new(Opened { path: place.path().join("data.bin"), bytes }))
    }
}

struct Opened {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Dataset for Opened {
    fn spec(&self) -> &Spec {
        unreachable!("nobody looks at the images")
    }

    fn len(&self, _: Split) -> usize {
        0
    }

    fn label(&self, _: Split, _: usize) -> u32 {
        unreachable!("nobody looks at the images")
    }

    fn pixels(&self, _: Split, _: usize) -> &[u8] {
        unreachable!("nobody looks at the images")
    }

    fn files(&self) -> Vec<(&Path, &[u8])> {
        vec![(&self.path, &self.bytes)]
    }
}

/// A server that answers its first request with the first answer, and so on; the last answer
/// repeats. An answer gets the offset asked for, and gives all bytes to send.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answer = Box<dyn Fn(Option<usize>) -> Vec<u8> + Send>;

impl Server {
    fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let (request, range) = Self::read(&stream);
                seen.lock().unwrap().push(request);
                let answer = &answers[i.min(answers.len() - 1)];
                // The client may have hung up already.
                let _ = stream.write_all(&answer(range));
            }
        });
        Self { url, requests }
    }

    /// The request line, and the first byte of the range asked for.
    fn read(stream: &TcpStream) -> (String, Option<usize>) {
        let mut range = None;
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let request = lines.next().unwrap_or_default();
        for line in lines.take_while(|line| !line.is_empty()) {
            if let Some(first) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = first.trim_end_matches('-').parse().ok();
            }
        }
        (request, range)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The address of a server that takes a request, sends this, says nothing for longer than anybody waits, and hangs up.
fn stalled(sent: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/data", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            Server::read(&stream);
            // The client may have hung up already.
            let _ = stream.write_all(&sent);
            thread::sleep(Duration::from_secs(10));
        }
    });
    url
}

/// An answer with the length of `of`, of which it sends `sent` bytes and hangs up.
fn cut(of: &[u8], sent: usize) -> Answer {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", of.len());
    let bytes = [head.as_bytes(), &of[..sent]].concat();
    Box::new(move |_| bytes.clone())
}

fn whole(of: &[u8]) -> Answer {
    cut(of, of.len())
}

/// An answer with what was asked for.
fn rest(of: &[u8]) -> Answer {
    let of = of.to_vec();
    Box::new(move |range| {
        let first = range.expect("a range was asked for");
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\
             Connection: close\r\n\r\n",
            of.len() - first,
            of.len() - 1,
            of.len()
        );
        [head.as_bytes(), &of[first..]].concat()
    })
}

fn status(line: &str) -> Answer {
    let bytes = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Box::new(move |_| bytes.clone().into_bytes())
}

/// Bytes that no part of repeats.
fn body() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Everything below `dir`.
fn left_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Fetches into a new folder, which must not exist afterwards; gives the message without the URL.
fn refused(format: &'static Blob, server: &Server) -> String {
    let above = tempdir().unwrap();
    let dir = above.path().join("new/folder");
    let error = fetch(format, &server.url, &dir, &mut go_on).unwrap_err();
    assert_eq!(left_in(above.path()), Vec::<String>::new(), "nothing is left behind");
    let message = error.to_string();
    let url = format!("{}/blob.tar.gz", server.url);
    let begins = match error {
        DataError::Unreachable { .. } => format!("{url} cannot be downloaded: "),
        _ => format!("{url}: expected an archive with sha256 {}, found ", format.sha256),
    };
    message.strip_prefix(&begins).unwrap_or_else(|| panic!("{message}")).to_string()
}

#[test]
fn an_archive_is_downloaded_checked_and_unpacked_once() {
    let body = body();
    let server = Server::new(vec![whole(&body)]);
    let above = tempdir().unwrap();
    let dir = above.path().join("data");
    let mut last = None;
    let mut watch = |progress: Progress| {
        last = Some(progress);
        ControlFlow::Continue(())
    };
    let format = Blob::of(&body);
    let fetched = fetch(format, &server.url, &dir, &mut watch).unwrap();
    let len = body.len() as u64;
    assert_eq!(last, Some(Progress { received: len, total: Some(len) }));
    assert!(fetched.downloaded);
    assert_eq!(left_in(&dir), ["blob", "blob.tar.gz"]);
    assert_eq!(fs::read(&fetched.archive).unwrap(), body);
    assert_eq!(fs::read(fetched.folder.join("data.bin")).unwrap(), body);
    let again = fetch(format, &server.url, &dir, &mut go_on).unwrap();
    assert!(!again.downloaded);
    assert_eq!(server.requests(), ["GET /data/blob.tar.gz HTTP/1.1"]);
}

#[cfg(unix)]
#[test]
fn what_is_fetched_has_the_rights_of_any_other_file() {
    use std::os::unix::fs::PermissionsExt;
    let body = body();
    let server = Server::new(vec![whole(&body)]);
    let dir = tempdir().unwrap();
    let fetched = fetch(Blob::of(&body), &server.url, dir.path(), &mut go_on).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let (plain, folder) = (dir.path().join("plain"), dir.path().join("folder"));
    fs::write(&plain, "").unwrap();
    fs::create_dir(&folder).unwrap();
    assert_eq!(mode(&fetched.archive), mode(&plain));
    assert_eq!(mode(&fetched.folder), mode(&folder));
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let body = body();
    let server = Server::new(vec![cut(&body, 70_001), rest(&body)]);
    let dir = tempdir().unwrap();
    let fetched = fetch(Blob::of(&body), &server.url, dir.path(), &mut go_on).unwrap();
    assert_eq!(fs::read(&fetched.archive).unwrap(), body);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_broken_download_starts_again_where_the_server_knows_no_ranges() {
    let body = body();
    let server = Server::new(vec![cut(&body, 70_001), status("503 Busy"), whole(&body)]);
    let dir = tempdir().unwrap();
    let fetched = fetch(Blob::of(&body), &server.url, dir.path(), &mut go_on).unwrap();
    assert_eq!(fs::read(&fetched.archive).unwrap(), body);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn another_checksum_is_refused_at_once() {
    let mut other = body();
    other[1_000] ^= 1;
    let server = Server::new(vec![whole(&other)]);
    let found = refused(Blob::of(&body()), &server);
    assert_eq!(found, format!("200000 bytes with sha256 {}", Blob::of(&other).sha256));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_body_that_always_ends_early_is_refused() {
    let body = body();
    let server = Server::new(vec![cut(&body, 150_000)]);
    let found = refused(Blob::of(&body), &server);
    assert!(found.starts_with("150000 bytes of 200000"), "{found}");
    assert!(found.ends_with(", 4 times"), "{found}");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn an_archive_that_is_not_there_is_refused_at_once() {
    let server = Server::new(vec![status("404 Not Found")]);
    assert_eq!(refused(Blob::of(b"x"), &server), "the answer 404 Not Found");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let body = body();
    let elsewhere = "206 Partial Content\r\nContent-Range: bytes 5-9/200000".to_string();
    let server = Server::new(vec![cut(&body, 100), status(&elsewhere)]);
    assert_eq!(refused(Blob::of(&body), &server), "the range \"bytes 5-9/200000\"");
}

#[test]
fn a_server_that_is_not_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let dir = tempdir().unwrap();
    let error = fetch(Blob::of(b"x"), &url, dir.path(), &mut go_on).unwrap_err();
    let begins = format!("{url}/blob.tar.gz cannot be downloaded: ");
    assert!(error.to_string().starts_with(&begins), "{error}");
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
}

#[test]
fn an_interrupted_download_leaves_nothing() {
    let body = body();
    let server = Server::new(vec![whole(&body)]);
    let dir = tempdir().unwrap();
    let mut stop = |_| ControlFlow::Break(());
    let error = fetch(Blob::of(&body), &server.url, dir.path(), &mut stop).unwrap_err();
    assert!(matches!(error, DataError::Interrupted { .. }), "{error}");
    assert_eq!(left_in(dir.path()), Vec::<String>::new());
    assert_eq!(server.requests(), Vec::<String>::new(), "it was known before");
}

#[test]
fn a_download_from_a_server_that_says_nothing_is_interrupted() {
    let body = body();
    for sent in [Vec::new(), cut(&body, 70_001)(None)] {
        let url = stalled(sent);
        let dir = tempdir().unwrap();
        let mut last = None;
        let mut stop = |now: Progress| match last.replace(now) == Some(now) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let error = fetch(Blob::of(&body), &url, dir.path(), &mut stop).unwrap_err();
        assert!(matches!(error, DataError::Interrupted { .. }), "{error}");
        assert_eq!(left_in(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn what_a_fetch_left_that_was_killed_goes_after_a_day() {
    let body = body();
    let server = Server::new(vec![whole(&body)]);
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let age = |file: &File, hours: u64| {
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    };
    for (name, hours) in [(".pleach-fetch-old", 25), (".pleach-fetch-new", 23), ("mine", 25)] {
        age(&File::create(path(name)).unwrap(), hours);
    }
    #[cfg(unix)]
    {
        fs::create_dir(path(".pleach-fetch-folder")).unwrap();
        fs::write(path(".pleach-fetch-folder/data.bin"), "half").unwrap();
        age(&File::open(path(".pleach-fetch-folder")).unwrap(), 25);
    }
    fetch(Blob::of(&body), &server.url, dir.path(), &mut go_on).unwrap();
    assert_eq!(left_in(dir.path()), [".pleach-fetch-new", "blob", "blob.tar.gz", "mine"]);
}

#[test]
fn an_existing_file_that_is_not_the_archive_is_kept_and_named() {
    let server = Server::new(vec![status("500 Never")]);
    let dir = tempdir().unwrap();
    let path = dir.path().join("blob.tar.gz");
    fs::write(&path, "mine").unwrap();
    let format = Blob::of(b"theirs");
    let error = fetch(format, &server.url, dir.path(), &mut go_on).unwrap_err();
    let expected = format!(
        "{}: expected sha256 {}, found sha256 {}",
        path.display(),
        format.sha256,
        Blob::of(b"mine").sha256
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_folder_that_is_there_is_not_touched() {
    let body = body();
    let server = Server::new(vec![whole(&body)]);
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("blob")).unwrap();
    fs::write(dir.path().join("blob/data.bin"), "other data").unwrap();
    fs::write(dir.path().join("blob/mine"), "mine").unwrap();
    fetch(Blob::of(&body), &server.url, dir.path(), &mut go_on).unwrap();
    assert_eq!(left_in(&dir.path().join("blob")), ["data.bin", "mine"]);
    assert_eq!(fs::read(dir.path().join("blob/data.bin")).unwrap(), b"other data");
}

#[test]
fn a_folder_that_is_no_whole_data_set_is_named_before_anything_is_downloaded() {
    let server = Server::new(vec![status("500 Never")]);
    for file in [None, Some("data.bin")] {
        let dir = tempdir().unwrap();
        let folder = dir.path().join("blob");
        fs::create_dir(&folder).unwrap();
        file.iter().for_each(|name| fs::write(folder.join(name), "not a data set").unwrap());
        let error = fetch(Blob::of(b"x"), &server.url, dir.path(), &mut go_on).unwrap_err();
        let shown = folder.display();
        let expected = format!(
            "{shown}: expected a whole data set, found what does not open ({shown}: expected a data set, \
             found none): remove it and fetch again"
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(left_in(dir.path()), ["blob"]);
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn an_archive_that_does_not_open_is_not_unpacked() {
    let body = b"not a data set";
    let server = Server::new(vec![whole(body)]);
    let dir = tempdir().unwrap();
    let error = fetch(Blob::of(body), &server.url, dir.path(), &mut go_on).unwrap_err();
    assert!(error.to_string().ends_with("blob.tar.gz: expected a data set, found none"), "{error}");
    assert_eq!(left_in(dir.path()), ["blob.tar.gz"]);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let server = Server::new(vec![status("500 Never")]);
    let above = tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    let dir = file.join("data");
    let error = fetch(Blob::of(b"x"), &server.url, &dir, &mut go_on).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", dir.display())), "{error}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn the_official_address_is_encrypted() {
    assert!(OFFICIAL.starts_with("https://"));
}
