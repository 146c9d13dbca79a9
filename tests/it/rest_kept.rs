//! Kept answers and what makes them old: whatever is written, a kept answer is what a fresh one would be.

use std::time::Duration;

use fanfare::db::Moment;
use fanfare::feeds::Kept;
use fanfare::feeds::inventory::{Item, ListQuery, SortBy};
use fanfare::feeds::page::{Page, PageRequest};
use fanfare::http::{Cache, Made};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::rows_kit::{Rows, Text, body};
use crate::support::{Fanfare, Postgres, Redis, Settings, http};

fn pick<T: Clone>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(..from.len())].clone()
}

/// One of a few hundred lists, so that each is asked for again and again.
fn query(random: &mut fastrand::Rng) -> (ListQuery, PageRequest) {
    use SortBy::*;
    let order = [Id, Id, Id, Sku, Name, Category, StockQuantity, AvailableQuantity, CreatedAt, UpdatedAt];
    let query = ListQuery {
        category: pick(random, &[None, None, Some("A".to_owned()), Some("B".to_owned())]),
        active: pick(random, &[None, None, None, Some(true), Some(false)]),
        low_stock: pick(random, &[None, None, Some(true), Some(false)]),
        out_of_stock: pick(random, &[None, None, None, Some(true), Some(false)]),
        text: pick(random, &[None, None, None, None, Some("1".to_owned())]),
        sort_by: pick(random, &order),
        descending: random.u8(0..4) == 0,
        after: None,
    };
    (query, PageRequest::new(Some(random.i64(1..4)), Some(pick(random, &[3, 5]))).unwrap())
}

/// A change of one item, which may be refused, or one by SQL that no node knows of.
async fn change(rows: &Rows, random: &mut fastrand::Rng, ids: &mut Vec<i64>) {
    let id = pick(random, ids);
    let category = pick(random, &[json!("A"), json!("B"), json!("C"), Value::Null]);
    match random.u8(0..12) {
        0 => {
            let item = json!({"sku": format!("NEW-{}", random.u64(..)), "name": "new 1", "category": category,
                "stock_quantity": random.i64(0..25)});
            ids.push(rows.inventory.create(body(item)).await.unwrap().id);
        }
        1 if ids.len() > 12 => {
            rows.inventory.delete(id).await.unwrap();
            ids.retain(|known| *known != id);
        }
        2 => drop(rows.inventory.update(id, body(json!({"category": category}))).await.unwrap()),
        3 => drop(rows.inventory.update(id, body(json!({"is_active": random.bool()}))).await.unwrap()),
        4 => {
            let name = format!("name {}", random.u8(0..30));
            drop(rows.inventory.update(id, body(json!({"name": name, "description": "of 1"}))).await.unwrap());
        }
        5 => drop(rows.inventory.update(id, body(json!({"reserved_quantity": random.i64(0..20)}))).await),
        6 => drop(rows.inventory.update(id, body(json!({"min_stock_level": random.i64(0..20)}))).await.unwrap()),
        7 => drop(rows.inventory.update(id, body(json!({"cost_price": random.i64(0..20)}))).await.unwrap()),
        8 => {
            let sql = "UPDATE inventory_items SET sku = 'SQL-' || id || sku WHERE id % 7 = $1 AND length(sku) < 40";
            rows.db.execute(sql, fanfare::args![random.i64(0..7)]).await.unwrap();
        }
        // What happens most: stock.
        _ => drop(rows.inventory.adjust(id, pick(random, &[-3, -1, 1, 2])).await),
    }
}

