//! A condition on a publication's tags and fields, as deep as its client has put it.

use super::Publication;

/// Numbers are compared as numbers, and kept as they were written, so that equal conditions are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Tag { key: String, comparison: Comparison },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    In(Vec<String>),
    Exists,
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Less(String),
    AtMost(String),
    Greater(String),
    AtLeast(String),
}

impl Condition {
    pub(super) fn holds(&self, publication: &Publication) -> bool {
        match self {
            Condition::All(nodes) => nodes.iter().all(|node| node.holds(publication)),
            Condition::Any(nodes) => nodes.iter().any(|node| node.holds(publication)),
            Condition::Not(node) => !node.holds(publication),
            Condition::Tag { key, comparison } => publication.values_of(key).any(|value| comparison.holds(value)),
        }
    }
}

impl Comparison {
    fn holds(&self, value: &str) -> bool {
        let ordered = |wanted: &str, holds: fn(f64, f64) -> bool| match (value.parse(), wanted.parse()) {
            (Ok(value), Ok(wanted)) => holds(value, wanted),
            _ => false,
        };
        match self {
            Comparison::In(values) => values.iter().any(|wanted| wanted == value),
            Comparison::Exists => true,
            Comparison::StartsWith(part) => value.starts_with(part.as_str()),
            Comparison::EndsWith(part) => value.ends_with(part.as_str()),
            Comparison::Contains(part) => value.contains(part.as_str()),
            Comparison::Less(wanted) => ordered(wanted, |a, b| a < b),
            Comparison::AtMost(wanted) => ordered(wanted, |a, b| a <= b),
            Comparison::Greater(wanted) => ordered(wanted, |a, b| a > b),
            Comparison::AtLeast(wanted) => ordered(wanted, |a, b| a >= b),
        }
    }
}
