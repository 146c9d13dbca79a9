//! All integration tests, in one binary.

#[cfg(test)]
mod auth_gate;
#[cfg(test)]
mod auth_http;
#[cfg(test)]
mod http_admin;
#[cfg(test)]
mod http_assets;
#[cfg(test)]
mod http_kit;
#[cfg(test)]
mod http_layers;
#[cfg(test)]
mod http_server;
