//! Matching at scale: 100,000 jobs × 10,000 users, the best 40 each, on all cores. One run, timed; run it with
//! `cargo bench --bench matching`, or with two numbers for other sizes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

#[path = "../tests/it/matching_data.rs"]
mod data;

use std::time::Instant;

use fanfare::feeds::matching::engine::{Columns, Scratch};

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let (jobs, people) = (sizes.first().copied().unwrap_or(100_000), sizes.get(1).copied().unwrap_or(10_000));
    let mut random = 20_261_121;
    let (made_jobs, made_people) = (data::jobs(jobs, &mut random), data::people(people, &mut random));
    let begun = Instant::now();
    let columns = Columns::build(made_jobs, made_people.iter().map(|person| &person.needs[..]));
    let built = begun.elapsed();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let sums: Vec<(usize, u64)> = std::thread::scope(|scope| {
        let share = people.div_ceil(cores).max(1);
        let workers: Vec<_> = made_people
            .chunks(share)
            .map(|people| {
                let columns = &columns;
                scope.spawn(move || {
                    let (mut scratch, mut chosen, mut count, mut sum) = (Scratch::default(), Vec::new(), 0, 0_u64);
                    for person in people {
                        columns.choose(&columns.person(person), &mut scratch, &mut chosen);
                        count += chosen.len();
                        sum += chosen.iter().map(|one| u64::from(one.combined) ^ one.job_id as u64).sum::<u64>();
                    }
                    (count, sum)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    });
    let took = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    println!("{jobs} jobs, {people} people, {cores} cores, {} blocks", columns.blocks.len());
    println!("columns {built:.2?}, matching {took:.2?}, most memory {most}");
    println!(
        "matches {}, checksum {:016x}",
        sums.iter().map(|s| s.0).sum::<usize>(),
        sums.iter().fold(0, |a, s| a ^ s.1)
    );
}
