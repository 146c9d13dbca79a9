//! The script of the day: who buys what and when, what the trucks bring, which prices change. The same seed and the
//! same stock at the start give the same day.

use std::collections::BinaryHeap;

use serde_json::Value;

use super::catalog::ARTICLES;
use super::feeds::{BatchRun, Classroom};

/// Minutes after midnight at which the shop opens and closes.
pub const OPENS_MIN: f64 = 7.0 * 60.0;
pub const CLOSES_MIN: f64 = 23.0 * 60.0;

/// What happens. `item` is an index into the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Sale {
        item: usize,
        quantity: i64,
    },
    Delivery {
        item: usize,
        quantity: i64,
    },
    Reprice {
        item: usize,
        price_yen: i64,
        reason: &'static str,
    },
    /// Asks for a new price that a manager has to approve.
    Ask {
        item: usize,
        price_yen: i64,
        reason: &'static str,
    },
    Approve {
        item: usize,
    },
    Publish {
        channel: &'static str,
        data: Value,
    },
}

/// Something whose time is known in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Planned {
    Delivery(usize),
    Reprice(usize, Reprice),
    /// So large a rise that the shop wants a manager's approval.
    Ask(usize),
    Approve(usize),
    Batch(usize),
    Notice(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reprice {
    Nudge,
    EveningOffer,
    BackToList,
}

/// Iterates over the day's actions with their time in minutes after midnight, in order.
pub struct Day {
    random: fastrand::Rng,
    now_min: f64,
    /// What the script believes to be in the shop; the server has the truth and may refuse.
    stock: Vec<i64>,
    price_yen: Vec<i64>,
    /// Earliest on top: times are negative thousandths of a minute, since the heap gives its largest first.
    planned: BinaryHeap<(i64, Planned)>,
    classroom: Classroom,
    batch: BatchRun,
}

/// (from, to, sales an hour) of the peaks; outside of them it is quiet.
const PEAKS: &[(f64, f64, f64)] = &[(7.5, 9.0, 240.0), (11.75, 13.25, 420.0), (17.5, 20.0, 360.0)];
const QUIET_SALES_PER_HOUR: f64 = 80.0;
/// (from, to, cells an hour) of the class that uses the progress feed.
const LESSONS: &[(f64, f64, f64)] = &[(9.0, 10.5, 120.0), (10.75, 12.25, 120.0), (13.5, 15.0, 120.0)];

const NOTICES: &[(f64, &str)] = &[
    (7.0, "開店しました · The shop is open"),
    (11.75, "昼のピーク · Lunchtime"),
    (15.0, "午後の納品 · Afternoon delivery"),
    (17.5, "夕方のピーク · Evening rush"),
    (20.0, "お弁当が値引き · Lunch boxes at a discount"),
    (22.9, "まもなく閉店 · Closing soon"),
];

impl Day {
    pub fn new(seed: u64, stock: Vec<i64>) -> Self {
        let mut day = Self {
            random: fastrand::Rng::with_seed(seed),
            now_min: OPENS_MIN,
            stock,
            price_yen: ARTICLES.iter().map(|article| article.price_yen).collect(),
            planned: BinaryHeap::new(),
            classroom: Classroom::default(),
            batch: BatchRun::default(),
        };
        day.plan_all();
        day
    }

    fn plan_all(&mut self) {
        for (item, article) in ARTICLES.iter().enumerate() {
            // The truck is unloaded one article after the other.
            self.plan(OPENS_MIN + 1.0 + item as f64 * 0.8, Planned::Delivery(item));
            self.plan(15.0 * 60.0 + item as f64 * 0.6, Planned::Delivery(item));
            if matches!(article.category, "Bento" | "Bakery") {
                self.plan(11.0 * 60.0 + item as f64 * 0.3, Planned::Delivery(item));
                self.plan(20.0 * 60.0 + item as f64 * 0.2, Planned::Reprice(item, Reprice::EveningOffer));
                self.plan(CLOSES_MIN - 15.0 + item as f64 * 0.2, Planned::Reprice(item, Reprice::BackToList));
            }
        }
        for _ in 0..30 {
            let at_min = OPENS_MIN + self.random.f64() * (CLOSES_MIN - 30.0 - OPENS_MIN);
            let item = self.random.usize(..ARTICLES.len());
            self.plan(at_min, Planned::Reprice(item, Reprice::Nudge));
        }
        // One rise is approved after a while; the other one still waits when the day ends.
        for (hour, approved, sku) in [(8.2, Some(9.1), "DEMO-UMBRELLA"), (13.6, None, "DEMO-POWERBANK")] {
            let Some(item) = ARTICLES.iter().position(|article| article.sku == sku) else { continue };
            self.plan(hour * 60.0, Planned::Ask(item));
            if let Some(hour) = approved {
                self.plan(hour * 60.0, Planned::Approve(item));
            }
        }
        for hour in [7.2, 12.1, 18.1] {
            for step in 0..=BatchRun::STEPS {
                self.plan(hour * 60.0 + step as f64 * 0.7, Planned::Batch(step));
            }
        }
        for (index, (hour, _)) in NOTICES.iter().enumerate() {
            self.plan(hour * 60.0, Planned::Notice(index));
        }
    }

    fn plan(&mut self, at_min: f64, what: Planned) {
        self.planned.push((-(at_min * 1000.0) as i64, what));
    }

    /// The time until the next buyer or cell: exponential, as arrivals that know nothing of each other are.
    fn gap_min(&mut self, per_hour: f64) -> f64 {
        -(1.0 - self.random.f64()).ln() * 60.0 / per_hour
    }

    fn carry_out(&mut self, planned: Planned) -> Option<Action> {
        match planned {
            Planned::Delivery(item) => {
                let full = ARTICLES[item].full_stock;
                let quantity = full - self.stock[item];
                // Nobody sends a truck for three bananas.
                if quantity * 4 < full {
                    return None;
                }
                self.stock[item] = full;
                Some(Action::Delivery { item, quantity })
            }
            Planned::Reprice(item, kind) => self.reprice(item, kind),
            Planned::Ask(item) => {
                let price_yen = ARTICLES[item].price_yen * 17 / 10;
                Some(Action::Ask { item, price_yen, reason: "supplier raised the cost (demo)" })
            }
            Planned::Approve(item) => Some(Action::Approve { item }),
            Planned::Batch(step) => {
                let (channel, data) = self.batch.step(step, &mut self.random);
                Some(Action::Publish { channel, data })
            }
            Planned::Notice(index) => {
                let (channel, data) = super::feeds::notice(NOTICES[index].1);
                Some(Action::Publish { channel, data })
            }
        }
    }

    fn reprice(&mut self, item: usize, kind: Reprice) -> Option<Action> {
        let (list, current) = (ARTICLES[item].price_yen, self.price_yen[item]);
        let (price_yen, reason) = match kind {
            // Prices wander within a tenth of the list price.
            Reprice::Nudge => (list * self.random.i64(94..=108) / 100, "weekly price check (demo)"),
            Reprice::EveningOffer => (list * 7 / 10, "evening offer (demo)"),
            Reprice::BackToList => (list, "end of the evening offer (demo)"),
        };
        self.price_yen[item] = price_yen;
        (price_yen != current).then_some(Action::Reprice { item, price_yen, reason })
    }

    fn sale(&mut self) -> Option<Action> {
        let tickets: u32 = ARTICLES.iter().map(|article| article.popularity).sum();
        let mut ticket = self.random.u32(..tickets);
        let item = ARTICLES.iter().position(|article| match ticket.checked_sub(article.popularity) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        })?;
        let wanted = [1, 1, 1, 1, 1, 2, 2, 3][self.random.usize(..8)];
        // A buyer takes what is there; in front of an empty shelf most go away, a few ask (and are refused).
        let quantity = wanted.min(self.stock[item]).max(0);
        if quantity == 0 {
            return (self.random.u32(..10) == 0).then_some(Action::Sale { item, quantity: wanted });
        }
        self.stock[item] -= quantity;
        Some(Action::Sale { item, quantity })
    }
}

