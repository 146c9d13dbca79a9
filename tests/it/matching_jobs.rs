//! Jobs over real HTTP, on both engines: rules, lists, search, scores.

use std::collections::BTreeSet;

use fanfare::args;
use serde_json::{Value, json};

use crate::matching_kit::{both, call, get, job, post};
use crate::support::{Fanfare, Settings, databases, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_lives_alike_on_both_engines() {
    let mut lives = Vec::new();
    for server in both().await {
        let made = post(&server, "/api/v2/jobs", job(1)).await;
        let path = format!("/api/v2/jobs/{}", made["id"]);
        assert_eq!(call(&server, "POST", "/api/v2/jobs", job(1)).await.0, 409);
        // 20 for the title, 25, 20, 10, 2; one word of the title is in the description, and 東京 in the location.
        let scored = eventually("the background scores it", async || {
            let job = get(&server, &path).await;
            (job["basic_score"] != 0).then_some(job)
        })
        .await;
        assert_eq!((&scored["basic_score"], &scored["seo_score"]), (&json!(77), &json!(15)), "{scored}");
        assert_eq!(scored["combined_score"], 35.3);
        assert_eq!(scored["latitude"], 35.6284, "the station's place");
        let (status, changed) =
            call(&server, "PATCH", &path, json!({"title": "カフェ 店員", "description": "カフェ", "salary_max": null}))
                .await;
        assert_eq!((status, &changed["salary_max"]), (200, &Value::Null));
        let scored = post(&server, &format!("{path}/scoring"), Value::Null).await;
        assert_eq!((&scored["basic_score"], &scored["seo_score"]), (&json!(32), &json!(20)));
        let (status, problem) = call(&server, "PUT", &path, json!({"salary_min": 2, "salary_max": 1})).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("salary_max")));
        for (body, field) in [
            (json!({"title": "x".repeat(201)}), "title"),
            (json!({"company_name": ""}), "company_name"),
            (json!({"occupation_category": "pirate"}), "occupation_category"),
            (json!({"prefecture": "Atlantis"}), "prefecture"),
            (json!({"status": "deleted"}), "status"),
            (json!({"url": "javascript:alert(1)"}), "url"),
            (json!({"latitude": 91, "longitude": 0}), "latitude"),
            (json!({"colour": 1}), "colour"),
        ] {
            let (status, problem) = call(&server, "PATCH", &path, body).await;
            assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)));
        }
        assert_eq!(call(&server, "DELETE", &path, Value::Null).await.0, 204);
        assert_eq!(call(&server, "GET", &path, Value::Null).await.0, 404);
        assert_eq!(call(&server, "DELETE", &path, Value::Null).await.0, 404);
        assert_eq!(get(&server, "/api/v2/jobs").await["pagination"]["total_items"], 0);
        let mut life = scored;
        for changing in ["id", "created_at", "updated_at"] {
            life.as_object_mut().unwrap().remove(changing).unwrap();
        }
        lives.push(life);
    }
    assert_eq!(lives[0], lives[1]);
}

