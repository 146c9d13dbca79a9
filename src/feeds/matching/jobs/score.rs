//! The scores of a job by itself: pure functions of its fields.

use super::NewJob;
use crate::feeds::matching::fold::{fold, words};

/// Cities whose name in the location counts for search engines.
const LARGE_CITIES: [&str; 3] = ["東京", "大阪", "名古屋"];

/// How complete the job's data is, 0 to 100.
pub fn basic(job: &NewJob) -> i64 {
    let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let mut score = 0;
    if (10..=30).contains(&job.title.chars().count()) {
        score += 20;
    }
    if job.description.chars().count() >= 100 {
        score += 15;
    }
    if job.salary_min.is_some() && job.salary_max.is_some() {
        score += 25;
    }
    if filled(&job.prefecture) && filled(&job.city) {
        score += 20;
    }
    if filled(&job.nearest_station) {
        score += 10;
    }
    score += (2 * job.features.len() as i64).min(10);
    score.min(100)
}

/// How well search engines will find the job, 0 to 100. Words of the title are what stands between signs that are no
/// letters; each counts once.
pub fn seo(job: &NewJob) -> i64 {
    let (title, description) = (fold(&job.title), fold(&job.description));
    let mut seen: Vec<&str> = words(&title).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut score = 5 * seen.iter().filter(|word| description.contains(**word)).count() as i64;
    if job.url.as_deref().is_some_and(|url| url.starts_with("https://")) {
        score += 10;
    }
    if job.location.as_deref().is_some_and(|location| LARGE_CITIES.iter().any(|city| location.contains(city))) {
        score += 15;
    }
    score.min(100)
}

/// 0.4 basic + 0.3 seo + 0.3 personalized, to the thousandth.
pub fn combined(basic: i64, seo: i64, personalized: f64) -> f64 {
    let thousandths = 400 * basic + 300 * seo + (300.0 * personalized).round() as i64;
    thousandths as f64 / 1000.0
}

/// What behavior says of a job in front of nobody in particular, 0 to 100: each action weighs, halves every 14 days,
/// and ten points of weight are 63.
pub fn popularity(weight: f64) -> f64 {
    let share = 100.0 * (1.0 - (-weight.max(0.0) / 10.0).exp());
    (share * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(json: serde_json::Value) -> NewJob {
        let mut whole = serde_json::json!({"company_name": "c", "title": "t", "occupation_category": "it"});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn basic_scores_are_those_of_the_contract() {
        let long = "あ".repeat(100);
        for (json, score) in [
            (serde_json::json!({}), 0),
            (serde_json::json!({"title": "あ".repeat(9)}), 0),
            (serde_json::json!({"title": "あ".repeat(10)}), 20),
            (serde_json::json!({"title": "あ".repeat(30)}), 20),
            (serde_json::json!({"title": "あ".repeat(31)}), 0),
            (serde_json::json!({"description": "あ".repeat(99)}), 0),
            (serde_json::json!({"description": long}), 15),
            (serde_json::json!({"salary_min": 1}), 0),
            (serde_json::json!({"salary_min": 1, "salary_max": 2}), 25),
            (serde_json::json!({"prefecture": "東京都"}), 0),
            (serde_json::json!({"prefecture": "東京都", "city": "港区"}), 20),
            (serde_json::json!({"nearest_station": "品川"}), 10),
            (serde_json::json!({"features": ["a", "b", "c"]}), 6),
            (serde_json::json!({"features": ["a", "b", "c", "d", "e", "f"]}), 10),
            (
                serde_json::json!({"title": "あ".repeat(20), "description": long, "salary_min": 1, "salary_max": 1,
                    "prefecture": "p", "city": "c", "nearest_station": "s", "features": ["1", "2", "3", "4", "5"]}),
                100,
            ),
        ] {
            assert_eq!(basic(&job(json.clone())), score, "{json}");
        }
    }

    #[test]
    fn seo_scores_are_those_of_the_contract() {
        let many: Vec<String> = (10..50).map(|n| format!("w{n}")).collect();
        for (json, score) in [
            (serde_json::json!({}), 0),
            (serde_json::json!({"title": "カフェ 店員", "description": "駅前のカフェの店員"}), 10),
            (serde_json::json!({"title": "カフェ カフェ", "description": "カフェ"}), 5),
            (serde_json::json!({"title": "Cafe ＳＴＡＦＦ", "description": "cafe staff"}), 10),
            (serde_json::json!({"url": "http://a"}), 0),
            (serde_json::json!({"url": "https://a"}), 10),
            (serde_json::json!({"location": "東京都港区"}), 15),
            (serde_json::json!({"location": "名古屋と大阪"}), 15),
            (serde_json::json!({"location": "札幌"}), 0),
            (serde_json::json!({"title": many.join(" "), "description": many.join(" "), "url": "https://a"}), 100),
        ] {
            assert_eq!(seo(&job(json.clone())), score, "{json}");
        }
    }

    #[test]
    fn the_combination_is_weighted() {
        assert_eq!(combined(100, 100, 100.0), 100.0);
        assert_eq!(combined(75, 35, 12.34), 44.202);
        assert_eq!((popularity(0.0), popularity(10.0), popularity(1e9)), (0.0, 63.21, 100.0));
    }
}
