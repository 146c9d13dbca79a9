//! Every URL on one page, grouped by caller.

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::request;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::admin::Admin;
use crate::auth::Gate;
use crate::feeds::inventory::{Inventory, routes as inventory};
use crate::feeds::matching::{Matching, batch::routes as batch, bulk::routes as bulk, email::routes as email};
use crate::feeds::matching::{
    jobs::routes as jobs, matches::routes as matches, monitor::routes as monitor, users::routes as users,
};
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
    pub matching: Matching,
}

pub fn router(parts: Parts) -> Router {
    Router::new()
        .merge(browsers())
        .merge(producers(&parts))
        .merge(job_matching(&parts))
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

/// Back ends and tools of job matching, by method as above.
fn job_matching(parts: &Parts) -> Router<Parts> {
    let mut router = Router::new();
    for path in ["/api/v1/batch", "/api/v2/batch"] {
        let batches = Router::new()
            .route("/trigger", post(batch::trigger))
            .route("/status", get(batch::list))
            .route("/status/{id}", get(batch::get))
            .route("/cancel/{id}", post(batch::cancel))
            .route("/retry/{id}", post(batch::retry));
        router = router.nest(path, batches);
    }
    let recipients =
        Router::new().route("/api/v2/email/unsubscribe", get(email::unsubscribe_page).post(email::unsubscribe));
    router
        .route("/api/v2/matching/users/{id}", get(matches::of_user))
        .route("/api/v2/matching/score", post(matches::score))
        .route("/api/v2/email", get(email::list))
        .route("/api/v2/email/preview/{id}", get(email::preview))
        .route("/api/v2/email/bounces", post(email::bounce))
        .route("/api/v2/monitoring/batches", get(monitor::batches))
        .route("/api/v2/monitoring/matches", get(monitor::matches))
        .route("/api/v2/monitoring/queues", get(monitor::queues))
        .route("/api/v2/jobs", get(jobs::list).post(jobs::create))
        .route("/api/v2/jobs/bulk", post(bulk::jobs))
        .route("/api/v2/users/bulk", post(bulk::users))
        .route("/api/v1/tasks/{id}/status", get(bulk::task))
        .route("/api/v2/jobs/search", post(jobs::search))
        .route("/api/v2/jobs/{id}", get(jobs::get).put(jobs::update).patch(jobs::update).delete(jobs::delete))
        .route("/api/v2/jobs/{id}/scoring", post(jobs::scoring))
        .route("/api/v2/users", get(users::list).post(users::create))
        .route("/api/v2/users/{id}", get(users::get).put(users::update).patch(users::update).delete(users::delete))
        .route("/api/v2/users/{id}/profile", get(users::profile).put(users::set_profile))
        .route("/api/v2/users/{id}/behavior", get(users::behavior).post(users::log))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::by_method))
        // Whoever holds the link of a mail has no other credentials.
        .merge(recipients)
}

/// Whoever runs the server. Liveness is open; figures are open to a monitor on the same machine.
fn operators(parts: &Parts) -> Router<Parts> {
    let figures = Router::new()
        .route("/metrics", get(admin::routes::metrics))
        .route("/system-info", get(admin::routes::system_info))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::operators));
    Router::new()
        .route("/health", get(admin::routes::health))
        .route("/health/detailed", get(admin::routes::health_detailed))
        .merge(figures)
}
