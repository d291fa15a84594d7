//! What drops are counted against.

use super::config::Reference;
use crate::eval::Evaluation;

/// What drops are counted against, and its accuracy: a network that was trained on the validation
/// images is measured by the test images.
pub(super) fn reference(
    rule: Reference,
    validation: &Evaluation,
    test: &Evaluation,
) -> (&'static str, f64) {
    let variance = |e: &Evaluation| e.accuracy * (1.0 - e.accuracy) / e.images() as f64;
    let seen =
        validation.accuracy - test.accuracy > 3.0 * (variance(validation) + variance(test)).sqrt();
    match rule {
        Reference::Auto if seen => ("test", test.accuracy),
        Reference::Test => ("test", test.accuracy),
        Reference::Auto | Reference::Validation => ("validation", validation.accuracy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(right: usize, images: usize) -> Evaluation {
        let correct: Vec<bool> = (0..images).map(|i| i < right).collect();
        Evaluation { accuracy: right as f64 / images as f64, loss: 0.0, correct, seconds: 0.0 }
    }

    #[test]
    fn a_network_that_has_seen_the_validation_images_is_measured_by_its_test_accuracy() {
        let (seen, unseen, test) =
            (evaluation(4_800, 5_000), evaluation(4_580, 5_000), evaluation(9_100, 10_000));
        assert_eq!(reference(Reference::Auto, &seen, &test), ("test", 0.91));
        assert_eq!(reference(Reference::Auto, &unseen, &test), ("validation", 0.916));
        assert_eq!(reference(Reference::Validation, &seen, &test), ("validation", 0.96));
        assert_eq!(reference(Reference::Test, &unseen, &test), ("test", 0.91));
    }
}
