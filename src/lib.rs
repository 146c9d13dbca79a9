//! Fanfare: a real-time streaming server. The modules, in reading order.

pub mod app; // builds every part once, runs them, drains them
pub mod commands; // what each command of the command line does
pub mod config; // settings: defaults < file < environment, checked before a port is bound
pub mod routes; // every URL on one page

pub mod wire; // bytes ↔ frames: WebSocket framing, JSON, MessagePack, close codes
pub mod stream; // the core: channels, positions, brokers, the hub and its shards
pub mod session; // one client's conversation, from upgrade to close

pub mod feeds; // the business: inventory, price, progress, matching, notices
pub mod alerts; // e-mail and webhook delivery of alerts
pub mod queue; // durable work with retries and dead letters
pub mod series; // history: points, their spool, the stores
pub mod db; // SQLite and PostgreSQL behind one thin layer

pub mod contract; // OpenAPI, AsyncAPI, and messages held to them
pub mod admin; // health, metrics, system info, raw publish
pub mod auth; // who is calling, and what it may do
pub mod http; // the edge kit: accept loop, layers, problem details, extractors

pub mod clock; // the only source of wall-clock time
pub mod demo; // a day of synthetic shop traffic through the public API
pub mod tasks; // named tasks and their ordered end
pub mod telemetry; // logs and metric names
