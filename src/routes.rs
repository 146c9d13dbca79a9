//! Every URL on one page, grouped by caller.

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::request;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::admin::Admin;
use crate::auth::Gate;
use crate::feeds::inventory::{Inventory, routes as inventory};
use crate::feeds::price::{Prices, routes as price};
use crate::http::{assets, guard};
use crate::session::{self, Sessions};
use crate::stream::FeedSpec;
use crate::{admin, feeds};

/// What handlers ask for as `State<…>`.
#[derive(Clone, FromRef)]
pub struct Parts {
    pub gate: Gate,
    pub sessions: Sessions,
    pub admin: Admin,
    pub inventory: Inventory,
    pub prices: Prices,
}

pub fn router(parts: Parts) -> Router {
    Router::new()
        .merge(browsers())
        .merge(producers(&parts))
        .merge(operators(&parts))
        .fallback(assets::serve)
        .with_state(parts)
}

/// Dashboards: the page and the live feeds. A WebSocket checks its own credentials, as browsers cannot give it headers.
fn browsers() -> Router<Parts> {
    let mut router = Router::new();
    for (path, feed) in feeds::ALL {
        router = router.route(path, stream(feed));
    }
    router
}

fn stream(feed: &'static FeedSpec) -> MethodRouter<Parts> {
    get(move |State(sessions): State<Sessions>, request: request::Parts| session::upgrade(feed, sessions, request))
}

/// Back ends and tools that change rows and publish: GET reads, DELETE deletes, everything else writes.
fn producers(parts: &Parts) -> Router<Parts> {
    Router::new()
        .route("/api/v1/inventory", get(inventory::list).post(inventory::create))
        .route(
            "/api/v1/inventory/{id}",
            get(inventory::get).put(inventory::update).patch(inventory::update).delete(inventory::delete),
        )
        .route("/api/v1/inventory/{id}/adjust", post(inventory::adjust))
        .route("/api/v1/prices", get(price::list).post(price::create))
        .route("/api/v1/prices/history", get(price::history))
        .route("/api/v1/prices/{id}", get(price::get).put(price::update).patch(price::update).delete(price::delete))
        .route("/api/v1/prices/{id}/history", get(price::history_of))
        .route("/api/v1/prices/{id}/approve", post(price::approve))
        .route("/api/v1/prices/{id}/reject", post(price::reject))
        .route("/api/publish", post(admin::routes::publish))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::by_method))
}

/// Whoever runs the server. Liveness is open; figures are open to a monitor on the same machine.
fn operators(parts: &Parts) -> Router<Parts> {
    let figures = Router::new()
        .route("/metrics", get(admin::routes::metrics))
        .route("/system-info", get(admin::routes::system_info))
        .route("/api/v1/ledger", get(admin::fate::ledger))
        .route("/api/v1/presence", get(admin::presence::presence))
        .route("/api/v1/explain", get(admin::fate::explain))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::operators));
    Router::new()
        .route("/health", get(admin::routes::health))
        .route("/health/ready", get(admin::routes::ready))
        .route("/health/detailed", get(admin::routes::health_detailed))
        .merge(figures)
}
