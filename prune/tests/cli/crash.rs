//! Runs that are killed at any moment, and go on: they end as those that are left alone.
//!
//! `PLEACH_CRASH_KILLS=50 cargo test --test cli crash` kills more often.

use crate::kinds::{Kind, PRUNE, REPRODUCE, TRAIN};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Fractions in `[0, 1)`: each `count` in a row have one in every `count`-th, in no order.
fn moments(count: u64) -> impl Iterator<Item = f64> {
    let mut state = 42u64;
    let mut random = move || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut left = Vec::new();
    std::iter::from_fn(move || {
        if left.is_empty() {
            left = (0..count).collect();
        }
        let stratum = left.swap_remove((random() * left.len() as f64) as usize);
        Some((stratum as f64 + random()) / count as f64)
    })
}

/// Waits so long, and then kills the run. Returns the time it took if it was through before.
fn kill_after(mut command: Command, delay: Duration) -> Option<Duration> {
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    while started.elapsed() < delay {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(1).min(delay));
    }
    let took = started.elapsed();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code();
    assert!(matches!(code, None | Some(0)), "{}", String::from_utf8_lossy(&output.stderr));
    code.map(|_| took)
}

#[cfg(unix)]
fn goes_on(kind: &'static Kind) {
    let kills = std::env::var("PLEACH_CRASH_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let expected = kind.whole();
    // The machine may have been busier then.
    let mut duration = expected.duration;

    let mut moments = moments(kills);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        runs += 1;
        let run = folder.path().join(format!("run-{runs}"));
        let before = killed;
        while killed < kills {
            let delay = duration.mul_f64(moments.next().unwrap());
            if let Some(took) = kill_after(kind.command(&run), delay) {
                if killed == before {
                    duration = took;
                }
                break;
            }
            killed += 1;
        }
        kind.finish(&run);
        expected.assert_is_what_is_in(&run, &format!("after {killed} kills"));
    }
    eprintln!("{}: {killed} kills in {runs} runs of {:.1} s", kind.verb, duration.as_secs_f64());
}

#[cfg(unix)]
#[test]
fn training_that_is_killed_again_and_again_ends_with_the_same_bits() {
    goes_on(&TRAIN);
}

#[cfg(unix)]
#[test]
fn pruning_that_is_killed_again_and_again_ends_with_the_same_bits() {
    goes_on(&PRUNE);
}

#[cfg(unix)]
#[test]
fn a_study_that_is_killed_again_and_again_ends_with_the_same_bits() {
    goes_on(&REPRODUCE);
}