async fn kept_list(rows: &Rows, kept: &Kept, query: &ListQuery, page: PageRequest) -> (Vec<u8>, bool) {
    let mut is_new = false;
    let make = |now: Option<Moment>| {
        is_new = true;
        async move {
            let found: Page<Item> = rows.inventory.list(query, page, now).await?;
            Ok(Made { body: serde_json::to_vec(&found).unwrap(), depends: query.page_depends(&found.items) })
        }
    };
    let answer = kept.list(&format!("{query:?} {page:?}"), make).await.unwrap();
    (answer.body().to_vec(), is_new)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_list_is_what_a_fresh_one_would_be() {
    for rows in Rows::both().await {
        let seed = fastrand::u64(..);
        println!("{}, seed {seed}", rows.db.engine());
        let mut random = fastrand::Rng::with_seed(seed);
        let kept = Kept { cache: Cache::in_memory(), db: rows.db.clone() };
        let mut ids = Vec::new();
        for number in 0..20 {
            let item = json!({"sku": format!("ITEM-{number}"), "name": format!("n{number}"), "category": "A", "stock_quantity": 10});
            ids.push(rows.inventory.create(body(item)).await.unwrap().id);
        }
        let queries: Vec<_> = (0..60).map(|_| query(&mut random)).collect();
        let (mut asked, mut made) = (0, 0);
        for _ in 0..150 {
            change(&rows, &mut random, &mut ids).await;
            for (query, page) in queries.iter().filter(|_| random.bool()) {
                let (body, is_new) = kept_list(&rows, &kept, query, *page).await;
                let fresh = serde_json::to_vec(&rows.inventory.list(query, *page, None).await.unwrap()).unwrap();
                assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&fresh), "seed {seed}, {query:?}");
                (asked, made) = (asked + 1, made + usize::from(is_new));
            }
        }
        println!("{made} of {asked} lists were made anew");
        assert!(made < asked * 4 / 5, "{made} of {asked}: hardly anything is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_makes_only_those_lists_old_that_it_can_alter() {
    for rows in Rows::both().await {
        let kept = Kept { cache: Cache::in_memory(), db: rows.db.clone() };
        for number in 0..40 {
            let item = json!({"sku": format!("ITEM-{number}"), "name": "x", "category": "A", "stock_quantity": 100});
            rows.inventory.create(body(item)).await.unwrap();
        }
        let page = |number| PageRequest::new(Some(number), Some(10)).unwrap();
        let by_stock = ListQuery { sort_by: SortBy::StockQuantity, ..ListQuery::default() };
        let low = ListQuery { low_stock: Some(true), ..ListQuery::default() };
        let lists = [
            (ListQuery::default(), page(1)),
            (ListQuery::default(), page(2)),
            (ListQuery { category: Some("A".into()), ..ListQuery::default() }, page(1)),
            (by_stock, page(4)),
            (low, page(1)),
        ];
        let made_anew = async || {
            let mut anew = Vec::new();
            for (query, page) in &lists {
                anew.push(kept_list(&rows, &kept, query, *page).await.1);
            }
            anew
        };
        made_anew().await;
        assert_eq!(made_anew().await, [false; 5]);
        // The third item, still not low.
        rows.inventory.adjust(3, 1).await.unwrap();
        assert_eq!(made_anew().await, [true, false, true, true, false]);
        rows.inventory.adjust(3, -95).await.unwrap();
        assert_eq!(made_anew().await, [true, false, true, true, true]);
        // Anything in another list's item.
        rows.inventory.update(15, body(json!({"cost_price": 3}))).await.unwrap();
        assert_eq!(made_anew().await, [false, true, false, false, false]);
        rows.inventory.delete(40).await.unwrap();
        assert_eq!(made_anew().await, [true; 5], "how many there are is in each");
        if rows.db.engine() == "postgres" {
            rows.db.execute("TRUNCATE inventory_items CASCADE", vec![]).await.unwrap();
            assert_eq!(made_anew().await, [true; 5]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_transaction_that_commits_later_is_not_missed() {
    let database = Postgres::database().await;
    let server = Fanfare::start(Settings::new().database(&database.url).env("DB_POOL_SIZE", "4")).await;
    let url = |path: &str| format!("{}/api/v1/inventory{path}", server.url());
    for number in 0..3 {
        let item = json!({"sku": format!("LATE-{number}"), "name": "x", "stock_quantity": 500});
        assert!(http().post(url("")).json(&item).send().await.unwrap().status().is_success());
    }
    let stocks = async || {
        let list: Value = http().get(url("")).send().await.unwrap().json().await.unwrap();
        let mut stocks: Vec<i64> = Vec::new();
        for item in list["items"].as_array().unwrap() {
            stocks.push(item["stock_quantity"].as_i64().unwrap());
            let one: Value = http().get(url(&format!("/{}", item["id"]))).send().await.unwrap().json().await.unwrap();
            assert_eq!(one, *item);
        }
        stocks
    };
    let mut late = PgConnection::connect(&database.url).await.unwrap();
    for round in 0..5 {
        // Its number is lower than that of all that the server writes and sees meanwhile.
        let mut transaction = late.begin().await.unwrap();
        let sql = "UPDATE inventory_items SET stock_quantity = stock_quantity + 7 WHERE sku = 'LATE-0'";
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        for step in 1..=3 {
            let answer = http().post(url("/2/adjust")).json(&json!({"delta": 1})).send().await.unwrap();
            assert!(answer.status().is_success());
            assert_eq!(stocks().await, [500 + 7 * round, 500 + 3 * round + step, 500]);
        }
        transaction.commit().await.unwrap();
        assert_eq!(stocks().await, [500 + 7 * (round + 1), 500 + 3 * (round + 1), 500]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_each_read_what_they_were_told_on_every_node() {
    let (redis, database) = (Redis::start().await, Postgres::database().await);
    let settings = Settings::new().redis(&redis).database(&database.url).env("DB_POOL_SIZE", "4");
    let nodes = [Fanfare::start(settings.clone()).await, Fanfare::start(settings).await];
    let urls: Vec<String> = nodes.iter().map(|node| format!("{}/api/v1/inventory", node.url())).collect();
    for number in 0..30 {
        let item = json!({"sku": format!("OWN-{number}"), "name": "x", "stock_quantity": 500});
        assert!(http().post(&urls[0]).json(&item).send().await.unwrap().status().is_success());
    }
    let writer = |own: usize| {
        let urls = urls.clone();
        async move {
            for round in 0..25 {
                let adjust = format!("{}/{}/adjust", urls[(own + round) % 2], own + 1);
                let told: Value =
                    http().post(adjust).json(&json!({"delta": 1})).send().await.unwrap().json().await.unwrap();
                for url in &urls {
                    let one: Value =
                        http().get(format!("{url}/{}", own + 1)).send().await.unwrap().json().await.unwrap();
                    assert_eq!(one, told);
                    // Several writers share a page.
                    let page = format!("{url}?limit=10&page={}", own / 10 + 1);
                    let list: Value = http().get(page).send().await.unwrap().json().await.unwrap();
                    assert_eq!(list["items"][own % 10], told);
                }
            }
        }
    };
    futures_util::future::join_all((0..30).step_by(3).map(writer)).await;
}

/// Locks of different items are taken in different orders; nothing else may be in each other's way.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_change_different_items_do_not_wait_for_each_other() {
    let [_, rows] = Rows::both().await;
    assert_eq!(rows.db.engine(), "postgres");
    for number in 0..70 {
        let item = json!({"sku": format!("LOCK-{number}"), "name": "x", "stock_quantity": 5});
        rows.inventory.create(body(item)).await.unwrap();
    }
    let (mut one, mut two) = (rows.db.begin().await.unwrap(), rows.db.begin().await.unwrap());
    let sql = "UPDATE inventory_items SET stock_quantity = stock_quantity + 1 WHERE id = $1";
    // Items 1 and 33, and 2 and 34, were numbered together once.
    let all = async {
        one.execute(sql, fanfare::args![1_i64]).await.unwrap();
        two.execute(sql, fanfare::args![2_i64]).await.unwrap();
        one.execute(sql, fanfare::args![34_i64]).await.unwrap();
        two.execute(sql, fanfare::args![33_i64]).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("one waits for the other");
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    let sql = "SELECT CAST(sum(stock_quantity) AS TEXT) AS text FROM inventory_items WHERE id IN (1, 2, 33, 34)";
    assert_eq!(rows.db.fetch_one::<Text>(sql, vec![]).await.unwrap().text, "24");
}
