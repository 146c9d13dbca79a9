//! The delivery ledger: what became of every publication for every connection that was on its channel. Exact between
//! any two turns of a shard: offered + recovered = delivered + filtered + conflated + dropped + pending.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use smallvec::SmallVec;

use super::Channel;

/// Accounts of channels that a shard has; what is no longer used beyond that is added up under one name.
const MOST_ACCOUNTS: usize = 10_000;
const OTHERS: &str = "(others)";

/// How many messages of which channel something carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(SmallVec<[(u64, u32); 2]>);

impl Tally {
    pub fn one(channel: Option<u64>) -> Self {
        match channel {
            Some(channel) => Self::from(&[(channel, 1)][..]),
            None => Self::default(),
        }
    }

    pub fn add(&mut self, channel: u64, messages: u32) {
        match self.0.iter_mut().find(|(other, _)| *other == channel) {
            Some((_, count)) => *count += messages,
            None => self.0.push((channel, messages)),
        }
    }

    pub fn join(&mut self, other: &Tally) {
        other.iter().for_each(|(channel, messages)| self.add(channel, messages));
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().copied()
    }

    /// What is left of it without `other`.
    pub fn without(mut self, other: &Tally) -> Self {
        for (channel, messages) in other.iter() {
            if let Some((_, count)) = self.0.iter_mut().find(|(own, _)| *own == channel) {
                *count = count.saturating_sub(messages);
            }
        }
        self
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|(_, messages)| u64::from(messages)).sum()
    }
}

impl From<&[(u64, u32)]> for Tally {
    fn from(entries: &[(u64, u32)]) -> Self {
        Self(SmallVec::from_slice(entries))
    }
}

/// One channel's books on one shard, or on all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Account {
    /// Publications that came from the broker while somebody was on the channel; of several shards, the one with most.
    pub accepted: u64,
    /// Those, times the connections that were on the channel.
    pub offered: u64,
    /// Publications of the past that were offered to clients who came back.
    pub recovered: u64,
    /// Handed to the kernel.
    pub delivered: u64,
    /// Held back by the client's filter.
    pub filtered: u64,
    /// Stands for by a later message of the same key.
    pub conflated: u64,
    /// Waits in an outbox, or in a fold whose time has not come.
    pub pending: u64,
    /// Given up, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Account {
    /// 0 when the books balance.
    pub fn imbalance(&self) -> i64 {
        let into = self.offered + self.recovered;
        let out = self.delivered + self.filtered + self.conflated + self.pending + self.dropped.values().sum::<u64>();
        into as i64 - out as i64
    }

    pub fn join(&mut self, other: &Account) {
        self.accepted = self.accepted.max(other.accepted);
        self.offered += other.offered;
        self.recovered += other.recovered;
        self.delivered += other.delivered;
        self.filtered += other.filtered;
        self.conflated += other.conflated;
        self.pending += other.pending;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
    }
}

/// A shard's books.
#[derive(Default)]
pub(super) struct Ledger {
    accounts: HashMap<u64, (Channel, Account)>,
    /// Accounts of channels that are no longer used.
    closed: BTreeMap<String, Account>,
}

impl Ledger {
    pub fn open(&mut self, id: u64, channel: &Channel) {
        self.accounts.entry(id).or_insert_with(|| (channel.clone(), Account::default()));
    }

    /// The account that `id` was opened for.
    pub fn of(&mut self, id: u64) -> &mut Account {
        let others = || (Channel::new(OTHERS).unwrap_or_else(|error| unreachable!("{error}")), Account::default());
        &mut self.accounts.entry(id).or_insert_with(others).1
    }

    pub fn each(&mut self, tally: &Tally, times: u64, mut on: impl FnMut(&mut Account, u64)) {
        if times > 0 {
            tally.iter().for_each(|(channel, messages)| on(self.of(channel), u64::from(messages) * times));
        }
    }

    /// Nobody is on the channel any more, and nothing of it waits.
    pub fn close(&mut self, id: u64) {
        if self.accounts.get(&id).is_none_or(|(_, account)| account.pending > 0) {
            return;
        }
        if let Some((channel, account)) = self.accounts.remove(&id) {
            let full = self.closed.len() >= MOST_ACCOUNTS && !self.closed.contains_key(channel.as_str());
            let name = if full { OTHERS } else { channel.as_str() };
            self.closed.entry(name.to_owned()).or_default().join(&account);
        }
    }

    pub fn report(&self) -> BTreeMap<String, Account> {
        let mut report = self.closed.clone();
        for (channel, account) in self.accounts.values() {
            report.entry(channel.to_string()).or_default().join(account);
        }
        report
    }
}
