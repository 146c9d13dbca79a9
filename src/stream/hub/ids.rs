//! Where the clients of server-sent events stand: each event says it, so that a browser that comes back is where it was.

use bytes::Bytes;

use crate::stream::{Mark, Position, Publication, resume_token};
use crate::wire::sse::event_with_id;

/// Where a cohort stands behind the last event that was staged for it.
pub(super) struct Ids(Vec<Mark>);

impl Ids {
    pub fn new(channels: usize) -> Self {
        Self(vec![Mark::unknown(); channels])
    }

    /// A channel is known to stand here: whoever is in the cohort has, or is about to be sent, all before.
    pub fn at_least(&mut self, index: usize, mark: &Mark) {
        let Some(own) = self.0.get_mut(index) else { return };
        for position in [&mark.shared, &mark.local] {
            if own.in_epoch(&position.epoch).is_none_or(|own| own.offset < position.offset) {
                own.reach(position);
            }
        }
    }

    /// The event of a publication of the channel at `index`, with where the client stands once it has it.
    pub fn event(&mut self, index: Option<usize>, event: &[u8], publication: &Publication) -> Bytes {
        if let Some(own) = index.and_then(|index| self.0.get_mut(index)) {
            match (&publication.restart, &publication.position) {
                (Some(restart), _) => *own = restart.clone(),
                (None, Some(position)) => own.reach(position),
                (None, None) => {}
            }
        }
        event_with_id(&resume_token(&self.0), event)
    }
}

/// The same for what is sent before anything live: `at`, and `position` of the channel at `index` behind that.
pub(in crate::stream) fn event_behind(at: &[Mark], index: usize, position: Option<&Position>, event: &[u8]) -> Bytes {
    let mut at = at.to_vec();
    if let (Some(own), Some(position)) = (at.get_mut(index), position) {
        own.reach(position);
    }
    event_with_id(&resume_token(&at), event)
}
