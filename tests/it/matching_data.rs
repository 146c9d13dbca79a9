//! Jobs and people as they are spread over Japan: where people live, and what work pays there. See docs/DATA.md.

use fanfare::feeds::matching::engine::{JobInput, PersonInput};
use fanfare::feeds::matching::place::Point;
use fanfare::feeds::matching::place::cities::cities_of;
use fanfare::feeds::matching::place::facts::{PREFECTURES, STATIONS};

pub const NEEDS: [&str; 12] = [
    "短期",
    "長期",
    "高収入",
    "日払い",
    "未経験歓迎",
    "学生歓迎",
    "主婦歓迎",
    "在宅",
    "土日のみ",
    "夜勤",
    "交通費支給",
    "まかない",
];

/// A small generator of our own, so that every run and machine makes the same data (xorshift, 64 bits).
pub fn next(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
}

/// A prefecture, as likely as its share of the population.
pub fn prefecture(random: &mut u64) -> usize {
    let all: i64 = PREFECTURES.iter().map(|one| one.population).sum();
    let mut at = next(random, all as u64) as i64;
    PREFECTURES
        .iter()
        .position(|one| {
            at -= one.population;
            at < 0
        })
        .unwrap_or(12)
}

/// A city of the prefecture, as likely as its share of the people in those that are listed.
pub fn city(random: &mut u64, prefecture: usize) -> &'static str {
    let all: i64 = cities_of(prefecture).map(|(.., people)| people).sum();
    let mut at = next(random, all as u64) as i64;
    let found = cities_of(prefecture).find(|(.., people)| {
        at -= people;
        at < 0
    });
    found.map_or("", |(_, name, _)| name)
}

/// A place within about 30 km of the prefecture's office, or a station when there is one.
fn somewhere(random: &mut u64, prefecture: usize) -> Point {
    let stations: Vec<_> = STATIONS.iter().filter(|(_, of, ..)| *of == PREFECTURES[prefecture].name).collect();
    if !stations.is_empty() && next(random, 2) == 0 {
        let (_, _, lat, lon) = stations[next(random, stations.len() as u64) as usize];
        return Point::new(*lat, *lon);
    }
    let off = |random: &mut u64| (next(random, 600) as f64 - 300.0) / 1000.0;
    Point::new(PREFECTURES[prefecture].latitude + off(random), PREFECTURES[prefecture].longitude + off(random))
}

fn some(random: &mut u64, most: u64) -> Vec<String> {
    let count = next(random, most + 1);
    let mut list: Vec<String> = (0..count).map(|_| NEEDS[next(random, 12) as usize].to_owned()).collect();
    list.sort();
    list.dedup();
    list
}

pub fn jobs(count: usize, random: &mut u64) -> Vec<JobInput> {
    let job = |id: usize, random: &mut u64| {
        let prefecture = prefecture(random);
        let wage = PREFECTURES[prefecture].minimum_wage as u32;
        JobInput {
            id: id as i64 + 1,
            company: format!("会社{}", next(random, count as u64 / 8 + 1)),
            occupation: next(random, 12) as u8,
            prefecture: prefecture as u8,
            city: Some(format!("{prefecture}/{}", city(random, prefecture))),
            point: Some(somewhere(random, prefecture)),
            basic: [55, 65, 70, 77, 82, 90, 95, 100][next(random, 8) as usize],
            seo: (next(random, 12) * 5) as u8,
            popularity: if next(random, 10) == 0 { next(random, 9_000) as u32 } else { 0 },
            // Nobody may pay less than the minimum wage; most pay up to half more.
            offer: wage + next(random, u64::from(wage) / 2) as u32,
            needs: some(random, 4),
            days: next(random, 128) as u8,
            slots: next(random, 16) as u8,
            is_new: next(random, 13) == 0,
        }
    };
    (0..count).map(|id| job(id, random)).collect()
}

pub fn people(count: usize, random: &mut u64) -> Vec<PersonInput> {
    let person = |random: &mut u64| {
        let home = prefecture(random);
        let wage = PREFECTURES[home].minimum_wage as u64;
        PersonInput {
            occupations: (0..next(random, 3)).map(|_| next(random, 12) as u8).collect(),
            prefectures: vec![home as u8],
            cities: (0..next(random, 2)).map(|_| format!("{home}/{}", city(random, home))).collect(),
            point: Some(somewhere(random, home)),
            desired: (wage + next(random, wage / 3)) as u32,
            needs: some(random, 3),
            days: next(random, 128) as u8,
            slots: next(random, 16) as u8,
            years: std::array::from_fn(|_| next(random, 4) as u32),
            behavior: std::array::from_fn(|_| next(random, 20) as f64),
            excluded: Vec::new(),
        }
    };
    (0..count).map(|_| person(random)).collect()
}
