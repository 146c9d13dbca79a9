//! The personalized score: seven components of whole hundredths, together at most 10,000. Whole numbers, so that every
//! machine and every order of work gives the same.
//!
//! | component | most | how |
//! | --- | --- | --- |
//! | occupation | 25 | wanted 25, not wanted 0, nothing said 12.5 |
//! | place | 20 | the best of: a wanted city 20, a wanted prefecture 12, 20 within 2 km of home falling to 0 at 50 km; nothing said 10 |
//! | salary | 20 | offer / desired, at most 1; no offer 5, nothing desired 10 |
//! | style | 15 | the share of wanted needs that the job has; nothing wanted 7.5 |
//! | availability | 8 | half for days, half for hours: the share of the job's that the user has; the job says nothing 4, the user says nothing 2 |
//! | experience | 4 | one a year in the occupation |
//! | behavior | 8 | 8 × (1 − e^(−w/10)), w the weight of what the user did with the occupation, halved every 14 days |

pub const PARTS: [&str; 7] = ["occupation", "place", "salary", "style", "availability", "experience", "behavior"];
pub type Parts = [u16; 7];

pub const CITY: u32 = 2_000;
pub const PREFECTURE: u32 = 1_200;
pub const NO_PLACE: u32 = 1_000;
/// A job is near within 10 km or in a wanted city.
pub const NEAR: u32 = 1_666;

pub fn occupation(wants_any: bool, wanted: bool) -> u32 {
    match (wants_any, wanted) {
        (false, _) => 1_250,
        (true, true) => 2_500,
        (true, false) => 0,
    }
}

/// `metres` on the straight line, rounded down.
pub fn distance(metres: i64) -> u32 {
    let inside = (50_000 - metres).clamp(0, 48_000);
    (inside * 2_000 / 48_000) as u32
}

pub fn salary(offer: u32, desired: u32) -> u32 {
    if offer == 0 {
        500
    } else if desired == 0 {
        1_000
    } else {
        (2_000 * u64::from(offer.min(desired)) / u64::from(desired)) as u32
    }
}

pub fn style(met: u32, wanted: u32) -> u32 {
    (1_500 * met).checked_div(wanted).unwrap_or(750)
}

/// One half of the availability: for days, or for hours.
pub fn available(job: u8, person: u8) -> u32 {
    if person == 0 {
        200
    } else if job == 0 {
        400
    } else {
        400 * (job & person).count_ones() / job.count_ones()
    }
}

pub fn experience(years: u32) -> u32 {
    (years * 100).min(400)
}

pub fn behavior(weight: f64) -> u32 {
    (800.0 * (1.0 - (-weight.max(0.0) / 10.0).exp())).round() as u32
}

/// 0.4 basic + 0.3 seo, in thousandths.
pub fn standing(basic: u8, seo: u8) -> u32 {
    400 * u32::from(basic) + 300 * u32::from(seo)
}

/// The combined score in thousandths, of hundredths of the personalized one.
pub fn combined(standing: u32, personalized: u32) -> u32 {
    standing + 3 * personalized
}
