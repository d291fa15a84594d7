//! No settings file and no saved state makes their readers panic; what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_prune::phases::{PruneConfig, State};
use pleach_prune::reproduce::Settings;
use pleach_prune::trainer::TrainConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::LazyLock;

/// Sound files, to be damaged.
static SOUND: LazyLock<[String; 3]> = LazyLock::new(|| {
    [to_toml(&TrainConfig::default()), to_toml(&PruneConfig::paper()), to_toml(&Settings::quick(1))]
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match mode % 7 {
        0 => toml::<TrainConfig>(&text),
        1 => toml::<PruneConfig>(&text),
        2 => toml::<Settings>(&text),
        3 => {
            if let Ok(state) = serde_json::from_str::<State>(&text) {
                let text = serde_json::to_string(&state).expect("a state is JSON");
                let again: State = serde_json::from_str(&text).expect("what was written is read");
                assert_eq!(again, state);
            }
        }
        mode => {
            let which = usize::from(mode) - 4;
            let mut bytes = SOUND[which].clone().into_bytes();
            for patch in data.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % bytes.len();
                bytes[at] = patch[2];
            }
            let text = String::from_utf8_lossy(&bytes);
            match which {
                0 => toml::<TrainConfig>(&text),
                1 => toml::<PruneConfig>(&text),
                _ => toml::<Settings>(&text),
            }
        }
    }
});

fn to_toml(value: &impl Serialize) -> String {
    // A number beyond `i64` is no TOML.
    toml::to_string(value).unwrap_or_default()
}

fn toml<T: Serialize + DeserializeOwned>(text: &str) {
    let Ok(value) = toml::from_str::<T>(text) else { return };
    let once = to_toml(&value);
    if !once.is_empty() {
        let again: T = toml::from_str(&once).expect("what was written can be read");
        assert_eq!(to_toml(&again), once);
    }
}
