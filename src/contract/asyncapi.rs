//! The AsyncAPI 3 document: each feed as a WebSocket, each Redis channel behind it, and every message.

use serde_json::{Map, Value, json};

use super::messages::{self, CHANNELS, CONTROL};
use super::shape::each_object;
use crate::admin::VERSION;
use crate::feeds;
use crate::stream::FeedSpec;

pub fn document() -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for (path, feed) in &feeds::ALL {
        let carried: Vec<&str> =
            feed.channels.iter().flat_map(|channel| messages_of(channel).iter().copied()).collect();
        let sent: Vec<&str> = carried.iter().copied().chain(CONTROL.iter().copied()).collect();
        let all: Vec<&str> = sent.iter().copied().chain(["ping"]).collect();
        channels.insert(feed.name.to_owned(), socket(path, feed, &all));
        operations.insert(format!("{}_tells", feed.name), operation("send", feed.name, &sent, "What clients hear"));
        operations.insert(
            format!("{}_hears", feed.name),
            operation("receive", feed.name, &["ping"], "What clients may send"),
        );
    }
    for channel in CHANNELS {
        let id = channel.channel.replace(':', "_");
        channels.insert(
            id.clone(),
            json!({
                "address": channel.channel, "servers": [{"$ref": "#/servers/redis"}],
                "description": "Other programs PUBLISH here, and hear what this server publishes.",
                "messages": named(channel.messages),
            }),
        );
        let summary = "What other programs publish goes to every client of the feed, byte for byte";
        operations.insert(format!("{id}_heard"), operation("receive", &id, channel.messages, summary));
        operations
            .insert(format!("{id}_published"), operation("send", &id, channel.messages, "What this server publishes"));
    }
    let messages: Map<String, Value> =
        messages::all().map(|(name, schema)| (name.to_owned(), message(name, schema))).collect();
    let mut schemas: Map<String, Value> =
        messages::all().map(|(name, schema)| (name.to_owned(), without_examples(schema))).collect();
    schemas.extend(messages::shared().as_object().cloned().unwrap_or_default());
    let mut schemas = Value::Object(schemas);
    // Here the shared definitions stand beside the messages' schemas.
    each_object(&mut schemas, &mut |fields| {
        if let Some(Value::String(reference)) = fields.get_mut("$ref") {
            *reference = reference.replace("#/$defs/", "#/components/schemas/");
        }
    });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fanfare", "version": VERSION, "license": {"name": "MIT"},
            "description": "The live feeds. A client opens a WebSocket and listens; each text message is one JSON value \
                with a `message_type`. Types that it does not know it ignores.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "fanfare": {"host": "127.0.0.1:8000", "protocol": "ws", "description": "This server",
                "security": [{"$ref": "#/components/securitySchemes/key"}, {"$ref": "#/components/securitySchemes/token"}]},
            "redis": {"host": "127.0.0.1:6379", "protocol": "redis", "description": "The backbone of several nodes"},
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "httpApiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

fn messages_of(channel: &str) -> &'static [&'static str] {
    CHANNELS.iter().find(|known| known.channel == channel).map_or(&[], |known| known.messages)
}

fn named(messages: &[&str]) -> Value {
    let named = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/messages/{name}")}));
    Value::Object(messages.iter().map(named).collect())
}

fn operation(action: &str, channel: &str, messages: &[&str], summary: &str) -> Value {
    let messages: Vec<Value> =
        messages.iter().map(|name| json!({"$ref": format!("#/channels/{channel}/messages/{name}")})).collect();
    json!({"action": action, "summary": summary, "channel": {"$ref": format!("#/channels/{channel}")}, "messages": messages})
}

fn message(name: &str, schema: &Value) -> Value {
    let examples = schema["examples"].as_array().into_iter().flatten().map(|example| json!({"payload": example}));
    json!({
        "name": name, "title": name, "summary": schema["description"], "contentType": "application/json",
        "payload": {"$ref": format!("#/components/schemas/{name}")}, "examples": examples.collect::<Vec<_>>(),
    })
}

fn without_examples(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("examples");
    }
    schema
}

/// A feed's WebSocket, with what its URL may say.
fn socket(path: &str, feed: &FeedSpec, messages: &[&str]) -> Value {
    let text = |description: String| json!({"type": "string", "description": description});
    let mut query: Map<String, Value> = feed
        .filters
        .iter()
        .map(|filter| {
            let fields = filter.fields.join(" or ");
            (filter.name.to_owned(), text(format!("Only messages whose {fields} is one of these; several by comma")))
        })
        .collect();
    let flag = |description: &str| json!({"type": "string", "enum": ["true", "false"], "description": description});
    query.extend([
        ("format".to_owned(), json!({"type": "string", "enum": ["json", "msgpack"], "default": "json"})),
        ("positions".to_owned(), flag("Each message says where it stands")),
        ("since".to_owned(), text("Resume from there: `<epoch>:<offset>`, several by comma".into())),
        ("snapshot".to_owned(), flag("Begin with the rows")),
        ("max_hz".to_owned(), json!({"type": "number", "exclusiveMinimum": 0})),
        ("presence".to_owned(), flag("Also who comes and leaves")),
        ("token".to_owned(), text("A key or a token, for clients that can set no header".into())),
    ]);
    json!({
        "address": path, "servers": [{"$ref": "#/servers/fanfare"}],
        "title": format!("The feed `{}`", feed.name),
        "description": format!("Carries the channels {}.", feed.channels.join(", ")),
        "messages": named(messages),
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0",
            "query": {"type": "object", "properties": query, "additionalProperties": false}}},
    })
}
