//! How much is taken at once: so much that a transaction's costs are shared, so little that its memory is bounded.

/// What one transaction applies, about. Of small events some thousands: pages of the indexes that they share are written once.
const PORTION_BYTES: usize = 3 * 1024 * 1024;
/// What is assumed before anything was seen.
const USUAL_BYTES: usize = 32 * 1024;

/// Learns how large entries are, as they are fetched by number.
pub(super) struct Portion {
    most: usize,
    mean_bytes: usize,
}

impl Portion {
    /// Never more than `most` entries.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), mean_bytes: USUAL_BYTES }
    }

    /// How many to fetch.
    pub fn limit(&self) -> usize {
        (PORTION_BYTES / self.mean_bytes.max(1)).clamp(1, self.most)
    }

    /// What was fetched.
    pub fn note(&mut self, sizes: impl ExactSizeIterator<Item = usize>) {
        let count = sizes.len();
        if count > 0 {
            self.mean_bytes = sizes.sum::<usize>().div_ceil(count);
        }
    }

    /// How many of the entries at hand, whose sizes are known, are one portion; at least one.
    pub fn count(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut bytes = 0;
        let within = sizes.take(self.most).take_while(|size| {
            bytes += size;
            bytes <= PORTION_BYTES
        });
        within.count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_follow_the_size_of_what_was_seen() {
        let mut portion = Portion::new(500);
        assert_eq!(portion.limit(), 96);
        portion.note([400; 10].into_iter());
        assert_eq!(portion.limit(), 500);
        portion.note([2 * PORTION_BYTES; 3].into_iter());
        assert_eq!(portion.limit(), 1);
        portion.note([0_usize; 0].into_iter());
        assert_eq!(portion.limit(), 1);
        assert_eq!(portion.count([PORTION_BYTES / 2; 9].into_iter()), 2);
        assert_eq!(portion.count([PORTION_BYTES * 2; 9].into_iter()), 1);
        assert_eq!(portion.count([1; 900].into_iter()), 500);
    }
}
