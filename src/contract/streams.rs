//! The streams as what they are to HTTP: requests that are answered with another protocol, or with a body that does not
//! end. What goes over them is in the AsyncAPI document and in the documentation of the Centrifuge protocol.

use serde_json::{Value, json};

use super::shape::object_at;
use crate::feeds;
use crate::stream::FeedSpec;

const TAG: &str = "streams";

pub fn add(document: &mut Value) {
    let Some(paths) = object_at(document, "/paths") else { return };
    for (path, feed) in feeds::ALL {
        paths.insert(path.to_owned(), json!({ "get": websocket(feed) }));
    }
    for (path, feed) in feeds::EVENTS {
        paths.insert(path.to_owned(), json!({ "get": events(feed) }));
    }
    for (path, operations) in connections() {
        paths.insert(path.to_owned(), operations);
    }
}

fn websocket(feed: &FeedSpec) -> Value {
    let mut parameters = feed_parameters(feed);
    parameters
        .push(json!({"name": "format", "in": "query", "required": false, "schema": {"enum": ["json", "msgpack"]}}));
    json!({
        "tags": [TAG], "operationId": format!("listen_{}", feed.name), "parameters": parameters,
        "summary": format!("The live feed `{}`, as a WebSocket", feed.name),
        "description": format!("Carries {}. Messages: /asyncapi.json.", feed.channels.join(", ")),
        "responses": {"101": upgraded()},
    })
}

fn events(feed: &FeedSpec) -> Value {
    let mut parameters = feed_parameters(feed);
    parameters.push(json!({"name": "Last-Event-ID", "in": "header", "required": false, "schema": {"type": "string"},
        "description": "Resume from there, as `since` does; browsers send it by themselves"}));
    json!({
        "tags": [TAG], "operationId": format!("events_{}", feed.name), "parameters": parameters,
        "summary": format!("The live feed `{}`, as server-sent events", feed.name),
        "description": format!("Carries {}. Messages: /asyncapi.json.", feed.channels.join(", ")),
        "responses": {"200": lasting(&["text/event-stream"])},
    })
}

fn feed_parameters(feed: &FeedSpec) -> Vec<Value> {
    let mut parameters: Vec<Value> = feed
        .filters
        .iter()
        .map(|filter| text(filter.name, &format!("Only messages with this {}; several by comma", filter.name)))
        .collect();
    parameters.extend([
        json!({"name": "positions", "in": "query", "required": false, "schema": {"type": "boolean"}}),
        text("since", "Resume from there: `<epoch>:<offset>`, several by comma"),
        json!({"name": "snapshot", "in": "query", "required": false, "schema": {"type": "boolean"}}),
        json!({"name": "max_hz", "in": "query", "required": false, "schema": {"type": "number", "exclusiveMinimum": 0}}),
        json!({"name": "presence", "in": "query", "required": false, "schema": {"type": "boolean"}}),
        text("token", "A key or a token, for clients that can set no header"),
    ]);
    parameters
}

