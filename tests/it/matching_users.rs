//! Users, their profiles and behavior, and what the personalized score makes of them; on both engines.

use serde_json::{Value, json};

use crate::matching_kit::{both, call, get, job, post, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_lives_alike_on_both_engines() {
    let mut lives = Vec::new();
    for server in both().await {
        let made = post(&server, "/api/v2/users", user(1)).await;
        let path = format!("/api/v2/users/{}", made["id"]);
        assert_eq!(call(&server, "POST", "/api/v2/users", user(1)).await.0, 409);
        assert!(made.get("unsubscribe_token").is_none(), "it is a credential");
        assert_eq!(made["latitude"], 35.6895, "the prefecture's office");
        let profile = get(&server, &format!("{path}/profile")).await;
        assert_eq!(profile["work_preferences"]["work_days"], json!(["sat", "sun"]));
        let (status, changed) = call(&server, "PATCH", &path, json!({"name": "次郎", "language": "en"})).await;
        assert_eq!((status, &changed["name"], &changed["language"]), (200, &json!("次郎"), &json!("en")));
        let new = json!({"experience": {"years": {"it": 3}}, "personal_info": {"born": 1990}});
        let (status, profile) = call(&server, "PUT", &format!("{path}/profile"), new).await;
        assert_eq!((status, &profile["experience"]["years"]["it"]), (200, &json!(3)));
        for (body, field) in [
            (json!({"email": "nobody"}), "email"),
            (json!({"prefecture": "Mars"}), "prefecture"),
            (json!({"profile": {"experience": {"years": {"pirate": 1}}}}), "profile.experience.years"),
            (json!({"profile": {"work_preferences": {"salary_min": -1}}}), "profile.work_preferences.salary_min"),
            (json!({"colour": 1}), "colour"),
        ] {
            let (status, problem) = call(&server, "PATCH", &path, body).await;
            assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)));
        }
        post(&server, "/api/v2/users", user(2)).await;
        for (query, found) in
            [("keyword=次郎", 1), ("keyword=USER-2", 1), ("prefecture=東京", 2), ("status=inactive", 0)]
        {
            let list = get(&server, &format!("/api/v2/users?{query}")).await;
            assert_eq!(list["pagination"]["total_items"], found, "{query}");
        }
        for sort in ["id", "name", "email", "created_at", "updated_at"] {
            let list = get(&server, &format!("/api/v2/users?sort_by={sort}&sort_order=desc&limit=1")).await;
            assert_eq!((list["users"].as_array().unwrap().len(), &list["pagination"]["has_next"]), (1, &json!(true)));
        }
        assert_eq!(call(&server, "DELETE", &path, Value::Null).await.0, 204);
        assert_eq!(call(&server, "GET", &path, Value::Null).await.0, 404);
        assert_eq!(get(&server, "/api/v2/users").await["pagination"]["total_items"], 1);
        let mut life = changed;
        for changing in ["id", "created_at", "updated_at"] {
            life.as_object_mut().unwrap().remove(changing).unwrap();
        }
        lives.push(life);
    }
    assert_eq!(lives[0], lives[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn behavior_is_kept_and_counts() {
    for server in both().await {
        let user_id = post(&server, "/api/v2/users", user(1)).await["id"].clone();
        let job_id = post(&server, "/api/v2/jobs", job(1)).await["id"].clone();
        let score =
            async || post(&server, "/api/v2/matching/score", json!({"user_id": user_id, "job_id": job_id})).await;
        let before = score().await;
        // Wanted occupation, city, salary reached, the one need met, both days and one of two slots, no experience.
        let expected = json!({"occupation": 25.0, "place": 20.0, "salary": 20.0, "style": 15.0, "availability": 6.0,
            "experience": 0.0, "behavior": 0.0});
        assert_eq!(before["components"], expected);
        assert_eq!(before["personalized_score"], 86.0);
        let path = format!("/api/v2/users/{user_id}/behavior");
        for action in ["view", "click", "save", "apply"] {
            post(&server, &path, json!({"job_id": job_id, "action": action})).await;
        }
        let behavior = score().await["components"]["behavior"].as_f64().unwrap();
        assert!((behavior - 6.21).abs() < 0.02, "8 × (1 − e^−1.5): {behavior}");
        let logs = get(&server, &path).await;
        assert_eq!((&logs["pagination"]["total_items"], &logs["items"][0]["action"]), (&json!(4), &json!("apply")));
        let scored = post(&server, &format!("/api/v2/jobs/{job_id}/scoring"), Value::Null).await;
        assert_eq!(scored["personalized_score"], 77.69, "100 × (1 − e^−1.5)");
        for body in [
            json!({"job_id": 999, "action": "view"}),
            json!({"job_id": job_id, "action": "eat"}),
            json!({"job_id": job_id, "action": "view", "at": "2001-01-01T00:00:00Z"}),
        ] {
            assert_eq!(call(&server, "POST", &path, body).await.0, 422);
        }
    }
}