/// The rate at a time of day, from a table of (from, to, an hour).
fn rate(table: &[(f64, f64, f64)], otherwise: f64, at_min: f64) -> f64 {
    let hour = at_min / 60.0;
    table.iter().find(|(from, to, _)| (*from..*to).contains(&hour)).map_or(otherwise, |(_, _, per_hour)| *per_hour)
}

impl Iterator for Day {
    type Item = (f64, Action);

    fn next(&mut self) -> Option<(f64, Action)> {
        while self.now_min < CLOSES_MIN {
            let sales = rate(PEAKS, QUIET_SALES_PER_HOUR, self.now_min);
            let cells = rate(LESSONS, 0.0, self.now_min);
            let arrival_min = self.now_min + self.gap_min(sales + cells);
            let planned_min = self.planned.peek().map_or(f64::INFINITY, |(at, _)| -*at as f64 / 1000.0);
            let action = if planned_min <= arrival_min {
                self.now_min = self.now_min.max(planned_min);
                self.planned.pop().and_then(|(_, planned)| self.carry_out(planned))
            } else {
                self.now_min = arrival_min;
                if self.random.f64() * (sales + cells) < sales {
                    self.sale()
                } else {
                    let (channel, data) = self.classroom.cell(&mut self.random);
                    Some(Action::Publish { channel, data })
                }
            };
            if let Some(action) = action {
                return (self.now_min < CLOSES_MIN).then_some((self.now_min, action));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(seed: u64) -> Vec<(f64, Action)> {
        Day::new(seed, vec![0; ARTICLES.len()]).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_day() {
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
    }

    #[test]
    fn a_day_has_peaks_deliveries_price_jumps_and_empty_shelves() {
        let day = day(1);
        assert!(day.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of time");
        let sales = |from: f64, to: f64| {
            day.iter().filter(|(at, a)| (from..to).contains(&(at / 60.0)) && matches!(a, Action::Sale { .. })).count()
        };
        assert!(sales(12.0, 13.0) > 2 * sales(14.0, 15.0), "{} {}", sales(12.0, 13.0), sales(14.0, 15.0));
        assert!((1500..5000).contains(&sales(0.0, 24.0)), "{}", sales(0.0, 24.0));
        let mut stock = vec![0i64; ARTICLES.len()];
        let (mut refused, mut sold_out, mut asked, mut approved, mut repriced) = (0, 0, 0, 0, 0);
        for (_, action) in &day {
            match action {
                Action::Sale { item, quantity } if *quantity > stock[*item] => refused += 1,
                Action::Sale { item, quantity } => {
                    stock[*item] -= quantity;
                    sold_out += i32::from(stock[*item] == 0);
                }
                Action::Delivery { item, quantity } => stock[*item] += quantity,
                Action::Reprice { .. } => repriced += 1,
                Action::Ask { .. } => asked += 1,
                Action::Approve { .. } => approved += 1,
                Action::Publish { .. } => {}
            }
        }
        assert!(refused > 0 && sold_out > 3 && repriced > 20, "{refused} {sold_out} {repriced}");
        assert_eq!((asked, approved), (2, 1));
        let channels: std::collections::HashSet<_> = day
            .iter()
            .filter_map(|(_, a)| if let Action::Publish { channel, .. } = a { Some(*channel) } else { None })
            .collect();
        assert_eq!(channels.len(), 4, "{channels:?}");
    }
}
