//! The names of environment variables, and the settings that they stand for.

use std::collections::BTreeMap;

/// Names that deployments set already, and the keys they stand for.
const NAMES: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("DB_POOL_SIZE", "database.pool_size"),
    ("DB_MAX_OVERFLOW", "database.max_overflow"),
    ("REDIS_URL", "redis.url"),
    ("INFLUXDB_URL", "influxdb.url"),
    ("INFLUXDB_TOKEN", "influxdb.token"),
    ("INFLUXDB_ORG", "influxdb.org"),
    ("INFLUXDB_BUCKET", "influxdb.bucket"),
    ("SECRET_KEY", "auth.secret_key"),
    ("JWT_SECRET_KEY", "auth.jwt_secret_key"),
    ("ALLOWED_ORIGINS", "edge.allowed_origins"),
    ("LOG_LEVEL", "log.level"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_url"),
    ("SENTRY_DSN", "telemetry.sentry_dsn"),
    ("SMTP_HOST", "smtp.host"),
    ("SMTP_PORT", "smtp.port"),
    ("SMTP_USER", "smtp.user"),
    ("SMTP_PASSWORD", "smtp.password"),
    ("FROM_EMAIL", "smtp.from"),
];
const PREFIX: &str = "FANFARE__";

/// Keys and values of all variables that are ours. REDIS_HOST and REDIS_PORT make a URL when REDIS_URL is not set.
pub(super) fn from_environment(environment: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let (mut found, mut host, mut port) = (Vec::new(), None, "6379".to_owned());
    let mut replicas = BTreeMap::new();
    for (name, value) in environment {
        if let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == name) {
            // Compose files pass unset variables on as empty ones.
            if !value.is_empty() {
                found.push((key.to_string(), value));
            }
        } else if let Some(key) = name.strip_prefix(PREFIX) {
            found.push((key.to_ascii_lowercase().replace("__", "."), value));
        } else if let Some(number) = name.strip_prefix("READ_DATABASE_URL_") {
            if let (Ok(number), false) = (number.parse::<u16>(), value.is_empty()) {
                replicas.insert(number, value);
            }
        } else if name == "REDIS_HOST" && !value.is_empty() {
            host = Some(value);
        } else if name == "REDIS_PORT" && !value.is_empty() {
            port = value;
        }
    }
    if !replicas.is_empty() {
        found.push(("database.read_urls".into(), replicas.into_values().collect::<Vec<_>>().join(" ")));
    }
    if let Some(host) = host
        && !found.iter().any(|(key, _)| key == "redis.url")
    {
        found.push(("redis.url".into(), format!("redis://{host}:{port}")));
    }
    found
}
