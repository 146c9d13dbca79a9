//! What `jupyterlab-pioneer` sends, as an event of ours. Its environment variables go no further than the name of the
//! student: the exporter may be set to send all of them, secrets included.

use serde_json::{Map, Value, json};

use super::read::{Refusal, made_id};

/// Names under which exporters are set to tell who the student is, the most telling first.
const WHO: [&str; 8] =
    ["student_id", "user_id", "userid", "email", "emailaddress", "email_address", "jupyterhub_user", "user"];
const CLASS: [&str; 4] = ["class", "classroom", "class_id", "course"];

/// One event of the exporter as the contract's JSON.
pub fn translate(body: &Value) -> Result<Value, Refusal> {
    let refuse = |field, reason: &str| Refusal { field, reason: reason.to_owned() };
    let detail = &body["data"]["eventDetail"];
    let name = detail["eventName"].as_str().ok_or_else(|| refuse("data.eventDetail.eventName", "is required"))?;
    let state = &body["data"]["notebookState"];
    let info = &detail["eventInfo"];
    let cell = &info["cells"][0];
    let session = state["sessionID"].as_str();
    let who = find(&body["params"], &WHO).or_else(|| find(&body["env"], &WHO));
    let who = who.ok_or_else(|| refuse("env", "names no student: send STUDENT_ID by `env` or user_id by `params`"))?;
    let mut event = Map::new();
    let mut put = |field: &str, value: Value| {
        if !value.is_null() {
            event.insert(field.to_owned(), value);
        }
    };
    let parts =
        [session.unwrap_or_default(), &detail["eventTime"].to_string(), cell["id"].as_str().unwrap_or_default(), name];
    put("eventId", made_id(&parts).into());
    put("eventType", event_type(name).into());
    put("eventTime", detail["eventTime"].clone());
    put("userId", who);
    put("sessionId", session.into());
    put("class", find(&body["params"], &CLASS).unwrap_or_default());
    put("notebookPath", state["notebookPath"].clone());
    put("cellId", cell["id"].clone());
    put("cellIndex", cell["index"].clone());
    put("cellType", cell["type"].clone());
    let content = &state["notebookContent"]["cells"];
    let index = cell["index"].as_u64().and_then(|index| usize::try_from(index).ok());
    put("code", index.map(|index| content[index]["source"].clone()).unwrap_or_default());
    if let Some(success) = info["success"].as_bool() {
        put("hasError", (!success).into());
    }
    let error = &info["kernelError"];
    if let Some(error_name) = error["errorName"].as_str() {
        put("errorMessage", format!("{error_name}: {}", error["errorValue"].as_str().unwrap_or_default()).into());
    }
    if body["params"].is_object() {
        put("metadata", json!({ "params": body["params"] }));
    }
    Ok(Value::Object(event))
}

/// `CellExecuteEvent` is our `cell_executed`; the others keep their words.
fn event_type(name: &str) -> String {
    match name {
        "CellExecuteEvent" => return "cell_executed".into(),
        "NotebookOpenEvent" => return "notebook_opened".into(),
        _ => {}
    }
    let mut words = String::new();
    for c in name.strip_suffix("Event").unwrap_or(name).chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// The first of `names`, whatever its case, in an object or in a list of objects.
fn find(source: &Value, names: &[&str]) -> Option<Value> {
    let objects: Vec<&Map<String, Value>> = match source {
        Value::Object(object) => vec![object],
        Value::Array(list) => list.iter().filter_map(Value::as_object).collect(),
        _ => return None,
    };
    let usable = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty()) || value.is_number();
    names.iter().find_map(|name| {
        let mut fields = objects.iter().flat_map(|object| object.iter());
        fields.find(|(field, value)| field.eq_ignore_ascii_case(name) && usable(value)).map(|(_, value)| value.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_translated_and_the_environment_stripped() {
        let body = json!({"data": {"eventDetail": {"eventName": "CellExecuteEvent", "eventTime": 1795233705638_i64,
            "eventInfo": {"cells": [{"id": "c68157db", "index": 3, "type": "code", "metadata": null}], "success": false,
                "environ": {"AWS_SECRET": "hush"},
                "kernelError": {"errorName": "ZeroDivisionError", "errorValue": "division by zero", "traceback": ["x"]}}},
            "notebookState": {"sessionID": "s1", "notebookPath": "demo.ipynb", "notebookContent": null}},
            "params": {"classroom": "A"}, "env": [{"PATH": "/bin"}, {"STUDENT_ID": "s-42"}]});
        let event = translate(&body).unwrap();
        assert_eq!(event["userId"], "s-42");
        assert_eq!((&event["eventType"], &event["class"]), (&json!("cell_executed"), &json!("A")));
        assert_eq!(event["errorMessage"], "ZeroDivisionError: division by zero");
        assert!(!event.to_string().contains("hush") && !event.to_string().contains("/bin"), "{event}");
        assert_eq!(event, translate(&body).unwrap(), "the same id again");
    }

    #[test]
    fn names_become_types() {
        for (name, expected) in
            [("NotebookSaveEvent", "notebook_save"), ("ActiveCellChangeEvent", "active_cell_change"), ("x", "x")]
        {
            assert_eq!(event_type(name), expected);
        }
    }
}
