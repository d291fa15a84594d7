//! Reports as a browser shows them: Chromium, where `PLEACH_CHROMIUM` names it or there is one.
//!
//! `PLEACH_SCREENSHOTS=FOLDER` keeps the pictures to be looked at.

use crate::command::pleach;
use crate::kinds::PRUNE;
use crate::png::Png;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The widths of a telephone and of a desk's screen, in pixels.
const WIDTHS: [usize; 2] = [400, 1280];
const HEIGHT: usize = 1600;

fn chromium() -> Option<PathBuf> {
    if let Some(named) = env::var_os("PLEACH_CHROMIUM") {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// The page in a frame of a given width, which no window is narrow enough for, and what a script finds in it.
fn framed(page: &str, width: usize) -> String {
    let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!DOCTYPE html><html><head><style>html {{ color-scheme: light dark }} body {{ margin: 0 }} \
         iframe {{ border: 0; display: block }}</style></head><body>\
         <iframe width=\"{width}\" height=\"{HEIGHT}\" srcdoc=\"{escaped}\"></iframe><script>\
         document.querySelector('iframe').onload = event => {{\
         const page = event.target.contentDocument, found = document.documentElement.dataset;\
         found.width = page.documentElement.scrollWidth;\
         found.rows = [...page.querySelectorAll('table')].map(t => t.rows.length).join(' ');\
         found.charts = [...page.querySelectorAll('.plot svg')].map(s => s.children.length > 5).join(' ');\
         found.seen = [...page.querySelectorAll('h2')].every(h => h.getBoundingClientRect().width > 100);\
         }}</script></body></html>"
    )
}

struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// What a page is like at one width, light or dark.
struct Shown {
    /// The document's width in pixels.
    width: usize,
    /// The rows of each table, heads included.
    rows: Vec<usize>,
    charts: usize,
    picture: Png,
}

impl Browser {
    fn show(&self, name: &str, page: &str, width: usize, dark: bool) -> Shown {
        let name = format!("{name}-{width}-{}", if dark { "dark" } else { "light" });
        let path = |file: &str| self.folder.path().join(file);
        let (html, shot) = (path(&format!("{name}.html")), path(&format!("{name}.png")));
        fs::write(&html, framed(page, width)).unwrap();
        let run = |action: &str| {
            let mut command = Command::new(&self.program);
            command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
            command.arg("--disable-dev-shm-usage");
            command.args(["--enable-logging=stderr", "--virtual-time-budget=5000", action]);
            command.arg(format!("--window-size={width},{HEIGHT}"));
            command.arg(format!("--user-data-dir={}", path("profile").display()));
            if dark {
                command.arg("--force-dark-mode");
            }
            let output = command.arg(&html).stdin(Stdio::null()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {stderr}");
            assert!(!stderr.contains("CONSOLE"), "{name}: {stderr}");
            String::from_utf8(output.stdout).unwrap()
        };
        run(&format!("--screenshot={}", shot.display()));
        let dom = run("--dump-dom");
        let found = |key: &str| -> Vec<String> {
            let (_, rest) = dom.split_once(&format!("data-{key}=\"")).expect("the script ran");
            let (value, _) = rest.split_once('"').expect("a whole document");
            value.split_whitespace().map(Into::into).collect()
        };
        assert_eq!(found("seen"), ["true"], "{name}");
        let charts = found("charts");
        assert!(charts.iter().all(|drawn| drawn == "true"), "{name}: {charts:?}");
        if let Some(folder) = env::var_os("PLEACH_SCREENSHOTS") {
            fs::create_dir_all(&folder).unwrap();
            fs::copy(&shot, Path::new(&folder).join(format!("{name}.png"))).unwrap();
        }
        Shown {
            width: found("width")[0].parse().unwrap(),
            rows: found("rows").iter().map(|rows| rows.parse().unwrap()).collect(),
            charts: charts.len(),
            picture: Png::decode(&fs::read(&shot).unwrap()),
        }
    }

    /// Looks at a page in every way; it has so many tables and so many charts.
    fn look_at(&self, name: &str, page: &str, tables: usize, charts: usize) {
        for width in WIDTHS {
            let [light, dark] = [false, true].map(|is_dark| self.show(name, page, width, is_dark));
            for shown in [&light, &dark] {
                assert!(shown.width <= width, "{name} overflows {width} pixels: {}", shown.width);
                assert_eq!(shown.rows.len(), tables, "{name}: {:?}", shown.rows);
                assert!(charts == 0 || shown.rows.iter().all(|&rows| rows > 1), "{name}");
                assert_eq!(shown.charts, charts, "{name}");
                let picture = &shown.picture;
                assert_eq!((picture.width, picture.height), (width, HEIGHT));
                assert!(picture.colors() > 30, "{name}: {} colours", picture.colors());
            }
            let [light, dark] = [&light, &dark].map(|shown| shown.picture.brightness());
            assert!(
                light > 200.0 && dark < 80.0,
                "{name}: {light} in the light, {dark} in the dark"
            );
        }
    }
}

#[test]
fn a_browser_shows_reports_at_any_width_in_light_and_dark() {
    let Some(program) = chromium() else {
        eprintln!("skipped: no Chromium to show reports (PLEACH_CHROMIUM, or chromium in PATH)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser { program, folder: tempfile::tempdir().unwrap() };
    let run = folder.path().join("run");
    PRUNE.finish(&run);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let figures = ["time", "steps", "shares", "widths", "scores", "loss", "accuracy"];
    for name in figures {
        let svg = fs::read_to_string(run.join(format!("figure-{name}.svg"))).unwrap();
        assert!(page.contains(&svg), "{name}");
    }
    browser.look_at("prune", &page, 5, figures.len());

    let study = folder.path().join("study");
    let begin = ["reproduce", "T1", "--quick", "--list-cells", "-o"];
    pleach().args(begin).arg(&study).assert().success();
    pleach().args(["reproduce", "--merge", "--resume"]).arg(&study).assert().success();
    let page = fs::read_to_string(study.join("report.html")).unwrap();
    browser.look_at("reproduce", &page, 1, 0);
}
