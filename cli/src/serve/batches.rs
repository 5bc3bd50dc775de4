//! How many waiting pictures to encode at once.

/// Timed calls of each size before one is chosen.
const TRIES: u32 = 3;
/// A larger batch must save so much of the time per picture, or it only makes the first in it wait.
const WORTH: f64 = 0.97;

/// Times every size of batch that occurs, powers of two, and from then on takes the one that costs the least per picture.
#[derive(Debug)]
pub(super) struct Batches {
    sizes: Vec<Timed>,
}

#[derive(Debug)]
struct Timed {
    size: usize,
    tries: u32,
    /// The least time per picture so far, in milliseconds.
    best: f64,
}

impl Batches {
    /// Up to `most` at once.
    pub(super) fn new(most: usize) -> Batches {
        let sizes = (0..).map(|power| 1 << power).take_while(|&size| size <= most.max(1));
        Batches { sizes: sizes.map(|size| Timed { size, tries: 0, best: f64::INFINITY }).collect() }
    }

    /// The largest size that may come.
    pub(super) fn most(&self) -> usize {
        self.sizes.last().map_or(1, |timed| timed.size)
    }

    /// How many of `waiting` pictures, at least one, to encode next.
    pub(super) fn next(&self, waiting: usize) -> usize {
        let mut possible = self.sizes.iter().take_while(|timed| timed.size <= waiting);
        if let Some(untried) = possible.clone().find(|timed| timed.tries < TRIES) {
            return untried.size;
        }
        let Some(first) = possible.next() else { return 1 };
        possible.fold(first, |best, timed| if timed.best < best.best * WORTH { timed } else { best }).size
    }

    /// `size` pictures took `ms` together.
    pub(super) fn took(&mut self, size: usize, ms: f64) {
        if let Some(timed) = self.sizes.iter_mut().find(|timed| timed.size == size) {
            timed.tries = timed.tries.saturating_add(1);
            timed.best = timed.best.min(ms / size as f64);
        }
    }

    /// Forgets the sizes above the best once all are known. True if there were any: their memory can be given back.
    pub(super) fn settle(&mut self) -> bool {
        if self.sizes.iter().any(|timed| timed.tries < TRIES) {
            return false;
        }
        let (best, before) = (self.next(self.most()), self.sizes.len());
        self.sizes.retain(|timed| timed.size <= best);
        self.sizes.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `batches` with times per picture until they are known.
    fn learn(most: usize, ms: impl Fn(usize) -> f64) -> Batches {
        let mut batches = Batches::new(most);
        for _ in 0..100 {
            let size = batches.next(most);
            batches.took(size, ms(size) * size as f64);
        }
        batches
    }

    #[test]
    fn a_batch_that_pays_is_taken() {
        let mut batches = learn(8, |size| 10.0 - size as f64);
        assert_eq!([1, 2, 3, 4, 7, 8, 100].map(|waiting| batches.next(waiting)), [1, 2, 2, 4, 4, 8, 8]);
        assert!(!batches.settle());
        assert_eq!(batches.most(), 8);
    }

    #[test]
    fn one_that_does_not_is_forgotten() {
        let mut batches = learn(8, |size| 10.0 - 0.01 * size as f64);
        assert_eq!(batches.next(8), 1);
        assert!(batches.settle() && !batches.settle());
        assert_eq!((batches.most(), batches.next(8)), (1, 1));
        let mut batches = learn(8, |size| if size == 2 { 5.0 } else { 10.0 });
        assert!(batches.settle());
        assert_eq!((batches.most(), batches.next(8)), (2, 2));
    }

    #[test]
    fn sizes_are_tried_before_one_is_chosen() {
        let mut batches = Batches::new(5);
        assert_eq!(batches.most(), 4);
        let mut seen = Vec::new();
        for _ in 0..9 {
            let size = batches.next(5);
            seen.push(size);
            batches.took(size, 1.0);
            assert!(!batches.settle() || seen.len() == 9);
        }
        assert_eq!(seen, [1, 1, 1, 2, 2, 2, 4, 4, 4]);
    }
}
