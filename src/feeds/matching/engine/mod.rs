//! Matching at scale: the best 40 jobs of a user among all, exactly, without looking at most of them.
//!
//! Each section takes jobs in the order of its key, highest first and by id among equals, passing over what the rules of
//! diversity forbid. That order is produced lazily: a heap holds blocks by the most that any of their jobs can reach,
//! and jobs by what they have. A block on top is opened; a job on top is the next one, because nothing left can beat it.
//! Nothing is allocated for a pair: the heap's memory is kept from user to user.

mod columns;
mod formula;
mod input;
mod times;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

pub use self::columns::{Block, Columns, Person};
pub use self::formula::{PARTS, Parts};
pub use self::input::{JobInput, NOWHERE, PersonInput, hourly};
pub use self::times::{days, slots};

/// Sections, in the order in which they choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// By combined score.
    Personal,
    /// The last seven days.
    New,
    /// Within 10 km of home, or in a wanted city.
    Near,
    /// Wanted occupations that pay what is desired, the best paid first.
    Salary,
    /// What others look at, save and apply for.
    Popular,
    /// Fills up to [`MOST`].
    Other,
}

impl Section {
    pub const ALL: [Self; 6] = [Self::Personal, Self::New, Self::Near, Self::Salary, Self::Popular, Self::Other];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::New => "new",
            Self::Near => "near",
            Self::Salary => "salary",
            Self::Popular => "popular",
            Self::Other => "other",
        }
    }
}

/// Jobs for one user.
pub const MOST: usize = 40;
/// Jobs in one section, but the last.
pub const IN_SECTION: usize = 8;
/// Of one company: in a section, and in all.
pub const COMPANY_IN_SECTION: usize = 2;
pub const COMPANY_IN_ALL: usize = 3;

/// One recommended job, with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub job_id: i64,
    pub section: Section,
    /// Thousandths.
    pub combined: u32,
    /// Hundredths, in the order of [`PARTS`].
    pub parts: Parts,
}

impl Match {
    pub fn personalized(&self) -> u32 {
        self.parts.iter().map(|part| u32::from(*part)).sum()
    }
}

/// A block or a job in the heap: by key, then by id.
#[derive(PartialEq, Eq)]
struct Entry {
    key: u64,
    id: Reverse<i64>,
    /// Blocks before jobs among equals.
    is_block: bool,
    block: u32,
    at: u32,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.key, self.id, self.is_block, self.at).cmp(&(other.key, other.id, other.is_block, other.at))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Memory that goes from user to user.
#[derive(Default)]
pub struct Scratch {
    entries: Vec<Entry>,
    /// For each block: the most of the place, and of the whole personalized score.
    bounds: Vec<(u32, u32)>,
    /// Company and section of each chosen job.
    companies: Vec<(u32, Section)>,
}

/// Where the key's first part stands: before the combined score.
fn key(first: u32, combined: u32) -> u64 {
    u64::from(first) << 32 | u64::from(combined)
}

impl Columns {
    /// Replaces `chosen` by the user's best jobs.
    pub fn choose(&self, person: &Person, scratch: &mut Scratch, chosen: &mut Vec<Match>) {
        chosen.clear();
        scratch.companies.clear();
        scratch.bounds.clear();
        scratch.bounds.extend(self.blocks.iter().map(|block| self.bound(person, block)));
        for section in Section::ALL {
            self.fill(section, person, scratch, chosen);
        }
    }

    fn fill(&self, section: Section, person: &Person, scratch: &mut Scratch, chosen: &mut Vec<Match>) {
        let room = if section == Section::Other { MOST } else { (chosen.len() + IN_SECTION).min(MOST) };
        let mut entries = std::mem::take(&mut scratch.entries);
        entries.clear();
        for (number, (block, bound)) in self.blocks.iter().zip(&scratch.bounds).enumerate() {
            if let Some(key) = block_key(section, person, block, *bound) {
                entries.push(Entry { key, id: Reverse(block.least_id), is_block: true, block: number as u32, at: 0 });
            }
        }
        let mut heap = BinaryHeap::from(entries);
        while chosen.len() < room
            && let Some(top) = heap.pop()
        {
            let block = &self.blocks[top.block as usize];
            if top.is_block {
                for at in block.first..block.last {
                    if let Some(key) = self.job_key(section, person, block, at as usize) {
                        let id = Reverse(self.ids[at as usize]);
                        heap.push(Entry { key, id, is_block: false, block: top.block, at });
                    }
                }
                continue;
            }
            let (at, id) = (top.at as usize, top.id.0);
            let company = self.companies[at];
            let of_company = |within: &dyn Fn(Section) -> bool| {
                scratch.companies.iter().filter(|(other, of)| *other == company && within(*of)).count()
            };
            if of_company(&|_| true) >= COMPANY_IN_ALL
                || of_company(&|of| of == section) >= COMPANY_IN_SECTION
                || person.excluded.binary_search(&id).is_ok()
                || chosen.iter().any(|one| one.job_id == id)
            {
                continue;
            }
            let parts = self.parts(person, block, at);
            let personalized = parts.iter().map(|part| u32::from(*part)).sum();
            let combined = formula::combined(self.standings[at], personalized);
            scratch.companies.push((company, section));
            chosen.push(Match { job_id: id, section, combined, parts });
        }
        scratch.entries = heap.into_vec();
    }

    /// The job's place in the section's order; `None` when it does not belong there.
    #[inline]
    fn job_key(&self, section: Section, person: &Person, block: &Block, at: usize) -> Option<u64> {
        let first = match section {
            Section::Salary if self.offers[at] < person.desired.max(1) => return None,
            Section::Salary => self.offers[at],
            Section::Popular if self.popularities[at] == 0 => return None,
            Section::Popular => self.popularities[at],
            _ => 0,
        };
        let parts = self.parts(person, block, at);
        if section == Section::Near && u32::from(parts[1]) < formula::NEAR {
            return None;
        }
        let personalized = parts.iter().map(|part| u32::from(*part)).sum();
        Some(key(first, formula::combined(self.standings[at], personalized)))
    }
}

/// The most that a job of the block can have as its key; `None` when none belongs to the section.
#[inline]
fn block_key(section: Section, person: &Person, block: &Block, (place, all): (u32, u32)) -> Option<u64> {
    let first = match section {
        Section::New if !block.is_new => return None,
        Section::Near if place < formula::NEAR => return None,
        Section::Salary if block.offer < person.desired.max(1) || !person.wants(block.occupation) => return None,
        Section::Salary => block.offer,
        Section::Popular if block.popularity == 0 => return None,
        Section::Popular => block.popularity,
        _ => 0,
    };
    Some(key(first, formula::combined(block.standing, all)))
}

/// The components of one user and one job.
pub fn explain(job: JobInput, person: &PersonInput) -> Parts {
    let columns = Columns::build(vec![job], std::iter::once(&person.needs[..]));
    columns.parts(&columns.person(person), &columns.blocks[0], 0)
}
