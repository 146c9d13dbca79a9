//! What every operation may answer beside its success: problem details, by what the operation takes and whom it asks.

use serde_json::{Map, Value, json};

use super::shape::object_at;

/// Nobody has to say who he is.
const OPEN: [&str; 11] = [
    "/emulation",
    "/health",
    "/health/ready",
    "/health/detailed",
    "/docs",
    "/docs/{file}",
    "/openapi.json",
    "/asyncapi.json",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v2/email/unsubscribe",
];

/// Each problem: name, status, when, and the headers that come with it.
const PROBLEMS: [(&str, u16, &str, &[&str]); 16] = [
    ("BadRequest", 400, "The body, the path or the query cannot be read", &[]),
    ("Unauthorized", 401, "No credentials, or wrong, expired or revoked ones", &["WWW-Authenticate"]),
    ("Forbidden", 403, "The role or the scopes are not enough, or the page is of another origin", &[]),
    ("NotFound", 404, "There is no such row", &[]),
    ("NotAcceptable", 406, "The caller does not take what is sent here", &[]),
    ("BodyStalled", 408, "The body did not go on", &[]),
    ("Conflict", 409, "The request contradicts what is stored", &[]),
    ("TooLarge", 413, "The body is larger than this server takes", &[]),
    ("MediaType", 415, "The body is not sent as what is taken here", &[]),
    ("Invalid", 422, "A rule is broken; `errors` names the fields", &[]),
    ("UpgradeRequired", 426, "Not a WebSocket handshake of version 13", &["Upgrade"]),
    ("TooMany", 429, "Too many requests or connections", &["Retry-After"]),
    ("Internal", 500, "It has been logged under the trace id", &[]),
    ("Unavailable", 503, "A part is away; nothing was changed, or `unconfirmed`", &["Retry-After"]),
    ("StorageFull", 507, "The disk is full; nothing was changed", &[]),
    ("MethodNotAllowed", 405, "The path does not take this method", &["Allow"]),
];

pub fn add(document: &mut Value) {
    document["components"]["headers"] = headers();
    let shared: Map<String, Value> = PROBLEMS
        .iter()
        .map(|(name, _, when, own)| {
            let headers: Map<String, Value> = ["X-Trace-ID", "X-Process-Time"]
                .iter()
                .chain(*own)
                .map(|header| ((*header).to_owned(), json!({"$ref": format!("#/components/headers/{header}")})))
                .collect();
            let answer = json!({"description": when, "headers": headers, "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
            ((*name).to_owned(), answer)
        })
        .collect();
    document["components"]["responses"] = Value::Object(shared);
    let Some(paths) = object_at(document, "/paths") else { return };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let statuses = statuses(path, method, operation);
            if OPEN.contains(&path.as_str()) {
                operation["security"] = json!([]);
            } else if is_stream(path) {
                operation["security"] = json!([{"key": []}, {"token": []}, {"token_in_url": []}]);
            } else if path.starts_with("/api/v1/events") {
                operation["security"] = json!([{"key": []}, {"token": []}, {"key_in_url": []}]);
            }
            let Some(answers) = operation["responses"].as_object_mut() else { continue };
            for (status, answer) in answers.iter_mut() {
                answer["headers"]["X-Trace-ID"] = json!({"$ref": "#/components/headers/X-Trace-ID"});
                if status != "101" {
                    answer["headers"]["X-Process-Time"] = json!({"$ref": "#/components/headers/X-Process-Time"});
                }
                if status == "201" && !path.contains('{') {
                    answer["headers"]["Location"] = json!({"$ref": "#/components/headers/Location"});
                }
            }
            for status in statuses {
                let Some((name, ..)) = PROBLEMS.iter().find(|(_, code, ..)| *code == status) else { continue };
                let shared = json!({"$ref": format!("#/components/responses/{name}")});
                answers.entry(status.to_string()).or_insert(shared);
            }
        }
    }
}

fn is_stream(path: &str) -> bool {
    ["/ws", "/sse", "/connection"].iter().any(|own| path.starts_with(own))
}

fn statuses(path: &str, method: &str, operation: &Value) -> Vec<u16> {
    if path == "/emulation" {
        return vec![400, 403, 404, 413, 503];
    }
    if path.starts_with("/sse") {
        return vec![400, 401, 403, 406, 429, 503];
    }
    if is_stream(path) {
        return match path.ends_with("websocket") || path.starts_with("/ws") {
            true => vec![400, 401, 403, 426, 429, 503],
            false => vec![400, 401, 403, 413, 429, 503],
        };
    }
    if path.starts_with("/health") {
        return vec![500];
    }
    if ["/docs", "/openapi.json", "/asyncapi.json"].iter().any(|own| path.starts_with(own)) {
        return if path.contains('{') { vec![400, 404] } else { Vec::new() };
    }
    let mut statuses = vec![403, 429, 500, 503];
    let takes_body = operation.get("requestBody").is_some();
    let parameters = operation["parameters"].as_array().map_or(0, Vec::len);
    if !OPEN.contains(&path) || path.starts_with("/api/v1/auth") {
        statuses.push(401);
    }
    if takes_body || parameters > 0 {
        statuses.extend([400, 422]);
    }
    if takes_body {
        statuses.extend([408, 413, 415]);
    }
    if path.contains('{') || path.ends_with("/matrix") || path.ends_with("/score") || path.ends_with("/unsubscribe") {
        statuses.push(404);
    }
    if method != "get" {
        statuses.extend([404, 409, 507]);
    }
    statuses
}

fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "X-Trace-ID": text("What the server's logs call this request"),
        "X-Process-Time": text("Seconds that it took, with six decimal places"),
        "Location": text("Where the new row is"),
        "WWW-Authenticate": text("How to show who you are"),
        "Allow": text("The methods that the path takes"),
        "Upgrade": text("The protocol that is asked for: websocket"),
        "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 0}},
    })
}
