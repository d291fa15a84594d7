//! Ctrl-C and the request to terminate: asked for once, the command saves and ends; asked for twice, it
//! ends at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// The signal that was caught, or 0.
static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Catches the signals from here on.
pub(super) fn listen() -> io::Result<()> {
    let caught = CAUGHT.get_or_init(Arc::default);
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal arms the second.
        flag::register_conditional_shutdown(
            signal,
            code_of(signal as usize).into(),
            Arc::clone(&again),
        )?;
        flag::register(signal, Arc::clone(&again))?;
        flag::register_usize(signal, Arc::clone(caught), signal as usize)?;
    }
    // Until what is under way is done nothing else is said.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            log::warn!(
                "ends once what is under way is done and saved; asked again, it ends at once"
            );
        }
    });
    Ok(())
}

/// Whether the command is to save and end.
pub(super) fn is_requested() -> bool {
    caught() != 0
}

/// The exit code after an interruption: 128 and the signal's number, as shells have it.
pub(super) fn code() -> u8 {
    code_of(if is_requested() { caught() } else { SIGINT as usize })
}

fn caught() -> usize {
    CAUGHT.get().map_or(0, |caught| caught.load(Ordering::Relaxed))
}

fn code_of(signal: usize) -> u8 {
    128 + signal as u8
}
