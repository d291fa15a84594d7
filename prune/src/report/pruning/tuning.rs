//! How fine-tuning went.

use super::Run;
use super::outcome::axis;
use crate::report::{Figure, Picture, Section, Series};
use serde_json::Value;

/// Points of a curve.
type Points = Vec<(f64, f64)>;

/// Losses and accuracies from epoch to epoch; nothing where there was no fine-tuning.
pub(super) fn curves(run: &Run) -> Option<Section> {
    let number = |line: &Value, key: &str| line[key].as_f64().filter(|value| value.is_finite());
    let epochs = || run.metrics.iter().filter(|line| line["event"] == "epoch");
    // A whole epoch has the most images.
    let images = epochs().filter_map(|line| number(line, "images")).fold(1.0, f64::max);
    let mut losses: Vec<(String, Points)> = Vec::new();
    let (mut training, mut validation) = (Points::new(), Points::new());
    // Epochs when the last removal was judged, and now.
    let (mut judged, mut now) = (0.0, 0.0);
    for line in &run.metrics {
        if line["event"] == "epoch" {
            now += number(line, "images").unwrap_or_default() / images;
            let phase = line["phase"].as_str().unwrap_or_default();
            if losses.last().is_none_or(|(last, _)| last != phase) {
                losses.push((phase.to_owned(), Points::new()));
            }
            if let (Some((_, points)), Some(loss)) = (losses.last_mut(), number(line, "loss")) {
                points.push((now, loss));
            }
            training.extend(number(line, "accuracy").map(|accuracy| (now, 100.0 * accuracy)));
        } else if line["event"] == "step" {
            // Parts of an epoch have no lines of their own.
            judged += number(line, "epochs").unwrap_or_default();
            now = judged;
            validation.extend(number(line, "accuracy").map(|accuracy| (now, 100.0 * accuracy)));
        }
    }
    if now == 0.0 {
        return None;
    }
    validation.push((now, 100.0 * run.result.pruned.facts.validation_accuracy));
    let figure = |name: &str, title: &str, label: &str, series: Vec<Series>| {
        let (name, title) = (name.into(), title.into());
        let series: Vec<Series> =
            series.into_iter().filter(|series| !series.points.is_empty()).collect();
        let figure =
            Figure { name, title, x: axis("epochs of fine-tuning"), y: axis(label), series };
        (!figure.series.is_empty()).then_some(Picture::Lines(figure))
    };
    let losses =
        losses.into_iter().map(|(name, points)| Series { name, points, joined: true }).collect();
    let accuracies = [("training images, augmented", training), ("validation images", validation)];
    let accuracies = accuracies
        .map(|(name, points)| Series { name: name.into(), points, joined: true })
        .into_iter()
        .collect();
    let figures = [
        figure("loss", "Training loss", "loss (nats)", losses),
        figure("accuracy", "Accuracy", "accuracy (%)", accuracies),
    ];
    Some(Section {
        id: "tuning".into(),
        label: "Fine-tuning".into(),
        heading: "How fine-tuning went".into(),
        text: vec![
            "Whole epochs have their loss and their accuracy on the augmented training images; every removal has \
             its validation accuracy at its end, those that were undone too."
                .into(),
        ],
        tables: Vec::new(),
        figures: figures.into_iter().flatten().collect(),
    })
}
