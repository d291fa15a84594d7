//! What a teacher said of images that come again.

/// The logits of each view of each sample, as far as a teacher was asked. They are the same in whatever batch and
/// epoch it was.
pub(crate) struct Answers {
    key: String,
    samples: usize,
    classes: usize,
    views: Vec<View>,
}

/// What was said of one view of the samples.
#[derive(Clone, Default)]
struct View {
    /// `[samples, classes]`, NaN where nothing was; empty while nothing was of any.
    logits: Vec<f32>,
    /// Whether there is more than was saved.
    more: bool,
}

impl Answers {
    /// None yet. `key` names all that they depend on: the teacher, and how the images are made.
    pub(super) fn new(key: String, views: u64, samples: usize, classes: usize) -> Self {
        Self { key, samples, classes, views: vec![View::default(); views as usize] }
    }

    /// What names all that they depend on.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// `[samples, classes]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.samples, self.classes]
    }

    /// `[classes]` logits of a sample; nothing before the teacher was asked.
    pub(super) fn of(&self, view: u64, sample: usize) -> Option<&[f32]> {
        let logits = &self.views[view as usize].logits;
        let of = logits.chunks_exact(self.classes).nth(sample)?;
        (!of.iter().any(|logit| logit.is_nan())).then_some(of)
    }

    /// Remembers the `[classes]` logits of a sample.
    pub(super) fn put(&mut self, view: u64, sample: usize, logits: &[f32]) {
        let len = self.samples * self.classes;
        let view = &mut self.views[view as usize];
        view.logits.resize(len, f32::NAN);
        view.logits[sample * self.classes..][..self.classes].copy_from_slice(logits);
        view.more = true;
    }

    /// The views of which something is known.
    pub(crate) fn known(&self) -> impl Iterator<Item = u64> + '_ {
        (0..).zip(&self.views).filter(|(_, view)| !view.logits.is_empty()).map(|(number, _)| number)
    }

    /// Of each view with more than was saved, its number and `[samples, classes]` logits, NaN where unknown.
    pub(crate) fn unsaved(&self) -> impl Iterator<Item = (u64, &[f32])> {
        (0..)
            .zip(&self.views)
            .filter(|(_, view)| view.more)
            .map(|(view, of)| (view, &of.logits[..]))
    }

    /// All of it is saved.
    pub(crate) fn saved(&mut self) {
        self.views.iter_mut().for_each(|view| view.more = false);
    }

    /// Takes what was saved of a view, if there is one of this number.
    ///
    /// # Panics
    /// If the values are not `[samples, classes]`.
    pub(crate) fn recall(&mut self, view: u64, logits: Vec<f32>) {
        assert_eq!(logits.len(), self.samples * self.classes, "as many as there are samples");
        if let Some(place) = self.views.get_mut(view as usize) {
            *place = View { logits, more: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_known_and_saved_once() {
        let mut answers = Answers::new("key".into(), 3, 2, 2);
        assert_eq!((answers.of(1, 0), answers.known().count()), (None, 0));
        answers.put(1, 1, &[3.0, 4.0]);
        assert_eq!((answers.of(1, 0), answers.of(1, 1)), (None, Some(&[3.0, 4.0][..])));
        let (view, logits) = answers.unsaved().next().unwrap();
        let logits = logits.to_vec();
        assert!(view == 1 && logits[..2].iter().all(|logit| logit.is_nan()));
        answers.saved();
        assert_eq!((answers.unsaved().count(), answers.known().collect()), (0, vec![1]));

        let mut again = Answers::new("key".into(), 2, 2, 2);
        again.recall(view, logits);
        again.recall(2, vec![0.0; 4]);
        assert_eq!((again.of(1, 0), again.of(1, 1)), (None, Some(&[3.0, 4.0][..])));
        assert_eq!((again.unsaved().count(), again.known().collect()), (0, vec![1]));
    }
}
