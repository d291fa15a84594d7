//! Progress on stderr: a bar on a terminal, full lines otherwise.

use super::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A bar, with lines above it.
    Bar,
    /// Lines.
    Lines,
    /// Not at all.
    None,
}

/// Progress of one piece of work after another.
pub(super) struct Progress {
    style: Style,
    bar: ProgressBar,
}

impl Progress {
    /// Nothing done yet.
    pub(super) fn new(style: Style) -> Self {
        let bar = match style {
            Style::Bar => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            Style::Lines | Style::None => ProgressBar::hidden(),
        };
        let template = "{prefix} [{bar:30}] {pos}/{len} {msg} eta {eta}";
        let known = ProgressStyle::with_template(template).expect("the template is sound");
        bar.set_style(known.progress_chars("=> "));
        Self { style, bar }
    }

    /// A piece of work of `len` parts begins.
    pub(super) fn start(&self, title: impl Into<String>, len: u64) {
        self.bar.reset();
        self.bar.set_length(len);
        self.bar.set_prefix(title.into());
        self.bar.set_message("");
    }

    /// The same, and where lines are shown that is one.
    pub(super) fn phase(&self, title: &str, len: u64) {
        if self.style == Style::Lines {
            self.line(title);
        }
        self.start(title, len);
    }

    /// So many of its parts are done.
    pub(super) fn set(&self, done: u64, message: impl FnOnce() -> String) {
        if self.style == Style::Bar {
            self.bar.set_position(done);
            self.bar.set_message(message());
        }
    }

    /// Something worth a line.
    pub(super) fn line(&self, text: &str) {
        match self.style {
            Style::Bar => self.bar.suspend(|| output::tell(text)),
            Style::Lines => output::tell(text),
            Style::None => {}
        }
    }

    /// All is done; the bar goes.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A time as people say it: `45s`, `3m10s`, `2h05m`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let texts = [4.6, 59.6, 3599.0, 7500.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["5s", "1m00s", "59m59s", "2h05m"]);
    }
}
