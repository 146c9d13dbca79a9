//! The integration tests: one binary, real processes, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, this is how a wish that failed is told")]

mod clients;
mod support;
mod support_smoke;
