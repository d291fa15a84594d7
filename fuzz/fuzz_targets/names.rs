//! No text makes the parsers of models and amounts panic; what they accept is as they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::{Shape, models};
use pleach_prune::target::{Amount, Meter, Unit};

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match mode % 3 {
        0 => build(&text, mode),
        // A model's name is right, so that its widths are looked at.
        1 => {
            let model = &models::MODELS[usize::from(mode / 3) % models::MODELS.len()];
            build(&format!("{}:{text}", model.name), mode);
        }
        _ => {
            let Ok(amount) = text.parse::<Amount>() else { return };
            assert!(amount.keep > 0.0 && amount.keep <= 1.0 && amount.factor() >= 1.0);
            let graph = models::build("concat-small:2,3,2,4,3", Shape::new(3, 8, 8), 4).unwrap();
            for unit in [Unit::Macs, Unit::Params, Unit::Channels] {
                let meter = Meter::new(unit, None).expect("only latency needs times");
                let limit = meter.limit(&graph, amount);
                assert!(limit <= meter.count(&graph), "{text} leaves {limit} {unit}");
            }
        }
    }
});

fn build(text: &str, mode: u8) {
    let image = Shape::new(3, 8 << (mode % 3), 32);
    let Ok(graph) = models::build(text, image, usize::from(mode)) else { return };
    assert_eq!(graph.input_shape(), image);
    assert_eq!(graph.output_shape().channels, usize::from(mode));
    let (model, widths) = models::parse(text).expect("what is built can be parsed");
    assert!(widths.is_empty() || widths.iter().all(|&width| width > 0), "{}", model.name);
}
