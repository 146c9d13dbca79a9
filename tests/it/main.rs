//! All integration tests, in one binary.

mod auth_gate;
mod auth_http;
mod http_admin;
mod http_assets;
mod http_kit;
mod http_layers;
mod http_server;
