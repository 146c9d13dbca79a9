//! An event that cannot be applied is set aside and looked after; its neighbors never notice.

use fanfare::db::Db;
use serde_json::{Value, json};

use crate::progress_kit::{get, number, open, post, run, stored};
use crate::support::{Fanfare, Postgres, Redis, Settings, eventually, http};

/// From now on the tables refuse the event `poison`.
pub async fn poison(db: &Db) {
    if db.engine() == "sqlite" {
        let sql = "CREATE TRIGGER poison BEFORE INSERT ON progress_events WHEN NEW.event_id = 'poison'
            BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
        db.execute(sql, vec![]).await.unwrap();
        return;
    }
    let sql = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.event_id = 'poison' THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN NEW; END $$";
    db.execute(sql, vec![]).await.unwrap();
    let sql = "CREATE TRIGGER poison BEFORE INSERT ON progress_events FOR EACH ROW EXECUTE FUNCTION poison()";
    db.execute(sql, vec![]).await.unwrap();
}

async fn cure(db: &Db) {
    let sql = db.by_engine("DROP TRIGGER poison", "DROP TRIGGER poison ON progress_events");
    db.execute(sql, vec![]).await.unwrap();
}

async fn letters(server: &Fanfare) -> Vec<Value> {
    get(server, "/api/v1/dead-letters?topic=progress").await["items"].as_array().unwrap().clone()
}

async fn is_set_aside(settings: Settings, url: Option<String>) {
    let quick = settings.env("FANFARE__QUEUE__MAX_ATTEMPTS", "3").env("FANFARE__QUEUE__BACKOFF_INITIAL_MS", "1");
    let settings = quick.env("FANFARE__QUEUE__POLL_MS", "10").env("FANFARE__QUEUE__BACKOFF_MAX_MS", "5");
    let server = Fanfare::start(settings.clone()).await;
    let embedded = format!("sqlite://{}", server.data_dir().join("fanfare.db").display());
    let url = url.unwrap_or(embedded);
    let db = open(&url).await;
    poison(&db).await;
    let mut batch: Vec<Value> = (0..20).map(|i| run(&format!("good{i}"), "a@x", i, i, None)).collect();
    batch.insert(7, run("poison", "b@x", 1, 1, None));
    assert_eq!(post(&server, &json!(batch)).await.0, 202);
    stored(&db, 20).await;
    let dead = eventually("a dead letter", async || letters(&server).await.into_iter().next()).await;
    assert_eq!(letters(&server).await.len(), 1, "only the poison");
    assert_eq!((&dead["topic"], &dead["attempts"]), (&json!("progress"), &json!(3)));
    assert!(dead["last_error"].as_str().unwrap().contains("poisoned"));
    assert_eq!(dead["payload"][0]["eventId"], "poison");
    let one = format!("/api/v1/dead-letters/{}", dead["id"]);
    assert_eq!(get(&server, &one).await, dead);
    assert_eq!(http().get(format!("{}/api/v1/dead-letters/99999", server.url())).send().await.unwrap().status(), 404);
    // Replayed while it is still poison: dead again.
    let replay = async || http().post(format!("{}{one}/replay", server.url())).send().await.unwrap().status().as_u16();
    assert_eq!(replay().await, 202);
    eventually("dead again", async || (letters(&server).await.len() == 1).then_some(())).await;
    cure(&db).await;
    // By command, beside the running server.
    let command = settings.clone().database(&url);
    let (status, printed) = Fanfare::run(&command, &["dead-letters", "list", "--topic", "progress"]).await;
    assert!(status.success() && printed.contains("poisoned"), "{printed}");
    let id = dead["id"].to_string();
    let (status, printed) = Fanfare::run(&command, &["dead-letters", "show", &id]).await;
    assert!(status.success() && printed.contains("\"eventId\": \"poison\""), "{printed}");
    let (status, printed) = Fanfare::run(&command, &["dead-letters", "replay", &id]).await;
    assert!(status.success(), "{printed}");
    stored(&db, 21).await;
    assert_eq!(number(&db, "SELECT count(*) AS number FROM queue_items").await, 0);
    let (status, printed) = Fanfare::run(&command, &["dead-letters", "discard", &id]).await;
    assert!(!status.success() && printed.contains("there is no dead letter"), "{printed}");
    // What no program can read is kept as well, and can be thrown away.
    let sql = "INSERT INTO queue_items (topic, payload, run_at, created_at)
        VALUES ('progress', '{\"not\": \"events\"}', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)";
    db.execute(sql, vec![]).await.unwrap();
    let dead = eventually("a dead letter", async || letters(&server).await.into_iter().next()).await;
    let url = format!("{}/api/v1/dead-letters/{}", server.url(), dead["id"]);
    assert_eq!(http().delete(&url).send().await.unwrap().status(), 204);
    assert_eq!(http().delete(&url).send().await.unwrap().status(), 404);
    assert!(letters(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_set_aside_on_sqlite() {
    is_set_aside(Settings::new(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_set_aside_on_postgresql() {
    let url = Postgres::database().await.url;
    is_set_aside(Settings::new().database(&url), Some(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_set_aside_with_the_journal_on_redis() {
    let (url, redis) = (Postgres::database().await.url, Redis::start().await);
    is_set_aside(Settings::new().database(&url).redis(&redis), Some(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_for_admins() {
    let (admin, manager) = ("a".repeat(32), "m".repeat(32));
    let settings = Settings::new().env("FANFARE__AUTH__API_KEYS", format!("admin:{admin},manager:{manager}"));
    let server = Fanfare::start(settings).await;
    for (key, status) in [(&admin, 200), (&manager, 403)] {
        let request = http().get(format!("{}/api/v1/dead-letters", server.url())).header("x-api-key", key);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}
