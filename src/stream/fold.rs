//! Several messages of one key as one: the last of them, with what it stands for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::feed::FoldRule;
use super::publication::{Kind, position_json};
use super::{Position, Publication, StreamMetrics};
use crate::wire::{Form, numbers_of, with_field};

/// What has become one message.
pub(super) struct Fold {
    pub last: Arc<Publication>,
    /// `None`: the server's own word, of which no books are kept.
    pub channel: Option<u64>,
    pub count: u64,
    first_offset: u64,
    /// When its last message came, among those of its folds.
    turn: u64,
    keyed: bool,
    /// Each number's least and greatest, as they were written.
    extremes: Vec<Extreme>,
}

struct Extreme {
    name: &'static str,
    min: Box<str>,
    max: Box<str>,
}

impl Fold {
    fn new(channel: Option<u64>, publication: &Arc<Publication>, rule: Option<&'static FoldRule>) -> Self {
        let numbers = rule.map_or_else(Vec::new, |rule| numbers_of(&publication.data, rule.values));
        let extreme = |(name, text): (&'static str, &str)| Extreme { name, min: text.into(), max: text.into() };
        Self {
            last: publication.clone(),
            channel,
            count: 1,
            first_offset: publication.offset(),
            turn: 0,
            keyed: rule.is_some(),
            extremes: numbers.into_iter().map(extreme).collect(),
        }
    }

    fn add(&mut self, publication: &Arc<Publication>, rule: &'static FoldRule) {
        for (name, text) in numbers_of(&publication.data, rule.values) {
            let value = number(text);
            match self.extremes.iter_mut().find(|extreme| extreme.name == name) {
                Some(extreme) if value < number(&extreme.min) => extreme.min = text.into(),
                Some(extreme) if value > number(&extreme.max) => extreme.max = text.into(),
                Some(_) => {}
                None => self.extremes.push(Extreme { name, min: text.into(), max: text.into() }),
            }
        }
        self.last = publication.clone();
        self.count += 1;
    }

    /// Whether it may stand for more than one, even if it does not now.
    pub fn folds(&self) -> bool {
        self.keyed
    }

    pub fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// Where a client stands that has nothing of it yet.
    pub fn before(&self) -> Option<Position> {
        let epoch = self.last.position.as_ref()?.epoch.clone();
        Some(Position { offset: self.first_offset.saturating_sub(1), epoch })
    }

    pub fn size_bytes(&self) -> usize {
        let extremes: usize = self.extremes.iter().map(|extreme| size_of::<Extreme>() + 2 * extreme.max.len()).sum();
        size_of::<Self>() + self.last.data.len() + extremes
    }

    /// The message as one client's form writes it; `always` says what it stands for even when that is itself alone.
    pub fn frame(&self, form: Form, always: bool, metrics: &StreamMetrics) -> Bytes {
        if self.count == 1 && !always {
            return self.last.frame(form, metrics).clone();
        }
        let raw = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let side = |side: fn(&Extreme) -> &str| {
            let pairs = self.extremes.iter().map(|extreme| (extreme.name.to_owned(), raw(side(extreme))));
            Value::Object(pairs.collect())
        };
        let names: Vec<&'static str> = self.extremes.iter().map(|extreme| extreme.name).collect();
        let last = numbers_of(&self.last.data, &names);
        let last: Value = last.into_iter().map(|(name, text)| (name.to_owned(), raw(text))).collect();
        let fold = json!({
            "count": self.count,
            "first_offset": self.first_offset,
            "last_offset": self.last.offset(),
            "last": last,
            "min": side(|extreme| &extreme.min),
            "max": side(|extreme| &extreme.max),
        });
        let mut message = with_field(&self.last.data, "_fold", &fold.to_string());
        if let (true, Some(position)) = (form.positioned, &self.last.position) {
            message = with_field(&message, "_position", &position_json(&self.last.channel, position, None));
        }
        metrics.encoded(form.dialect);
        form.encode(&message)
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// The messages of several keys, each as one; bounded by keys, not by messages.
#[derive(Default)]
pub(super) struct Folds {
    folds: Vec<Fold>,
    by_key: HashMap<String, usize>,
    size_bytes: usize,
    /// Messages so far.
    turn: u64,
}

impl Folds {
    /// Takes a message in. What no rule speaks of stays by itself. Answers whether it replaced another one.
    pub fn add(&mut self, channel: Option<u64>, publication: &Arc<Publication>, rules: &'static [FoldRule]) -> bool {
        let rule = rules.iter().find(|rule| rule.channel == publication.channel.as_str());
        let key = rule.and_then(|rule| key(publication, rule)).filter(|_| publication.kind == Kind::Data);
        let rule = rule.filter(|_| key.is_some());
        let index = self.folds.len();
        self.turn += 1;
        if let (Some(key), Some(rule)) = (key, rule) {
            match self.by_key.entry(key) {
                std::collections::hash_map::Entry::Occupied(found) => {
                    let fold = &mut self.folds[*found.get()];
                    self.size_bytes -= fold.size_bytes();
                    fold.add(publication, rule);
                    fold.turn = self.turn;
                    self.size_bytes += fold.size_bytes();
                    return true;
                }
                std::collections::hash_map::Entry::Vacant(vacant) => _ = vacant.insert(index),
            }
        }
        let fold = Fold { turn: self.turn, ..Fold::new(channel, publication, rule) };
        self.size_bytes += fold.size_bytes();
        self.folds.push(fold);
        false
    }

    pub fn is_empty(&self) -> bool {
        self.folds.is_empty()
    }

    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fold> {
        self.folds.iter()
    }

    /// All of them, in the order in which the last of each came.
    pub fn take(&mut self) -> Vec<Fold> {
        self.by_key.clear();
        self.size_bytes = 0;
        let mut folds = std::mem::take(&mut self.folds);
        folds.sort_by_key(|fold| fold.turn);
        folds
    }
}

/// Whether a message may be folded at all.
pub(super) fn may_fold(publication: &Publication, rules: &'static [FoldRule]) -> bool {
    publication.kind == Kind::Data
        && rules.iter().any(|rule| rule.channel == publication.channel.as_str() && key(publication, rule).is_some())
}

/// Messages of two epochs never become one: their numbers cannot be compared.
fn key(publication: &Publication, rule: &FoldRule) -> Option<String> {
    let epoch = publication.position.as_ref().map_or("", |position| &*position.epoch);
    let mut key = format!("{}\u{1f}{epoch}", publication.channel);
    for field in rule.key {
        key.push('\u{1f}');
        key.push_str(publication.values_of(field).next()?);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Channel;
    use super::*;
    use crate::wire::Dialect;

    static RULES: [FoldRule; 1] = [FoldRule { channel: "p", key: &["sku"], values: &["price"] }];

    fn publication(offset: u64, sku: &str, price: i64) -> Arc<Publication> {
        let data = Bytes::from(json!({ "sku": sku, "price": price }).to_string());
        let position = Position { offset, epoch: "e".into() };
        Arc::new(Publication::new(Channel::new("p").unwrap(), Kind::Data, data, Vec::new(), Some(position)))
    }

    proptest! {
        /// Nothing is hidden: counts, ends and extremes are those of a plain walk over the messages.
        #[test]
        fn a_fold_says_what_it_stands_for(messages in proptest::collection::vec(("[ab]", -50i64..50), 1..40)) {
            let mut folds = Folds::default();
            for (offset, (sku, price)) in (1..).zip(&messages) {
                let publication = publication(offset, sku, *price);
                prop_assert!(may_fold(&publication, &RULES));
                folds.add(Some(1), &publication, &RULES);
            }
            let folds = folds.take();
            prop_assert_eq!(folds.iter().map(|fold| fold.count).sum::<u64>(), messages.len() as u64);
            for fold in folds {
                let frame = fold.frame(Form { positioned: true, ..Dialect::Json.into() }, true, &StreamMetrics::default());
                let text = frame.iter().position(|byte| *byte == b'{').unwrap();
                let message: Value = serde_json::from_slice(&frame[text..]).unwrap();
                let sku = message["sku"].as_str().unwrap();
                let of_key: Vec<(u64, i64)> = (1..).zip(&messages).filter(|(_, (key, _))| key == sku).map(|(n, (_, price))| (n, *price)).collect();
                let prices = of_key.iter().map(|(_, price)| *price);
                prop_assert_eq!(&message["_fold"], &json!({
                    "count": of_key.len(), "first_offset": of_key[0].0, "last_offset": of_key[of_key.len() - 1].0,
                    "last": { "price": of_key[of_key.len() - 1].1 },
                    "min": { "price": prices.clone().min() }, "max": { "price": prices.max() },
                }));
                prop_assert_eq!(message["_position"]["offset"].as_u64(), Some(fold.last.offset()));
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_keys() {
        let mut folds = Folds::default();
        for offset in 1..=10_000 {
            folds.add(Some(1), &publication(offset, "one", 5), &RULES);
        }
        assert!(folds.size_bytes() < 1_000 && folds.iter().count() == 1);
        let alert =
            Arc::new(Publication::new(Channel::new("alerts").unwrap(), Kind::Data, Bytes::from("{}"), vec![], None));
        assert!(!may_fold(&alert, &RULES));
    }
}
