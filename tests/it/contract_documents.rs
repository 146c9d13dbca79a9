//! The documents say what there is: every route, every channel, with references that lead somewhere and true examples.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fanfare::contract;
use fanfare::feeds;
use serde_json::{Value, json};

use crate::contract_kit::{fits, validator};
use crate::support::{Fanfare, Settings, http};

/// The methods of each path of `src/routes.rs`.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/routes.rs")).unwrap();
    let mut found = BTreeMap::new();
    for part in text.split(".route(").skip(1) {
        let Some(path) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
        // To the bracket that closes the call.
        let mut depth = 1;
        let end = part.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let call = &part[path.len()..end.unwrap()];
        let methods = ["get", "post", "put", "patch", "delete"].into_iter().filter(|method| {
            let ats = call.match_indices(&format!("{method}(")).map(|(at, _)| at).collect::<Vec<_>>();
            ats.into_iter().any(|at| !call[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        });
        found.insert(path.to_owned(), methods.map(str::to_owned).collect());
    }
    found.extend(
        feeds::ALL
            .iter()
            .chain(&feeds::EVENTS)
            .map(|(path, _)| ((*path).to_owned(), BTreeSet::from(["get".to_owned()]))),
    );
    found
}

#[test]
fn every_route_is_documented_and_no_other() {
    let documented: BTreeMap<String, BTreeSet<String>> = contract::openapi()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect()))
        .collect();
    assert_eq!(documented, routes(), "the document, and src/routes.rs");
}

#[test]
fn operations_have_names_of_their_own_and_say_what_they_are() {
    let mut names = BTreeSet::new();
    for (path, item) in contract::openapi()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} stands twice");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
            for parameter in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let given = operation["parameters"].as_array().into_iter().flatten();
                let given: Vec<&Value> = given.filter(|it| it["name"] == parameter && it["in"] == "path").collect();
                assert_eq!(given.len(), 1, "{method} {path}: {parameter}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value, wrongs: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref")
                    && document.pointer(target.trim_start_matches('#')).is_none()
                {
                    wrongs.push(target.clone());
                }
                fields.values().for_each(|value| walk(document, value, wrongs));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(document, value, wrongs)),
            _ => {}
        }
    }
    for document in [contract::openapi(), contract::asyncapi()] {
        let mut wrongs = Vec::new();
        walk(document, document, &mut wrongs);
        assert!(wrongs.is_empty(), "{wrongs:?}");
    }
}

#[test]
fn what_is_added_by_hand_is_about_something() {
    let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/src/contract/overlay.json");
    let overlay: Value = serde_json::from_str(&std::fs::read_to_string(overlay).unwrap()).unwrap();
    let document = contract::openapi();
    for (names, rules) in overlay["schemas"].as_object().unwrap() {
        let schema = &document["components"]["schemas"][names];
        assert!(schema.is_object(), "{names} is no type of the document");
        for field in rules["properties"].as_object().into_iter().flatten().map(|(field, _)| field) {
            let typed = &schema["properties"][field];
            assert!(
                typed.get("type").or(typed.get("$ref")).or(typed.get("oneOf")).is_some() || field == "data",
                "{names}.{field}"
            );
        }
    }
    for place in overlay["answers"].as_object().unwrap().keys() {
        assert!(document.pointer(place).is_some(), "{place}");
    }
}

#[test]
fn examples_are_true() {
    let mut seen = 0;
    for (name, schema) in contract::openapi()["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            fits(&validator(&format!("/components/schemas/{name}")), example, name);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    for (name, message) in contract::asyncapi()["components"]["messages"].as_object().unwrap() {
        let schema = jsonschema::draft202012::new(&contract::message_schema(name)).unwrap();
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name} has no example");
        examples.iter().for_each(|example| fits(&schema, &example["payload"], name));
    }
}

#[test]
fn every_channel_has_messages_and_no_other() {
    let known: BTreeSet<&str> = contract::CHANNELS.iter().map(|channel| channel.channel).collect();
    let of_feeds: BTreeSet<&str> = feeds::ALL.iter().flat_map(|(_, feed)| feed.channels.iter().copied()).collect();
    assert_eq!(known, of_feeds);
    for channel in contract::CHANNELS {
        assert!(!channel.messages.is_empty(), "{}", channel.channel);
        channel.messages.iter().for_each(|name| assert!(contract::message_schema(name).is_object(), "{name}"));
    }
}

#[test]
fn a_parser_accepts_the_asyncapi_document() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/asyncapi.mjs");
    let mut node = Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(contract::asyncapi().to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let held: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(held["channels"], feeds::ALL.len() + contract::CHANNELS.len());
}

#[test]
fn the_types_of_the_page_are_what_the_server_says() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dev/contract.mjs");
    let program = env!("CARGO_BIN_EXE_fanfare");
    let output = Command::new("node").arg(script).args(["--check", program]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_served_to_everybody() {
    let server = Fanfare::start(Settings::new().env("SECRET_KEY", "a secret for tests, long enough: 0123456789")).await;
    let get = async |path: &str| http().get(format!("{}{path}", server.url())).send().await.unwrap();
    for (path, document) in [("/openapi.json", contract::openapi()), ("/asyncapi.json", contract::asyncapi())] {
        let answer = get(path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        let tag = answer.headers()["etag"].clone();
        assert_eq!(&answer.json::<Value>().await.unwrap(), document, "{path}");
        let again = http().get(format!("{}{path}", server.url())).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304, "{path}");
    }
    // The page loads nothing from elsewhere, and its policy lets it do no more than it does.
    let page = get("/docs").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self';") && policy.contains("default-src 'none'"), "{policy}");
    let html = page.text().await.unwrap();
    let files: Vec<&str> = html.split(['"', '\'']).filter(|text| text.starts_with("/docs/")).collect();
    assert!(!html.contains("https://") && files.len() == 4, "{html}");
    for file in files {
        let answer = get(file).await;
        assert_eq!(answer.status(), 200, "{file}");
        assert!(answer.bytes().await.unwrap().len() > 100, "{file}");
    }
    for missing in ["/docs/index.html", "/docs/..%2Fopenapi.json"] {
        assert_eq!(
            get(missing).await.json::<Value>().await.unwrap()["type"],
            json!("/problems/not-found"),
            "{missing}"
        );
    }
}
