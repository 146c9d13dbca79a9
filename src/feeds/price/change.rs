//! From an old price to a new one, exactly.

use rust_decimal::Decimal;

use super::percent_of;
use crate::db::Money;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// `None`: there was no price.
    pub old: Option<Money>,
    /// `None`: there is none any more.
    pub new: Option<Money>,
    pub amount: Option<Money>,
    /// Of the old price, rounded half to even at four places; none when that was 0.
    pub percent: Option<Money>,
}

impl Change {
    pub fn between(old: Option<Money>, new: Option<Money>) -> Self {
        let difference = old.zip(new).map(|(old, new)| new.decimal() - old.decimal());
        let amount = difference.and_then(|difference| Money::new(difference).ok());
        let percent = difference.zip(old).and_then(|(difference, old)| percent_of(difference, old.decimal()));
        Self { old, new, amount, percent }
    }

    /// Whether the change is at least `percent`, up or down. A threshold of 0 is never reached.
    /// Taken from the amounts, not from `percent`: a change from 0, or one too large to be told in percent, reaches all.
    pub fn reaches(self, percent: u32) -> bool {
        let Some((old, new)) = self.old.zip(self.new) else { return false };
        let moved = (new.decimal() - old.decimal()).abs();
        percent > 0 && !moved.is_zero() && moved * Decimal::ONE_HUNDRED >= old.decimal().abs() * Decimal::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_and_percents_are_exact() {
        let change = Change::between(Some(money("0.3")), Some(money("0.1")));
        assert_eq!((change.amount, change.percent), (Some(money("-0.2")), Some(money("-66.6667"))));
        let change = Change::between(Some(money("1000")), Some(money("1200")));
        assert_eq!(change.percent, Some(money("20")));
        assert!(change.reaches(20) && !change.reaches(21) && !change.reaches(0));
        let from_nothing = Change::between(Some(Money::ZERO), Some(money("5")));
        assert_eq!((from_nothing.amount, from_nothing.percent), (Some(money("5")), None));
        assert!(from_nothing.reaches(u32::MAX) && !from_nothing.reaches(0));
        let untold = Change::between(Some(money("0.0001")), Some(money("99999999999")));
        assert!(untold.percent.is_none() && untold.reaches(u32::MAX));
        assert!(!Change::between(Some(Money::ZERO), Some(Money::ZERO)).reaches(1));
        assert_eq!(Change::between(None, Some(money("5"))).amount, None);
    }
}
