//! Jobs in columns, in blocks of at most 64 that are alike, each with bounds on what its jobs can score.

use std::collections::HashMap;

use super::formula;
use super::input::{JobInput, PersonInput};
use crate::feeds::matching::place::Point;

const BLOCK: usize = 64;
/// Needs that count: those that most users want, as many as a mask has bits.
const MOST_NEEDS: usize = 128;

/// All jobs of one day. Position in the columns is by occupation, prefecture, newness, standing and id.
pub struct Columns {
    pub ids: Vec<i64>,
    points: Vec<Option<Point>>,
    cities: Vec<u32>,
    pub standings: Vec<u32>,
    pub popularities: Vec<u32>,
    pub offers: Vec<u32>,
    needs: Vec<u128>,
    days: Vec<u8>,
    slots: Vec<u8>,
    pub companies: Vec<u32>,
    pub blocks: Vec<Block>,
    city_numbers: HashMap<String, u32>,
    need_bits: HashMap<String, u32>,
}

/// Jobs `first..last` of one occupation and prefecture, and the most that any of them has.
pub struct Block {
    pub first: u32,
    pub last: u32,
    pub occupation: u8,
    prefecture: u8,
    pub is_new: bool,
    pub least_id: i64,
    pub standing: u32,
    pub popularity: u32,
    pub offer: u32,
    /// Whether all of its jobs pay at least something: then the figure for no offer does not count.
    no_offer: bool,
    needs: u128,
    /// Every located job is within the radius of the center; `None` when one has no place of its own.
    center: Option<Point>,
    radius_m: i64,
}

/// One user, translated into numbers of these columns.
pub struct Person {
    occupations: u16,
    prefectures: u64,
    cities: Vec<u32>,
    point: Option<Point>,
    pub desired: u32,
    wanted: u128,
    wanted_count: u32,
    days: u8,
    slots: u8,
    /// Occupation, experience and behavior together, by occupation.
    fixed: [[u16; 3]; 12],
    pub excluded: Vec<i64>,
}

impl Columns {
    /// `people` decide which needs count when there are more than a mask has bits.
    pub fn build<'a>(mut jobs: Vec<JobInput>, people: impl Iterator<Item = &'a [String]>) -> Self {
        let standing = |job: &JobInput| formula::standing(job.basic, job.seo);
        jobs.sort_unstable_by_key(|job| {
            (job.occupation, job.prefecture, job.is_new, std::cmp::Reverse(standing(job)), job.id)
        });
        let need_bits = most_wanted(people);
        let (mut city_numbers, mut company_numbers) = (HashMap::new(), HashMap::new());
        let number = |names: &mut HashMap<String, u32>, name: &str| match names.get(name) {
            Some(number) => *number,
            None => {
                let number = names.len() as u32;
                names.insert(name.to_owned(), number);
                number
            }
        };
        let mask = |job: &JobInput| job.needs.iter().filter_map(|need| need_bits.get(need)).fold(0, |m, b| m | 1 << b);
        let needs: Vec<u128> = jobs.iter().map(mask).collect();
        let cities =
            jobs.iter().map(|job| job.city.as_ref().map_or(u32::MAX, |c| number(&mut city_numbers, c))).collect();
        let companies = jobs.iter().map(|job| number(&mut company_numbers, &job.company)).collect();
        let blocks = blocks(&jobs, &needs);
        Self {
            ids: jobs.iter().map(|job| job.id).collect(),
            points: jobs.iter().map(|job| job.point).collect(),
            cities,
            standings: jobs.iter().map(standing).collect(),
            popularities: jobs.iter().map(|job| job.popularity).collect(),
            offers: jobs.iter().map(|job| job.offer).collect(),
            needs,
            days: jobs.iter().map(|job| job.days).collect(),
            slots: jobs.iter().map(|job| job.slots).collect(),
            companies,
            blocks,
            city_numbers,
            need_bits,
        }
    }

    pub fn person(&self, input: &PersonInput) -> Person {
        let mask = |list: &[u8]| list.iter().fold(0_u64, |mask, index| mask | 1 << index);
        let occupations = mask(&input.occupations) as u16;
        let known: Vec<u32> = input.needs.iter().filter_map(|need| self.need_bits.get(need)).copied().collect();
        let wanted = known.iter().fold(0_u128, |mask, bit| mask | 1 << bit);
        let mut excluded = input.excluded.clone();
        excluded.sort_unstable();
        Person {
            occupations,
            prefectures: mask(&input.prefectures),
            // A city that no job is in keeps its say: the user does have a wish.
            cities: input.cities.iter().map(|city| *self.city_numbers.get(city).unwrap_or(&(u32::MAX - 1))).collect(),
            point: input.point,
            desired: input.desired,
            wanted,
            wanted_count: wanted.count_ones(),
            days: input.days,
            slots: input.slots,
            fixed: std::array::from_fn(|index| {
                [
                    formula::occupation(occupations != 0, occupations >> index & 1 == 1) as u16,
                    formula::experience(input.years[index]) as u16,
                    formula::behavior(input.behavior[index]) as u16,
                ]
            }),
            excluded,
        }
    }

    /// The components of one pair. `block` is the one that the job is in.
    #[inline]
    pub fn parts(&self, person: &Person, block: &Block, at: usize) -> formula::Parts {
        let [occupation, experience, behavior] = person.fixed[usize::from(block.occupation)];
        let available =
            formula::available(self.days[at], person.days) + formula::available(self.slots[at], person.slots);
        let met = (self.needs[at] & person.wanted).count_ones();
        [
            occupation,
            self.place(person, block, at) as u16,
            formula::salary(self.offers[at], person.desired) as u16,
            formula::style(met, person.wanted_count) as u16,
            available as u16,
            experience,
            behavior,
        ]
    }

    #[inline]
    fn place(&self, person: &Person, block: &Block, at: usize) -> u32 {
        if person.says_no_place() {
            return formula::NO_PLACE;
        }
        if person.cities.contains(&self.cities[at]) {
            return formula::CITY;
        }
        let near = match (person.point, self.points[at]) {
            (Some(home), Some(there)) => formula::distance(metres(home, there)),
            _ => 0,
        };
        near.max(if person.prefectures >> block.prefecture & 1 == 1 { formula::PREFECTURE } else { 0 })
    }

    /// The most that a job of the block can have of the place, and of all components together.
    #[inline]
    pub fn bound(&self, person: &Person, block: &Block) -> (u32, u32) {
        let place = if person.says_no_place() {
            formula::NO_PLACE
        } else if !person.cities.is_empty() {
            formula::CITY
        } else {
            let near = match (person.point, block.center) {
                (Some(home), Some(center)) => formula::distance((metres(home, center) - 1 - block.radius_m).max(0)),
                (Some(_), None) => formula::CITY,
                (None, _) => 0,
            };
            near.max(if person.prefectures >> block.prefecture & 1 == 1 { formula::PREFECTURE } else { 0 })
        };
        let salary = formula::salary(block.offer, person.desired).max(if block.no_offer { 500 } else { 0 });
        let style = formula::style((block.needs & person.wanted).count_ones(), person.wanted_count);
        let half = |mask: u8| if mask == 0 { 200 } else { 400 };
        let fixed: u16 = person.fixed[usize::from(block.occupation)].iter().sum();
        (place, u32::from(fixed) + place + salary + style + half(person.days) + half(person.slots))
    }
}

