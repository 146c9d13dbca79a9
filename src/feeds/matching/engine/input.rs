//! What the engine is given: jobs and people as plain values.

use crate::feeds::matching::place::Point;

/// No prefecture.
pub const NOWHERE: u8 = 47;

#[derive(Clone, Debug)]
pub struct JobInput {
    pub id: i64,
    pub company: String,
    /// Index of the occupation, below 12.
    pub occupation: u8,
    /// Index of the prefecture, or [`NOWHERE`].
    pub prefecture: u8,
    pub city: Option<String>,
    pub point: Option<Point>,
    /// 0 to 100 each.
    pub basic: u8,
    pub seo: u8,
    /// Hundredths, 0 to 10,000.
    pub popularity: u32,
    /// Yen an hour at the top of the range; 0 when nothing is said.
    pub offer: u32,
    pub needs: Vec<String>,
    /// Masks of [`super::days`] and [`super::slots`].
    pub days: u8,
    pub slots: u8,
    pub is_new: bool,
}

#[derive(Clone, Debug, Default)]
pub struct PersonInput {
    /// Indexes of occupations.
    pub occupations: Vec<u8>,
    /// Indexes of prefectures.
    pub prefectures: Vec<u8>,
    pub cities: Vec<String>,
    pub point: Option<Point>,
    /// Yen an hour; 0 when nothing is said.
    pub desired: u32,
    pub needs: Vec<String>,
    pub days: u8,
    pub slots: u8,
    /// Years by occupation.
    pub years: [u32; 12],
    /// Weight of behavior by occupation, decayed; negative counts as none.
    pub behavior: [f64; 12],
    /// Jobs that are not to be shown again: applied for or dismissed.
    pub excluded: Vec<i64>,
}

/// From 50,000 yen on an amount is a month's; 160 hours make a month.
pub fn hourly(yen: i64) -> u32 {
    let yen = if yen >= 50_000 { yen / 160 } else { yen };
    u32::try_from(yen.max(0)).unwrap_or(u32::MAX)
}
