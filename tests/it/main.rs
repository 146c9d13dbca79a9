//! The integration tests: one binary, real processes, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, this is how a wish that failed is told")]

mod alerts_mail;
mod alerts_webhook;
mod auth_gate;
mod auth_http;
mod clients;
mod db_failures;
mod demo_day;
mod http_admin;
mod http_assets;
mod http_kit;
mod http_layers;
mod http_server;
mod inventory_lists;
mod page;
mod price_approval;
mod price_races;
mod queue_leases;
mod queue_work;
mod rows_alerts;
mod rows_inventory;
mod rows_kit;
mod rows_outbox;
mod rows_price;
mod rows_schema;
mod stream_broker;
mod stream_clients;
mod stream_hub;
mod stream_kit;
mod stream_metrics;
mod stream_nodes;
mod stream_pace;
mod stream_recovery;
mod stream_redis;
mod stream_silence;
mod stream_topologies;
mod stream_ws;
mod support;
mod support_smoke;
mod tidy;
