//! The engine against a plain reference that scores every pair, sorts everything and knows no blocks and no bounds.

use fanfare::feeds::matching::engine::{
    COMPANY_IN_ALL, COMPANY_IN_SECTION, Columns, IN_SECTION, JobInput, MOST, Match, PersonInput, Scratch, Section,
};
use fanfare::feeds::matching::place::Point;
use proptest::prelude::*;

/// The formula as docs/API-MATCHING.md has it, pair by pair.
fn parts(job: &JobInput, person: &PersonInput) -> [u16; 7] {
    let occupation = match (person.occupations.is_empty(), person.occupations.contains(&job.occupation)) {
        (true, _) => 1250,
        (_, true) => 2500,
        _ => 0,
    };
    let silent = person.point.is_none() && person.prefectures.is_empty() && person.cities.is_empty();
    let metres = job.point.zip(person.point).map(|(a, b)| (a.squared_to(b) as f64).sqrt() as i64);
    let place = if silent {
        1000
    } else if job.city.as_ref().is_some_and(|city| person.cities.contains(city)) {
        2000
    } else {
        let near = metres.map_or(0, |m| if m <= 2000 { 2000 } else { (50_000 - m).max(0) * 2000 / 48_000 });
        near.max(if person.prefectures.contains(&job.prefecture) { 1200 } else { 0 })
    };
    let salary = match (job.offer, person.desired) {
        (0, _) => 500,
        (_, 0) => 1000,
        (offer, desired) if offer >= desired => 2000,
        (offer, desired) => 2000 * offer / desired,
    };
    let mut wanted = person.needs.clone();
    wanted.sort();
    wanted.dedup();
    let met = wanted.iter().filter(|need| job.needs.contains(need)).count();
    let style = if wanted.is_empty() { 750 } else { 1500 * met / wanted.len() };
    let half = |job: u8, person: u8| match (job, person) {
        (_, 0) => 200,
        (0, _) => 400,
        (job, person) => 400 * (job & person).count_ones() / job.count_ones(),
    };
    let at = usize::from(job.occupation);
    let behavior = (800.0 * (1.0 - (-person.behavior[at].max(0.0) / 10.0).exp())).round();
    [
        occupation,
        place as u16,
        salary as u16,
        style as u16,
        (half(job.days, person.days) + half(job.slots, person.slots)) as u16,
        (person.years[at] * 100).min(400) as u16,
        behavior as u16,
    ]
}

fn reference(jobs: &[JobInput], person: &PersonInput) -> Vec<Match> {
    let mut chosen: Vec<(Match, &JobInput)> = Vec::new();
    for section in Section::ALL {
        let mut order: Vec<(u32, Match, &JobInput)> = Vec::new();
        for job in jobs {
            let parts = parts(job, person);
            let first = match section {
                Section::New if !job.is_new => continue,
                Section::Near if parts[1] < 1666 => continue,
                Section::Salary if job.offer == 0 || job.offer < person.desired || parts[0] == 0 => continue,
                Section::Salary => job.offer,
                Section::Popular if job.popularity == 0 => continue,
                Section::Popular => job.popularity,
                _ => 0,
            };
            let personalized: u32 = parts.iter().map(|part| u32::from(*part)).sum();
            let combined = 400 * u32::from(job.basic) + 300 * u32::from(job.seo) + 3 * personalized;
            order.push((first, Match { job_id: job.id, section, combined, parts }, job));
        }
        order.sort_by_key(|(first, one, _)| (std::cmp::Reverse((*first, one.combined)), one.job_id));
        let mut taken = 0;
        for (_, one, job) in order {
            let room = if section == Section::Other { MOST } else { IN_SECTION };
            if chosen.len() == MOST || taken == room {
                break;
            }
            let same = chosen.iter().filter(|(_, other)| other.company == job.company);
            let here = same.clone().filter(|(other, _)| other.section == section).count();
            let fits = same.count() < COMPANY_IN_ALL && here < COMPANY_IN_SECTION;
            let known = chosen.iter().any(|(other, _)| other.job_id == job.id) || person.excluded.contains(&job.id);
            if fits && !known {
                chosen.push((one, job));
                taken += 1;
            }
        }
    }
    chosen.into_iter().map(|(one, _)| one).collect()
}