async fn ids(server: &Fanfare, answer: Value) -> Vec<String> {
    let _ = server;
    answer["jobs"].as_array().unwrap().iter().map(|job| job["external_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_searches_find_the_same_on_both_engines() {
    for server in both().await {
        for n in 1..=5 {
            post(&server, "/api/v2/jobs", job(n)).await;
        }
        let mut osaka = job(6);
        osaka["title"] = json!("倉庫の仕分け");
        osaka["description"] = json!("１００％安心の ＩＴ 物流");
        osaka["prefecture"] = json!("大阪府");
        osaka["location"] = json!("大阪市北区");
        osaka["nearest_station"] = Value::Null;
        osaka["occupation_category"] = json!("logistics");
        osaka["needs_categories"] = json!(["高収入", "長期"]);
        post(&server, "/api/v2/jobs", osaka).await;
        let mut paused = job(7);
        paused["status"] = json!("paused");
        post(&server, "/api/v2/jobs", paused).await;

        let list = get(&server, "/api/v2/jobs?limit=2&page=2&sort_by=salary_min&sort_order=asc").await;
        let expected =
            json!({"page": 2, "limit": 2, "total_items": 6, "total_pages": 3, "has_next": true, "has_prev": true});
        assert_eq!(list["pagination"], expected);
        assert_eq!(ids(&server, list).await, ["J-3", "J-4"]);
        for sort in [
            "id",
            "title",
            "company_name",
            "salary_max",
            "basic_score",
            "seo_score",
            "personalized_score",
            "combined_score",
            "created_at",
            "updated_at",
            "expires_at",
            "distance",
        ] {
            for order in ["asc", "desc"] {
                let list = get(&server, &format!("/api/v2/jobs?sort_by={sort}&sort_order={order}")).await;
                assert_eq!(list["pagination"]["total_items"], 6, "{sort}");
            }
        }
        for (query, found) in [
            ("keyword=カフェ", 5),
            ("keyword=店", 5),
            ("keyword=店 京", 5),
            ("keyword=鯨", 0),
            ("keyword=仕分け", 1),
            ("keyword=it", 1),
            ("keyword=物流 100%25", 1),
            ("keyword=カフ流", 0),
            ("location=大阪", 1),
            ("salary_min=1305", 2),
            ("salary_max=1102", 2),
            ("occupation_categories=logistics,it", 1),
            ("needs_categories=長期,短期", 6),
            ("status=paused", 1),
            ("keyword=カフェ&salary_min=1304&needs_categories=短期", 2),
        ] {
            let list = get(&server, &format!("/api/v2/jobs?{query}")).await;
            assert_eq!(list["pagination"]["total_items"], found, "{query}");
        }
        for (body, found) in [
            (json!({"keyword": "倉庫"}), 1),
            (json!({"prefecture": "東京"}), 5),
            (json!({"city": "港区", "station": "品川駅"}), 5),
            (json!({"latitude": 35.6812, "longitude": 139.7671, "radius_km": 7}), 5),
            (json!({"latitude": 35.6812, "longitude": 139.7671, "radius_km": 6}), 0),
            (json!({"latitude": 35.6812, "longitude": 139.7671, "radius_km": 500, "sort_by": "distance"}), 6),
            (json!({"occupation_categories": ["logistics"], "keyword": "安心"}), 1),
        ] {
            let answer = post(&server, "/api/v2/jobs/search", body.clone()).await;
            assert_eq!(answer["pagination"]["total_items"], found, "{body}");
            if found == 6 {
                assert_eq!(ids(&server, answer).await.last().unwrap(), "J-6", "the farthest comes last");
            }
        }
        for (query, status) in [
            ("limit=1001", 422),
            ("page=0", 422),
            ("status=gone", 400),
            ("status=deleted", 422),
            ("occupation_categories=pirate", 422),
            ("colour=red", 400),
        ] {
            assert_eq!(call(&server, "GET", &format!("/api/v2/jobs?{query}"), Value::Null).await.0, status, "{query}");
        }
        let long = format!("/api/v2/jobs?keyword={}", "x".repeat(101));
        assert_eq!(call(&server, "GET", &long, Value::Null).await.0, 422);
    }
}

/// Six thousand jobs, of which the 1,100 best paid are found by a word, in a line from south to north.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_common_words_and_near_places_are_in_order() {
    const JOBS: usize = 6_000;
    let row = |n: usize| {
        json!({
            "external_id": format!("J-{n}"), "company_name": "会社", "title": if n < 4_900 { "倉庫" } else { "カフェ" },
            "occupation_category": "other", "salary_min": 1_000 + n, "salary_max": 9_000,
            "latitude": 35.0 + n as f64 / 10_000.0, "longitude": 139.0,
        })
    };
    let names = |numbers: &[usize]| numbers.iter().map(|n| format!("J-{n}")).collect::<Vec<_>>();
    for server in both().await {
        let rows: Vec<Value> = (0..JOBS).map(row).collect();
        let task = post(&server, "/api/v2/jobs/bulk", json!(rows)).await;
        eventually("the import ends", async || {
            let task = get(&server, task["status_url"].as_str().unwrap()).await;
            (task["succeeded"] == JOBS).then_some(())
        })
        .await;
        // From above the first jobs have the word; from below the last of five thousand have it, and then only others.
        for (order, page, from) in [("desc", 1, 5_999), ("desc", 3, 5_799), ("asc", 1, 4_900), ("asc", 2, 5_000)] {
            let body =
                json!({"keyword": "カフェ", "sort_by": "salary_min", "sort_order": order, "limit": 100, "page": page});
            let found = post(&server, "/api/v2/jobs/search", body).await;
            assert_eq!(found["pagination"]["total_items"], 1_000, "counted no further");
            let expected: Vec<usize> =
                (0..100).map(|step| if order == "asc" { from + step } else { from - step }).collect();
            assert_eq!(ids(&server, found).await, names(&expected), "{order} {page}");
        }
        let mut by_distance: Vec<usize> = (0..JOBS).collect();
        by_distance.sort_by_key(|n| (*n as i64 * 100 - 300_030).abs());
        for page in [1, 3] {
            let body = json!({"latitude": 35.300_03, "longitude": 139.0, "radius_km": 60, "sort_by": "distance", "limit": 20,
                "page": page});
            let found = post(&server, "/api/v2/jobs/search", body).await;
            assert_eq!(ids(&server, found).await, names(&by_distance[(page - 1) * 20..page * 20]), "page {page}");
        }
        // What is given as a place is one that there is, and signs alone are looked for as they are.
        let (status, problem) = call(&server, "POST", "/api/v2/jobs/search", json!({"prefecture": "火星"})).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("prefecture")));
        let signs = post(&server, "/api/v2/jobs/search", json!({"keyword": "%"})).await;
        assert_eq!(signs["pagination"]["total_items"], 0);
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Terms {
    search_terms: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_from_before_are_found_by_single_letters() {
    const MIGRATIONS: [&str; 2] = [
        include_str!("../../migrations/sqlite/0080_letters.sql"),
        include_str!("../../migrations/postgres/0080_letters.sql"),
    ];
    for (test, migration) in databases().await.into_iter().zip(MIGRATIONS) {
        let server = Fanfare::start(Settings::new().database(&test.url)).await;
        post(&server, "/api/v2/jobs", job(1)).await;
        drop(server);
        let read = async || {
            let row: Terms = test.db.fetch_one("SELECT search_terms FROM jobs", args![]).await.unwrap();
            row.search_terms.split(' ').map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let now = read().await;
        let before: Vec<&str> = now.iter().map(String::as_str).filter(|term| term.chars().count() == 2).collect();
        assert!(!before.is_empty() && before.len() < now.len(), "{now:?}");
        test.db.execute("UPDATE jobs SET search_terms = $1", args![before.join(" ")]).await.unwrap();
        test.db.execute(migration, args![]).await.unwrap();
        let after = read().await;
        assert!(after.is_superset(&now), "{:?}", now.difference(&after));
    }
}