/// The endpoints of the Centrifuge protocol, and its server API.
fn connections() -> Vec<(&'static str, Value)> {
    let named = |id: &str, summary: &str, rest: Value| {
        let mut operation = json!({"tags": [TAG], "operationId": id, "summary": summary});
        super::shape::merge(&mut operation, &rest);
        operation
    };
    let first = |description: &str| text("cf_connect", description);
    let connects = "The first message, which connects";
    let body = |types: &[&str]| {
        let content: serde_json::Map<String, Value> =
            types.iter().map(|name| ((*name).to_owned(), json!({"schema": {"type": "string"}}))).collect();
        json!({"required": true, "content": content})
    };
    let both = ["application/json", "application/octet-stream"];
    let socket = json!({
        "parameters": [
            {"name": "format", "in": "query", "required": false, "schema": {"enum": ["json", "protobuf"]}},
            {"name": "cf_ws_frame_ping_pong", "in": "query", "required": false, "schema": {"type": "boolean"}},
        ],
        "responses": {"101": upgraded()},
    });
    let one_way_socket =
        json!({"parameters": [first("The connect request, as JSON")], "responses": {"101": upgraded()}});
    let stream = json!({"requestBody": body(&both), "responses": {"200": lasting(&both)}});
    let events = json!({"parameters": [first(connects)], "responses": {"200": lasting(&["text/event-stream"])}});
    let posted = json!({"requestBody": body(&both[..1]), "responses": {"200": lasting(&["text/event-stream"])}});
    let one_way = json!({"requestBody": body(&both[..1]), "responses": {"200": lasting(&both[..1])}});
    let commands = json!({
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": {"type": "object", "required": ["session", "data"], "properties": {
                "session": {"type": "string"}, "node": {"type": "string"},
                "data": {"type": "string", "description": "Commands, a line each"}}}},
            "application/octet-stream": {"schema": {"type": "string"}},
        }},
        "responses": {"204": {"description": "Passed on; answers come on the stream"}},
    });
    vec![
        ("/connection/websocket", json!({"get": named("connect", "The Centrifuge protocol over a WebSocket", socket)})),
        (
            "/connection/uni_websocket",
            json!({"get": named("connect_one_way", "Its pushes alone over a WebSocket", one_way_socket)}),
        ),
        ("/connection/http_stream", json!({"post": named("stream", "The same in the body of an answer", stream)})),
        (
            "/connection/sse",
            json!({
                "get": named("stream_events", "The same as server-sent events", events.clone()),
                "post": named("stream_events_posted", "The same, begun by a body", posted.clone()),
            }),
        ),
        (
            "/connection/uni_sse",
            json!({
                "get": named("stream_events_one_way", "Pushes alone as server-sent events", events),
                "post": named("stream_events_one_way_posted", "The same, begun by a body", posted),
            }),
        ),
        (
            "/connection/uni_http_stream",
            json!({"post": named("stream_one_way", "Pushes alone in the body of an answer", one_way)}),
        ),
        ("/emulation", json!({"post": named("command", "Commands of a connection that cannot carry them", commands)})),
        ("/api/{method}", json!({"post": method()})),
        ("/api/batch", json!({"post": batch()})),
    ]
}

fn method() -> Value {
    json!({
        "tags": ["channels"], "operationId": "call", "summary": "A method of the channels' server API",
        "description": "Answers 200 with a result or an error, as the Centrifuge protocol has it; with \
            `X-Centrifugo-Error-Mode: transport` HTTP's own codes.",
        "parameters": [
            {"name": "method", "in": "path", "required": true, "schema": {"enum": [
                "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh", "presence", "presence_stats", "history",
                "history_remove", "channels", "info",
            ]}},
        ],
        "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {"200": {"description": "Done, or an error by its number", "content": {"application/json": {"schema": {
            "type": "object", "properties": {"result": {"type": "object"}, "error": {"$ref": "#/components/schemas/Fault"}},
        }}}}},
    })
}

fn batch() -> Value {
    json!({
        "tags": ["channels"], "operationId": "batch", "summary": "Several methods, one after the other",
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
            "type": "object", "required": ["commands"],
            "properties": {"commands": {"type": "array", "maxItems": 1000, "items": {"type": "object"}}},
        }}}},
        "responses": {"200": {"description": "An answer for each", "content": {"application/json": {"schema": {
            "type": "object", "required": ["replies"],
            "properties": {"replies": {"type": "array", "items": {"type": "object"}}},
        }}}}},
    })
}

/// What an error of the channel protocol is.
pub fn fault() -> Value {
    json!({"type": "object", "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}}})
}

fn text(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}, "description": description})
}

fn upgraded() -> Value {
    json!({"description": "The connection is a WebSocket from here on",
        "headers": {"X-Client-ID": {"description": "The client's name here", "schema": {"type": "string"}}}})
}

fn lasting(types: &[&str]) -> Value {
    let content: serde_json::Map<String, Value> =
        types.iter().map(|name| ((*name).to_owned(), json!({"schema": {"type": "string"}}))).collect();
    json!({"description": "Messages as they come", "content": content,
        "headers": {"X-Client-ID": {"description": "The client's name here", "schema": {"type": "string"}}}})
}
