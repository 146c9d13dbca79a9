//! Every URL on one page, grouped by caller.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use crate::admin::server_api::{ServerApi, routes as server_api};
use crate::admin::{Admin, dead_letters};
use crate::auth::{Accounts, Gate};
use crate::feeds::Kept;
use crate::feeds::history::{History, routes as history};
use crate::feeds::inventory::{Inventory, routes as inventory};
use crate::feeds::matching::{Matching, batch::routes as batch, bulk::routes as bulk, email::routes as email};
use crate::feeds::matching::{
    jobs::routes as jobs, matches::routes as matches, monitor::routes as monitor, users::routes as users,
};
use crate::feeds::price::{Prices, routes as price};
use crate::feeds::progress::{Progress, routes as progress};
use crate::http::limits::{Limits, Policy, limit};
use crate::http::{Origins, Problem, accounts, assets, guard};
use crate::queue::Queue;
use crate::session::centrifuge::{self, Channels};
use crate::session::{self, Sessions};
use crate::stream::FeedSpec;
use crate::{admin, contract, feeds};

/// What handlers ask for as `State<…>`.
pub struct Parts {
    pub gate: Gate,
    pub origins: Origins,
    pub limits: Limits,
    pub accounts: Accounts,
    pub sessions: Sessions,
    pub channels: Channels,
    pub admin: Admin,
    pub kept: Kept,
    pub server_api: ServerApi,
    pub inventory: Inventory,
    pub prices: Prices,
    pub progress: Progress,
    pub queue: Queue,
    pub history: History,
    pub matching: Matching,
}

/// The parts as the router hands them on with every request: one count instead of one for each.
#[derive(Clone)]
struct Shared(Arc<Parts>);

macro_rules! parts {
    ($($field:ident: $part:ty),* $(,)?) => {$(
        impl FromRef<Shared> for $part {
            fn from_ref(shared: &Shared) -> Self {
                shared.0.$field.clone()
            }
        }
    )*};
}

parts! {
    gate: Gate,
    origins: Origins,
    limits: Limits,
    accounts: Accounts,
    sessions: Sessions,
    channels: Channels,
    admin: Admin,
    kept: Kept,
    server_api: ServerApi,
    inventory: Inventory,
    prices: Prices,
    progress: Progress,
    queue: Queue,
    history: History,
    matching: Matching,
}

pub fn router(parts: Parts) -> Router {
    let mut router = Router::new()
        .merge(browsers(&parts))
        .merge(people(&parts))
        .merge(students(&parts))
        .merge(producers(&parts))
        .merge(instructors(&parts))
        .merge(job_matching(&parts))
        .merge(operators(&parts));
    if parts.gate.is_open() {
        router = router.route_layer(from_fn_with_state(parts.origins.clone(), guard::local_names));
    }
    router.fallback(assets::serve).with_state(Shared(Arc::new(parts)))
}

/// Dashboards: the page and the live feeds. A WebSocket checks its own credentials, as browsers cannot give it headers.
fn browsers(parts: &Parts) -> Router<Shared> {
    let mut router = Router::new();
    for (path, feed) in feeds::ALL {
        router = router.route(path, stream(feed));
    }
    for (path, feed) in feeds::EVENTS {
        router = router.route(path, events(feed));
    }
    router
        .route("/connection/websocket", get(channel_protocol))
        .route("/connection/uni_websocket", get(channel_protocol_one_way))
        .route("/connection/http_stream", post(centrifuge::http_stream))
        .route("/connection/sse", get(centrifuge::sse).post(centrifuge::sse))
        .route("/connection/uni_sse", get(centrifuge::uni_sse).post(centrifuge::uni_sse))
        .route("/connection/uni_http_stream", post(centrifuge::uni_http_stream))
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Streams, &parts.gate), limit))
        // Bounded by what each session may send.
        .route("/emulation", post(centrifuge::emulation))
}