impl Person {
    fn says_no_place(&self) -> bool {
        self.point.is_none() && self.prefectures == 0 && self.cities.is_empty()
    }

    pub fn wants(&self, occupation: u8) -> bool {
        self.occupations == 0 || self.occupations >> occupation & 1 == 1
    }
}

/// The straight line's length, rounded down.
fn metres(a: Point, b: Point) -> i64 {
    (a.squared_to(b) as f64).sqrt() as i64
}

fn most_wanted<'a>(people: impl Iterator<Item = &'a [String]>) -> HashMap<String, u32> {
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for need in people.flatten() {
        *wanted.entry(need).or_default() += 1;
    }
    let mut order: Vec<(&str, usize)> = wanted.into_iter().collect();
    order.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let kept = order.into_iter().take(MOST_NEEDS).zip(0..);
    kept.map(|((name, _), bit)| (name.to_owned(), bit)).collect()
}

fn blocks(jobs: &[JobInput], needs: &[u128]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut first = 0;
    let group = |job: &JobInput| (job.occupation, job.prefecture, job.is_new);
    for end in 1..=jobs.len() {
        if end < jobs.len() && end - first < BLOCK && group(&jobs[end]) == group(&jobs[first]) {
            continue;
        }
        let members = &jobs[first..end];
        let most = |of: fn(&JobInput) -> u32| members.iter().map(of).max().unwrap_or_default();
        let points: Option<Vec<Point>> = members.iter().map(|job| job.point).collect();
        let center = points.as_deref().and_then(middle);
        let farthest = center.zip(points.as_deref()).map(|(c, all)| all.iter().map(|p| metres(*p, c) + 1).max());
        blocks.push(Block {
            first: first as u32,
            last: end as u32,
            occupation: jobs[first].occupation,
            prefecture: jobs[first].prefecture,
            is_new: jobs[first].is_new,
            least_id: members.iter().map(|job| job.id).min().unwrap_or_default(),
            standing: most(|job| formula::standing(job.basic, job.seo)),
            popularity: most(|job| job.popularity),
            offer: most(|job| job.offer),
            no_offer: members.iter().any(|job| job.offer == 0),
            needs: needs[first..end].iter().fold(0, |all, mask| all | mask),
            center,
            radius_m: farthest.flatten().unwrap_or_default(),
        });
        first = end;
    }
    blocks
}

/// The middle of all points; it need not lie on the ground.
fn middle(points: &[Point]) -> Option<Point> {
    let count = points.len() as i64;
    let sum = |of: fn(&Point) -> i64| points.iter().map(of).sum::<i64>() / count.max(1);
    (count > 0).then(|| Point { x: sum(|p| p.x), y: sum(|p| p.y), z: sum(|p| p.z) })
}
