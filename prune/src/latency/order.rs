//! The order in which networks take their turns.

use pleach_core::tensor::rng::Rng;

/// Draws the order of the next round in place of that of the last: one as likely as another, of those that do not begin
/// with what the last ended with. So no network follows itself, unless it is alone.
pub(super) fn next_round(order: &mut [usize], rng: &mut Rng) {
    let last = order.last().copied();
    rng.shuffle(order);
    if order.len() > 1 && order.first().copied() == last {
        order.swap(0, 1 + rng.below(order.len() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::tensor::rng::Purpose;

    /// The first of each of so many rounds of `count` networks, among which none follows itself.
    fn firsts(count: usize, rounds: usize) -> Vec<usize> {
        let mut rng = Rng::new(1, Purpose::Test, 0, 0);
        let mut order: Vec<usize> = (0..count).collect();
        let firsts = (0..rounds).map(|round| {
            let before = order[count - 1];
            next_round(&mut order, &mut rng);
            assert_ne!(order[0], before, "round {round}");
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>(), "each has its turn");
            order[0]
        });
        firsts.collect()
    }

    #[test]
    fn two_networks_take_strict_turns() {
        assert_eq!(firsts(2, 50), [0; 50]);
    }

    #[test]
    fn of_three_networks_none_follows_itself_and_each_is_first_as_often() {
        let firsts = firsts(3, 3000);
        for net in 0..3 {
            let count = firsts.iter().filter(|&&first| first == net).count();
            assert!((850..1150).contains(&count), "{net} is first {count} times");
        }
    }

    #[test]
    fn one_network_follows_itself() {
        let mut order = [0];
        next_round(&mut order, &mut Rng::new(1, Purpose::Test, 0, 0));
        assert_eq!(order, [0]);
    }
}