/// Clients of the Centrifuge protocol say who they are by their first command.
async fn channel_protocol(State(channels): State<Channels>, request: request::Parts) -> Result<Response, Problem> {
    centrifuge::upgrade(channels, request).await
}

async fn channel_protocol_one_way(
    State(channels): State<Channels>,
    request: request::Parts,
) -> Result<Response, Problem> {
    centrifuge::upgrade_one_way(channels, request).await
}

fn stream(feed: &'static FeedSpec) -> MethodRouter<Shared> {
    get(move |State(sessions): State<Sessions>, request: request::Parts| session::upgrade(feed, sessions, request))
}

fn events(feed: &'static FeedSpec) -> MethodRouter<Shared> {
    get(move |State(sessions): State<Sessions>, request: request::Parts| session::events(feed, sessions, request))
}

/// People who log in, and whoever wants to know who he is.
fn people(parts: &Parts) -> Router<Shared> {
    let limited = |policy| from_fn_with_state(parts.limits.on(policy, &parts.gate), limit);
    let log_in = Router::new().route("/api/v1/auth/login", post(accounts::log_in));
    let refresh = Router::new().route("/api/v1/auth/refresh", post(accounts::refresh));
    let known = Router::new()
        .route("/api/v1/auth/logout", post(accounts::log_out))
        .route("/api/v1/auth/me", get(accounts::me))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::known));
    let admins = Router::new()
        .route("/api/v1/auth/revoke", post(accounts::revoke))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::managers_only));
    log_in
        .route_layer(limited(Policy::LogIn))
        .merge(refresh.merge(known).merge(admins).route_layer(limited(Policy::Api)))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins))
}

/// Back ends and tools that change rows and publish: GET reads, DELETE deletes, everything else writes.
fn producers(parts: &Parts) -> Router<Shared> {
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
        .route("/api/v1/series/{measurement}", get(history::range))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::by_method))
        .merge(
            // Who may publish on which channel, the handler asks.
            Router::new()
                .route("/api/publish", post(admin::routes::publish))
                .route("/api/batch", post(server_api::batch))
                .route("/api/{method}", post(server_api::method))
                .route_layer(from_fn_with_state(parts.gate.clone(), guard::publishers)),
        )
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Api, &parts.gate), limit))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins))
}

/// Students' notebooks. Their clients can show a key in the URL only, which must be good for nothing else.
fn students(parts: &Parts) -> Router<Shared> {
    Router::new()
        .route("/api/v1/events", post(progress::ingest))
        .route("/api/v1/events/{key}", post(progress::ingest))
        .route("/api/v1/events/pioneer", post(progress::pioneer))
        .route("/api/v1/events/pioneer/{key}", post(progress::pioneer))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::event_writers))
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Events, &parts.gate), limit))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins))
}

/// Who asks how a class is doing.
fn instructors(parts: &Parts) -> Router<Shared> {
    Router::new()
        .route("/api/v1/progress/overview", get(progress::overview))
        .route("/api/v1/progress/students/{user_id}", get(progress::student))
        .route("/api/v1/progress/students/{user_id}/timeline", get(progress::timeline))
        .route("/api/v1/progress/cells", get(progress::cells))
        .route("/api/v1/progress/matrix", get(progress::matrix))
        .route("/api/v1/progress/help", get(progress::help))
        .route("/api/v1/progress/activity", get(progress::activity))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::by_method))
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Api, &parts.gate), limit))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins))
}

