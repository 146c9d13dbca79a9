//! Places: names to points, and points in metres from the earth's center, so that a distance is a sum of squares.

pub mod cities;
pub mod facts;

use facts::{PREFECTURES, STATIONS};

/// The mean radius of the earth, in metres.
const EARTH_M: f64 = 6_371_009.0;

/// A point on the earth, in whole metres from its center.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub x: i64,
    pub y: i64,
    pub z: i64,
}

impl Point {
    pub fn new(latitude: f64, longitude: f64) -> Self {
        let (lat, lon) = (latitude.to_radians(), longitude.to_radians());
        let metres = |part: f64| (part * EARTH_M).round() as i64;
        Self { x: metres(lat.cos() * lon.cos()), y: metres(lat.cos() * lon.sin()), z: metres(lat.sin()) }
    }

    /// The square of the straight line's length, in square metres.
    pub fn squared_to(self, other: Self) -> i64 {
        let (x, y, z) = (self.x - other.x, self.y - other.y, self.z - other.z);
        x * x + y * y + z * z
    }
}

/// The straight line, in metres, to what lies `arc_m` away on the ground.
pub fn chord(arc_m: f64) -> i64 {
    (2.0 * EARTH_M * (arc_m / (2.0 * EARTH_M)).min(std::f64::consts::FRAC_PI_2).sin()).round() as i64
}

/// The way on the ground, in metres, of a straight line.
pub fn arc(chord_m: f64) -> f64 {
    2.0 * EARTH_M * (chord_m / (2.0 * EARTH_M)).min(1.0).asin()
}

/// 0 to 46; with or without 都, 道, 府 or 県.
pub fn prefecture_index(name: &str) -> Option<usize> {
    let bare = |name: &'static str| name.strip_suffix(['都', '府', '県']).unwrap_or(name);
    PREFECTURES.iter().position(|known| known.name == name || bare(known.name) == name)
}

/// The name as the law has it, of whatever form is given.
pub fn prefecture_name(name: &str) -> Option<&'static str> {
    prefecture_index(name).map(|index| PREFECTURES[index].name)
}

/// Degrees of a station, or else of the prefecture's office.
pub fn locate(station: Option<&str>, prefecture: Option<&str>) -> Option<(f64, f64)> {
    let prefecture = prefecture.and_then(prefecture_name);
    let named = station.map(|name| name.strip_suffix('駅').unwrap_or(name));
    let found = STATIONS.iter().find(|(name, of, ..)| Some(*name) == named && prefecture.is_none_or(|p| p == *of));
    let office = || PREFECTURES.iter().find(|known| Some(known.name) == prefecture);
    found.map(|(.., lat, lon)| (*lat, *lon)).or_else(|| office().map(|known| (known.latitude, known.longitude)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_names() {
        // The whole country, as the census has it.
        assert_eq!(PREFECTURES.iter().map(|p| p.population).sum::<i64>(), 126_146_099);
        let (tokyo, osaka) = (Point::new(35.6895, 139.6917), Point::new(34.6863, 135.5200));
        let km = arc((tokyo.squared_to(osaka) as f64).sqrt()) / 1000.0;
        assert!((390.0..405.0).contains(&km), "{km}");
        assert!(chord(10_000.0) <= 10_000 && chord(10_000.0) > 9_998);
        assert_eq!((prefecture_index("北海道"), prefecture_index("沖縄")), (Some(0), Some(46)));
        assert_eq!(prefecture_name("京都"), Some("京都府"));
        assert_eq!(locate(Some("品川駅"), Some("東京")), Some((35.6284, 139.7387)));
        assert_eq!(locate(Some("品川"), Some("大阪府")), Some((34.6863, 135.52)));
    }
}