const NEEDS: [&str; 5] = ["short", "long", "evening", "remote", "meals"];
const CITIES: [&str; 4] = ["港区", "北区", "中区", "西区"];

fn point() -> impl Strategy<Value = Option<Point>> {
    prop::option::weighted(0.8, (33.0..36.0, 135.0..137.0).prop_map(|(lat, lon): (f64, f64)| Point::new(lat, lon)))
}

fn needs() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(NEEDS.map(str::to_owned).to_vec(), 0..4)
}

prop_compose! {
    fn job()(company in 0..40_u32, occupation in 0..12_u8, prefecture in 0..4_u8, city in prop::option::of(0..4_usize),
        point in point(), basic in 0..=100_u8, seo in (0..=20_u8).prop_map(|n| n * 5), popularity in prop::option::of(0..100_u32),
        offer in prop_oneof![Just(0), (9..20_u32).prop_map(|n| n * 100)], needs in needs(), days in 0..128_u8,
        slots in 0..16_u8, is_new in any::<bool>()) -> JobInput {
        JobInput { id: 0, company: company.to_string(), occupation: if company % 3 == 0 { 1 } else { occupation }, prefecture,
            city: city.map(|city| CITIES[city].to_owned()), point, basic, seo, popularity: popularity.unwrap_or(0), offer,
            needs, days, slots, is_new }
    }
}

prop_compose! {
    fn person()(occupations in prop::sample::subsequence((0..12).collect::<Vec<u8>>(), 0..4),
        prefectures in prop::sample::subsequence((0..6).collect::<Vec<u8>>(), 0..3),
        cities in prop::sample::subsequence(CITIES.map(str::to_owned).to_vec(), 0..2), point in point(),
        desired in prop_oneof![Just(0), 900..1500_u32], needs in needs(), days in 0..128_u8, slots in 0..16_u8,
        years in prop::array::uniform12(0..6_u32), behavior in prop::array::uniform12(-5.0..40.0),
        excluded in prop::collection::vec(0..400_i64, 0..10)) -> PersonInput {
        PersonInput { occupations, prefectures, cities, point, desired, needs, days, slots, years, behavior, excluded }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_engine_chooses_what_the_reference_chooses(mut jobs in prop::collection::vec(job(), 0..400),
        people in prop::collection::vec(person(), 1..4)) {
        for (job, id) in jobs.iter_mut().zip(0..) {
            job.id = id * 7919 % 400;
        }
        let columns = Columns::build(jobs.clone(), people.iter().map(|person| &person.needs[..]));
        let (mut scratch, mut chosen) = (Scratch::default(), Vec::new());
        for person in &people {
            // A need that nobody's job offers is still a wish; the reference counts all, and so must the columns.
            columns.choose(&columns.person(person), &mut scratch, &mut chosen);
            prop_assert_eq!(&chosen, &reference(&jobs, person));
        }
    }
}

#[test]
fn the_order_of_the_input_does_not_matter_and_companies_are_mixed() {
    let mut random = 1_u64;
    let mut jobs = crate::matching_data::jobs(3_000, &mut random);
    let people = crate::matching_data::people(20, &mut random);
    let needs = || people.iter().map(|person| &person.needs[..]);
    let one = Columns::build(jobs.clone(), needs());
    jobs.reverse();
    let other = Columns::build(jobs.clone(), needs());
    let (mut scratch, mut first, mut second) = (Scratch::default(), Vec::new(), Vec::new());
    for person in &people {
        one.choose(&one.person(person), &mut scratch, &mut first);
        other.choose(&other.person(person), &mut scratch, &mut second);
        assert_eq!(first, second);
        assert_eq!(first, reference(&jobs, person));
        assert_eq!(first.len(), MOST);
    }
}
