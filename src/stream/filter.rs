//! What a subscriber wants of a channel: `?sku=A,B&category=C` is (sku A or B) and (category C).

use super::{Channel, Condition, Publication};

/// All terms must hold. No terms: everything passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    terms: Vec<Term>,
    condition: Option<Condition>,
}

/// One of the `fields` has one of the `values`. A publication with none of the fields does not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// The one channel whose publications it judges; `None`: all.
    pub on: Option<Channel>,
    pub fields: Vec<String>,
    pub values: Vec<String>,
}

impl Filter {
    /// The same wishes in another order make an equal filter, so that their clients share one cohort.
    pub fn new(mut terms: Vec<Term>) -> Self {
        for term in &mut terms {
            term.values.sort();
            term.values.dedup();
        }
        terms.sort();
        terms.dedup();
        Self { terms, condition: None }
    }

    /// What passes must fulfill this, too.
    pub fn with_condition(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }

    pub fn passes(&self, publication: &Publication) -> bool {
        publication.is_for_all()
            || self.condition.as_ref().is_none_or(|condition| condition.holds(publication))
                && self.terms.iter().filter(|term| term.judges(&publication.channel)).all(|term| {
                    let mut found = term.fields.iter().flat_map(|field| publication.values_of(field));
                    found.any(|value| term.values.iter().any(|wanted| wanted == value))
                })
    }

    /// A term that everything of a channel which passes fulfills: what an index can be built on. None: everything passes.
    pub(super) fn first_term(&self, channel: &Channel) -> Option<&Term> {
        self.terms.iter().find(|term| term.judges(channel))
    }

    /// The values that it asks of a field.
    pub fn values_of(&self, field: &str) -> impl Iterator<Item = &str> {
        let terms = self.terms.iter().filter(move |term| term.fields.iter().any(|own| own == field));
        terms.flat_map(|term| term.values.iter().map(String::as_str))
    }

    /// With one more term.
    pub fn and(mut self, term: Term) -> Self {
        self.terms.push(term);
        Self::new(self.terms)
    }
}

impl Term {
    fn judges(&self, channel: &Channel) -> bool {
        self.on.as_ref().is_none_or(|on| on == channel)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{Channel, Kind};
    use super::*;

    fn publication(data: String, tags: &[(&str, &str)]) -> Publication {
        let tags = tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Publication::new(Channel::new("c").unwrap(), Kind::Data, Bytes::from(data), tags, None)
    }

    fn term(field: &str, values: &[&str]) -> Term {
        Term { on: None, fields: vec![field.into()], values: values.iter().map(|value| value.to_string()).collect() }
    }

    #[test]
    fn a_tag_goes_before_a_field_of_the_same_name() {
        let tagged = publication(r#"{"category":"old"}"#.into(), &[("category", "new")]);
        assert!(Filter::new(vec![term("category", &["new"])]).passes(&tagged));
        assert!(!Filter::new(vec![term("category", &["old"])]).passes(&tagged));
    }

    #[test]
    fn notices_pass_every_filter() {
        let channel = Channel::new("c").unwrap();
        let notice = Publication::new(channel, Kind::Notice, Bytes::from_static(b"{}"), Vec::new(), None);
        assert!(Filter::new(vec![term("sku", &["A"])]).passes(&notice));
    }

    #[test]
    fn a_term_for_one_channel_says_nothing_of_others() {
        let term = Term { on: Some(Channel::new("own").unwrap()), ..term("user", &["ann"]) };
        let filter = Filter::default().and(term);
        let of = |channel: &str, data: &str| {
            let (channel, data) = (Channel::new(channel).unwrap(), Bytes::from(data.to_owned()));
            filter.passes(&Publication::new(channel, Kind::Data, data, Vec::new(), None))
        };
        assert!(of("own", r#"{"user":"ann"}"#) && of("other", "{}"));
        for strange in ["{}", r#"{"user":"bob"}"#, r#"{"user":["ann"]}"#, r#"{"user":null}"#, "[]", r#""ann""#] {
            assert!(!of("own", strange), "{strange}");
        }
    }

    proptest! {
        /// The filter agrees with its definition, written down the slow way.
        #[test]
        fn passes_is_all_terms_any_value(
            fields in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
            terms in proptest::collection::vec(("[a-d]", proptest::collection::vec("[x-z]", 1..3)), 0..4),
        ) {
            let publication = publication(serde_json::to_string(&fields).unwrap(), &[]);
            let filter = Filter::new(terms.iter().map(|(field, values)| Term { on: None, fields: vec![field.clone()], values: values.clone() }).collect());
            let mut expected = true;
            for (field, values) in &terms {
                expected &= fields.get(field).is_some_and(|value| values.contains(value));
            }
            prop_assert_eq!(filter.passes(&publication), expected);
        }
    }
}