/// Back ends and tools of job matching. Jobs are for everybody to read; what is known about a user, for himself.
fn job_matching(parts: &Parts) -> Router<Shared> {
    let jobs = Router::new()
        .route("/api/v2/jobs", get(jobs::list).post(jobs::create))
        .route("/api/v2/jobs/bulk", post(bulk::jobs))
        .route("/api/v2/jobs/{id}", get(jobs::get).put(jobs::update).patch(jobs::update).delete(jobs::delete))
        .route("/api/v2/jobs/{id}/scoring", post(jobs::scoring))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::by_method));
    let search = Router::new()
        .route("/api/v2/jobs/search", post(jobs::search))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::readers));
    let people = Router::new()
        .route("/api/v2/users", get(users::list).post(users::create))
        .route("/api/v2/users/bulk", post(bulk::users))
        .route("/api/v2/users/{id}", get(users::get).put(users::update).patch(users::update).delete(users::delete))
        .route("/api/v2/users/{id}/profile", get(users::profile).put(users::set_profile))
        .route("/api/v2/users/{id}/behavior", get(users::behavior).post(users::log))
        .route("/api/v2/matching/users/{id}", get(matches::of_user))
        .route("/api/v2/matching/score", post(matches::score))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::people));
    let work = Router::new()
        .route("/api/v1/batch/trigger", post(batch::trigger))
        .route("/api/v1/batch/status", get(batch::list))
        .route("/api/v1/batch/status/{id}", get(batch::get))
        .route("/api/v1/batch/cancel/{id}", post(batch::cancel))
        .route("/api/v1/batch/retry/{id}", post(batch::retry))
        .route("/api/v2/batch/trigger", post(batch::trigger))
        .route("/api/v2/batch/status", get(batch::list))
        .route("/api/v2/batch/status/{id}", get(batch::get))
        .route("/api/v2/batch/cancel/{id}", post(batch::cancel))
        .route("/api/v2/batch/retry/{id}", post(batch::retry))
        .route("/api/v1/tasks/{id}/status", get(bulk::task))
        .route("/api/v2/email", get(email::list))
        .route("/api/v2/email/preview/{id}", get(email::preview))
        .route("/api/v2/email/bounces", post(email::bounce))
        .route("/api/v2/monitoring/batches", get(monitor::batches))
        .route("/api/v2/monitoring/matches", get(monitor::matches))
        .route("/api/v2/monitoring/queues", get(monitor::queues))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::writers));
    // Whoever holds the link of a mail has no other credentials.
    let recipients =
        Router::new().route("/api/v2/email/unsubscribe", get(email::unsubscribe_page).post(email::unsubscribe));
    jobs.merge(search)
        .merge(people)
        .merge(work)
        .merge(recipients)
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Api, &parts.gate), limit))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins))
}

/// Whoever runs the server. Liveness is open; figures are open to a monitor on the same machine; the documents
/// say nothing secret and are open.
fn operators(parts: &Parts) -> Router<Shared> {
    let figures = Router::new()
        .route("/metrics", get(admin::routes::metrics))
        .route("/system-info", get(admin::routes::system_info))
        .route("/api/v1/ledger", get(admin::fate::ledger))
        .route("/api/v1/presence", get(admin::presence::presence))
        .route("/api/v1/explain", get(admin::fate::explain))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::operators))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins));
    let admins = Router::new()
        .route("/api/v1/series-dead-letters", get(history::dead_letters))
        .route("/api/v1/dead-letters", get(dead_letters::list))
        .route("/api/v1/dead-letters/{id}", get(dead_letters::get).delete(dead_letters::discard))
        .route("/api/v1/dead-letters/{id}/replay", post(dead_letters::replay))
        .route_layer(from_fn_with_state(parts.gate.clone(), guard::managers_only))
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Api, &parts.gate), limit))
        .route_layer(from_fn_with_state(parts.origins.clone(), guard::origins));
    let documents = Router::new()
        .route("/openapi.json", get(contract::routes::openapi))
        .route("/asyncapi.json", get(contract::routes::asyncapi))
        .route("/docs", get(contract::routes::docs))
        .route("/docs/{file}", get(contract::routes::docs_file))
        .route_layer(from_fn_with_state(parts.limits.on(Policy::Api, &parts.gate), limit));
    Router::new()
        .route("/health", get(admin::routes::health))
        .route("/health/ready", get(admin::routes::ready))
        .route("/health/detailed", get(admin::routes::health_detailed))
        .merge(documents)
        .merge(figures)
        .merge(admins)
}
