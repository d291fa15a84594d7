//! Where values live in the arena.

use std::ops::RangeInclusive;

/// Room for a value, from the step that writes it to the last that reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Floats.
    pub(super) len: usize,
    /// Steps.
    pub(super) steps: RangeInclusive<usize>,
}

/// The start of each value in an arena, and the arena's length: values that live at the same step do
/// not overlap. Largest first, each at the lowest place where it fits ("greedy by size", Pisarchyk and
/// Lee 2020, section 5.2). Starts are multiples of the lengths' common divisors, so that values of whole
/// cache lines start on one.
pub(super) fn place(values: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(values[i].len));
    let mut starts = vec![0; values.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    let mut total = 0;
    for i in order {
        let value = &values[i];
        let mut neighbours: Vec<usize> =
            placed.iter().copied().filter(|&j| meet(&values[j].steps, &value.steps)).collect();
        neighbours.sort_by_key(|&j| starts[j]);
        let mut start = 0;
        for j in neighbours {
            if starts[j] >= start + value.len {
                break;
            }
            start = start.max(starts[j] + values[j].len);
        }
        starts[i] = start;
        placed.push(i);
        total = total.max(start + value.len);
    }
    (starts, total)
}

fn meet(a: &RangeInclusive<usize>, b: &RangeInclusive<usize>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_needs_room_for_two_neighbours() {
        let values: Vec<Lifetime> =
            (0..6).map(|i| Lifetime { len: 64, steps: i..=i + 1 }).collect();
        assert_eq!(place(&values).1, 128);
    }

    #[test]
    fn a_value_kept_for_a_residual_sum_keeps_its_room() {
        let steps = [0..=3, 1..=2, 2..=3, 3..=3];
        let values: Vec<Lifetime> =
            steps.into_iter().map(|steps| Lifetime { len: 16, steps }).collect();
        let (starts, total) = place(&values);
        assert_eq!(total, 48);
        assert!(starts[1..].iter().all(|&start| start != starts[0]));
    }

    proptest! {
        #[test]
        fn values_that_live_together_never_overlap(
            raw in prop::collection::vec((1usize..20, 0usize..12, 0usize..6), 0..40)
        ) {
            let values: Vec<Lifetime> = raw
                .iter()
                .map(|&(len, first, span)| Lifetime { len, steps: first..=first + span })
                .collect();
            let (starts, total) = place(&values);
            for (i, a) in values.iter().enumerate() {
                prop_assert!(starts[i] + a.len <= total);
                for (j, b) in values.iter().enumerate().skip(i + 1) {
                    let apart = starts[i] + a.len <= starts[j] || starts[j] + b.len <= starts[i];
                    prop_assert!(apart || !meet(&a.steps, &b.steps));
                }
            }
        }
    }
}
