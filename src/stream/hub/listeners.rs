//! The cohorts of one channel on one shard, found by the values they wait for: a publication costs the same whether ten
//! filters are set on its channel or ten thousand.

use std::collections::HashMap;

use crate::stream::{Channel, Filter, Mark, Publication};

#[derive(Default)]
pub(super) struct Listeners {
    all: Vec<u32>,
    /// Cohorts without a filter.
    unfiltered: Vec<u32>,
    /// Cohorts with one, by the fields and then the values of its first term.
    by_fields: Vec<ByValue>,
    /// Connections in all cohorts.
    pub members: u64,
    /// Where the channel stands, as of the last turn that was written.
    pub mark: Option<Mark>,
}

struct ByValue {
    fields: Vec<String>,
    cohorts: HashMap<String, Vec<u32>>,
}

impl Listeners {
    pub fn add(&mut self, cohort: u32, channel: &Channel, filter: &Filter) {
        self.all.push(cohort);
        let Some(term) = filter.first_term(channel) else {
            self.unfiltered.push(cohort);
            return;
        };
        let found = self.by_fields.iter().position(|index| index.fields == term.fields);
        let at = found.unwrap_or_else(|| {
            self.by_fields.push(ByValue { fields: term.fields.clone(), cohorts: HashMap::new() });
            self.by_fields.len() - 1
        });
        for value in &term.values {
            self.by_fields[at].cohorts.entry(value.clone()).or_default().push(cohort);
        }
    }

    pub fn remove(&mut self, cohort: u32, channel: &Channel, filter: &Filter) {
        self.all.retain(|other| *other != cohort);
        let Some(term) = filter.first_term(channel) else {
            self.unfiltered.retain(|other| *other != cohort);
            return;
        };
        for index in self.by_fields.iter_mut().filter(|index| index.fields == term.fields) {
            for value in &term.values {
                if let Some(cohorts) = index.cohorts.get_mut(value) {
                    cohorts.retain(|other| *other != cohort);
                    if cohorts.is_empty() {
                        index.cohorts.remove(value);
                    }
                }
            }
        }
        self.by_fields.retain(|index| !index.cohorts.is_empty());
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Calls `on` for every cohort whose filter the publication may pass; for some more than once.
    pub fn each_that_may_want(&self, publication: &Publication, mut on: impl FnMut(u32)) {
        if publication.is_for_all() {
            return self.all.iter().copied().for_each(on);
        }
        self.unfiltered.iter().copied().for_each(&mut on);
        for index in &self.by_fields {
            for value in index.fields.iter().flat_map(|field| publication.values_of(field)) {
                index.cohorts.get(value).into_iter().flatten().copied().for_each(&mut on);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::stream::Kind;
    use crate::stream::Term;

    proptest! {
        /// The index never misses a cohort whose filter passes, and forgets a cohort that is removed.
        #[test]
        fn finds_whatever_passes(
            filters in proptest::collection::vec(proptest::collection::vec(("[ab]", proptest::collection::vec("[x-z]", 1..3)), 0..3), 1..8),
            fields in proptest::collection::btree_map("[ab]", "[x-z]", 0..3),
            gone in 0usize..8,
        ) {
            let filters: Vec<Filter> = filters
                .into_iter()
                .map(|terms| Filter::new(terms.into_iter().map(|(field, values)| Term { on: None, fields: vec![field], values }).collect()))
                .collect();
            let (mut listeners, channel) = (Listeners::default(), Channel::new("c").unwrap());
            filters.iter().enumerate().for_each(|(key, filter)| listeners.add(key as u32, &channel, filter));
            if let Some(filter) = filters.get(gone) {
                listeners.remove(gone as u32, &channel, filter);
            }
            let data = Bytes::from(serde_json::to_string(&fields).unwrap());
            let publication = Publication::new(channel.clone(), Kind::Data, data, Vec::new(), None);
            let mut found = BTreeSet::new();
            listeners.each_that_may_want(&publication, |key| _ = found.insert(key));
            for (key, filter) in filters.iter().enumerate().filter(|(key, _)| *key != gone) {
                prop_assert!(!filter.passes(&publication) || found.contains(&(key as u32)));
            }
            prop_assert!(!found.contains(&(gone as u32)) || gone >= filters.len());
            filters.iter().enumerate().filter(|(key, _)| *key != gone).for_each(|(key, filter)| listeners.remove(key as u32, &channel, filter));
            prop_assert!(listeners.is_empty() && listeners.by_fields.is_empty());
        }
    }
}
