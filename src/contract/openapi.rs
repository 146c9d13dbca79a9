//! The OpenAPI 3.1 document: operations and types from their annotations, and what all operations have in common.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::messages::{CHANNELS, shared};
use super::shape::{each_object, merge, never_null, object_at};
use super::{answers, streams};
use crate::admin::{VERSION, dead_letters, fate, presence, routes as admin};
use crate::feeds::history::routes as history;
use crate::feeds::inventory::routes as inventory;
use crate::feeds::matching::{batch::routes as batch, bulk::routes as bulk, email::routes as email};
use crate::feeds::matching::{
    jobs::routes as jobs, matches::routes as matches, monitor::routes as monitor, users::routes as users,
};
use crate::feeds::price::routes as price;
use crate::feeds::progress::routes as progress;
use crate::http::accounts;

#[derive(OpenApi)]
#[openapi(paths(
    accounts::log_in,
    accounts::refresh,
    accounts::log_out,
    accounts::me,
    accounts::revoke,
    inventory::list,
    inventory::create,
    inventory::get,
    inventory::update,
    inventory::delete,
    inventory::adjust,
    price::list,
    price::create,
    price::history,
    price::get,
    price::update,
    price::delete,
    price::history_of,
    price::approve,
    price::reject,
    history::range,
    history::dead_letters,
    progress::ingest,
    progress::pioneer,
    progress::overview,
    progress::student,
    progress::timeline,
    progress::cells,
    progress::matrix,
    progress::help,
    progress::activity,
    jobs::list,
    jobs::create,
    jobs::search,
    jobs::get,
    jobs::update,
    jobs::delete,
    jobs::scoring,
    users::list,
    users::create,
    users::get,
    users::update,
    users::delete,
    users::profile,
    users::set_profile,
    users::behavior,
    users::log,
    bulk::jobs,
    bulk::users,
    bulk::task,
    matches::of_user,
    matches::score,
    batch::trigger,
    batch::list,
    batch::get,
    batch::cancel,
    batch::retry,
    email::list,
    email::preview,
    email::bounce,
    email::unsubscribe_page,
    email::unsubscribe,
    monitor::batches,
    monitor::matches,
    monitor::queues,
    admin::publish,
    admin::health,
    admin::health_detailed,
    admin::ready,
    admin::metrics,
    admin::system_info,
    fate::ledger,
    fate::explain,
    presence::presence,
    dead_letters::list,
    dead_letters::get,
    dead_letters::replay,
    dead_letters::discard,
    super::routes::openapi,
    super::routes::asyncapi,
    super::routes::docs,
    super::routes::docs_file,
))]
struct Annotated;

/// Rules of fields, examples, and answers that have no type of their own.
const OVERLAY: &str = include_str!("overlay.json");

pub fn document() -> Value {
    let mut document = serde_json::to_value(Annotated::openapi()).unwrap_or_default();
    let overlay: Value = serde_json::from_str(OVERLAY).unwrap_or_default();
    aliases(&mut document);
    streams::add(&mut document);
    document["components"]["schemas"]["Fault"] = streams::fault();
    narrow(&mut document, &overlay);
    without_null_defaults(&mut document);
    name_operations(&mut document);
    answers::add(&mut document);
    merge(&mut document, &overlay["document"]);
    document["info"]["version"] = VERSION.into();
    document
}

/// URLs that lead to a handler which is annotated with another one.
fn aliases(document: &mut Value) {
    let Some(paths) = object_at(document, "/paths") else { return };
    let under_v1 = |(path, item): (&String, &Value)| {
        Some((format!("/api/v1/batch/{}", path.strip_prefix("/api/v2/batch/")?), item.clone()))
    };
    let mut more: Vec<(String, Value)> = paths.iter().filter_map(under_v1).collect();
    for path in ["/api/v1/events", "/api/v1/events/pioneer"] {
        let Some(mut item) = paths.get(path).cloned() else { continue };
        if let Some(Value::Array(parameters)) = item.pointer_mut("/post/parameters") {
            parameters.push(json!({"name": "key", "in": "path", "required": true, "schema": {"type": "string"},
                "description": "A key with the scope `events:write` and no other"}));
        }
        more.push((format!("{path}/{{key}}"), item));
    }
    paths.extend(more);
}

/// An absent field of a change leaves what is stored; where null is no value of it, null is not its default either.
fn without_null_defaults(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas") else { return };
    each_object(schemas, &mut |fields| {
        if fields.get("default").is_some_and(Value::is_null) {
            fields.remove("default");
        }
    });
}

/// Puts in what types do not say: bounds, patterns, examples, and whole answers.
fn narrow(document: &mut Value, overlay: &Value) {
    for (names, rules) in overlay["schemas"].as_object().into_iter().flatten() {
        for name in names.split(',') {
            if let Some(schema) = document.pointer_mut(&format!("/components/schemas/{name}")) {
                merge(schema, rules);
            }
        }
    }
    for (place, schema) in overlay["answers"].as_object().into_iter().flatten() {
        if let Some(answer) = document.pointer_mut(place) {
            *answer = schema.clone();
        }
    }
    let amounts = overlay["amounts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in amounts {
        // In requests an amount may be written as text, too.
        if let Some(schema) = document.pointer_mut(&format!("/components/schemas/{name}")) {
            each_object(schema, &mut |fields| {
                if fields.get("$ref") == Some(&json!("#/components/schemas/Money")) {
                    fields.insert("$ref".into(), json!("#/components/schemas/AmountIn"));
                }
            });
        }
    }
    each_parameter(document, |parameter| {
        let rules = &overlay["parameters"][parameter["name"].as_str().unwrap_or_default()];
        if let Some(schema) = parameter.get_mut("schema") {
            never_null(schema);
        }
        if rules.is_object() {
            merge(parameter, rules);
        }
    });
    let known: Map<String, Value> =
        CHANNELS.iter().map(|channel| (channel.channel.to_owned(), json!(channel.messages))).collect();
    document["components"]["schemas"]["PublishBody"]["x-messages-of-channels"] = Value::Object(known);
    debug_assert!(shared().is_object(), "messages.json is read");
}

fn each_parameter(document: &mut Value, mut visit: impl FnMut(&mut Value)) {
    let Some(paths) = object_at(document, "/paths") else { return };
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations {
        if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
            parameters.iter_mut().for_each(&mut visit);
        }
        // A body that may be left out is left out, not null.
        if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
            never_null(schema);
        }
    }
}

/// Handlers of several parts have the same names, and one handler may serve several methods and URLs.
fn name_operations(document: &mut Value) {
    let Some(paths) = object_at(document, "/paths") else { return };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            let own = operation["operationId"].as_str().unwrap_or_default().to_owned();
            let mut name = if tag == "streams" { own.clone() } else { format!("{tag}_{own}") };
            if method == "patch" {
                name.push_str("_some");
            }
            if path.starts_with("/api/v1/batch/") {
                name.push_str("_v1");
            }
            if path.ends_with("/{key}") {
                name.push_str("_by_key");
            }
            operation["operationId"] = name.into();
            if operation["summary"].is_null() {
                operation["summary"] = format!("{tag}: {}", own.replace('_', " ")).into();
            }
        }
    }
}
