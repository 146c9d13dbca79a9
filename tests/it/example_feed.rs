//! The worked example of docs/ADDING-A-FEED.md: a feed of orders, whole, from the row to the browser's message. The document
//! shows this file's parts, and a test holds the two together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{StatusCode, request};
use axum::routing::{get, post};
use fanfare::auth::{AuthOptions, Gate};
use fanfare::clock::Clock;
use fanfare::db::{Db, DbMetrics, DbOptions, Money};
use fanfare::feeds::{Outbox, Relay};
use fanfare::http::server::{self, ServerMetrics, ServerOptions};
use fanfare::http::{FieldError, Json, Origins, Problem};
use fanfare::queue::{Queue, QueueOptions};
use fanfare::session::{self, LimitOptions, Sessions};
use fanfare::stream::{FeedSpec, FilterParam, Hub, HubOptions, Memory, MemoryOptions, Node, StreamMetrics, Tags};
use fanfare::tasks::Tasks;
use fanfare::telemetry::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{http, next_json, temp_dir, ws};

// [the feed]
const ORDERS_PLACED: &str = "orders:placed";

static ORDERS: FeedSpec = FeedSpec {
    name: "orders",
    channels: &[ORDERS_PLACED],
    filters: &[FilterParam { name: "customer", fields: &["customer"], upper_case: false }],
    folds: &[],
    own: None,
};
// [end]

// [the table]
const TABLE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, amount INTEGER NOT NULL)";
const INSERT: &str = "INSERT INTO orders (customer, amount) VALUES ($1, $2) RETURNING id, customer, amount";

#[derive(Debug, Serialize, sqlx::FromRow)]
struct Order {
    id: i64,
    customer: String,
    amount: Money,
}
// [end]

// [the rule]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    customer: String,
    amount: Money,
}

/// On `orders:placed`.
#[derive(Serialize)]
struct OrderPlaced<'a> {
    message_type: &'static str,
    order_id: i64,
    customer: &'a str,
    amount: Money,
    timestamp: String,
}

#[derive(Clone)]
struct Orders {
    db: Db,
    outbox: Outbox,
    clock: Clock,
}

impl Orders {
    async fn place(&self, new: NewOrder) -> Result<Order, Problem> {
        let customer = new.customer.trim();
        if customer.is_empty() || customer.len() > 100 {
            return Err(Problem::invalid(vec![FieldError::new("customer", "is 1 to 100 bytes")]));
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let order: Order = tx.fetch_one(INSERT, fanfare::args![customer, new.amount]).await?;
        let placed = OrderPlaced {
            message_type: "order_placed",
            order_id: order.id,
            customer: &order.customer,
            amount: order.amount,
            timestamp: now.to_rfc3339(),
        };
        // In the row's transaction: both are there, or neither.
        self.outbox.stage(&mut tx, ORDERS_PLACED, &placed, Tags::new(), now).await.map_err(Problem::internal)?;
        self.outbox.commit(tx).await?;
        Ok(order)
    }
}
// [end]

// [the routes]
#[derive(Clone, FromRef)]
struct Parts {
    orders: Orders,
    sessions: Sessions,
}

async fn place(State(orders): State<Orders>, Json(new): Json<NewOrder>) -> Result<(StatusCode, Json<Order>), Problem> {
    Ok((StatusCode::CREATED, Json(orders.place(new).await?)))
}

fn router(parts: Parts) -> Router {
    let listen =
        |State(sessions): State<Sessions>, request: request::Parts| session::upgrade(&ORDERS, sessions, request);
    Router::new().route("/api/v1/orders", post(place)).route("/ws/orders", get(listen)).with_state(parts)
}
// [end]

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reaches_who_listens_and_a_refused_one_nobody() {
    let (folder, mut registry, tasks, clock) = (temp_dir("orders"), Registry::default(), Tasks::new(), Clock::system());
    let url = format!("sqlite://{}", folder.path().join("orders.db").display());
    let db = Db::open(&url, &DbOptions::default(), DbMetrics::register(&mut registry)).await.expect("open");
    db.migrate().await.expect("migrate");
    db.execute(TABLE, vec![]).await.expect("the table");

    let options = HubOptions { shards: 1, ..HubOptions::default() };
    let history = options.history.clone();
    let hub = Hub::start(options, StreamMetrics::register(&mut registry)).expect("the shards");
    let broker = Arc::new(Memory::new(MemoryOptions::default(), history, Arc::new(hub.clone())));
    let node = Node::start(hub, broker, &tasks);
    let outbox = Outbox::new(Queue::new(db.clone(), clock.clone(), QueueOptions::default(), &mut registry));
    let relay = Relay::new(db.clone(), node.clone(), outbox.clone(), &mut registry);
    tasks.spawn("relay", relay.run(tasks.stop()));
    let gate = Gate::new(&AuthOptions::default(), clock.clone(), &mut registry).expect("open");
    let (limits, origins) = (LimitOptions::default(), Origins::default());
    let sessions = Sessions::new(node, gate, origins, limits, HashMap::new(), &mut registry);

    let router = router(Parts { orders: Orders { db: db.clone(), outbox, clock }, sessions });
    let listener = server::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let serving = tokio::spawn(server::serve(
        listener,
        router,
        ServerOptions::default(),
        ServerMetrics::default(),
        None,
        stop.clone(),
    ));

    let mut all = ws(&format!("ws://{address}/ws/orders")).await;
    let mut hers = ws(&format!("ws://{address}/ws/orders?customer=ann")).await;
    let orders = format!("http://{address}/api/v1/orders");
    let place = async |order: Value| http().post(&orders).json(&order).send().await.expect("an answer").status();
    assert_eq!(place(json!({"customer": " ", "amount": 1})).await, 422);
    assert_eq!(place(json!({"customer": "bob", "amount": "12.5"})).await, 201);
    assert_eq!(place(json!({"customer": "ann", "amount": 7})).await, 201);
    let seen = [next_json(&mut all).await, next_json(&mut all).await];
    assert_eq!((&seen[0]["customer"], &seen[0]["amount"]), (&json!("bob"), &json!(12.5)));
    assert_eq!((&seen[1]["message_type"], &seen[1]["order_id"]), (&json!("order_placed"), &json!(2)));
    assert_eq!(next_json(&mut hers).await, seen[1], "bob's was not for her");

    stop.cancel();
    drop((all, hers));
    serving.await.expect("served");
    assert!(tasks.drain(Duration::from_secs(5)).await.is_empty());
}
