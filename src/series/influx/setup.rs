//! Buckets, how long they keep, and the tasks that roll up: made once, by `fanfare migrate`.

use reqwest::Method;
use serde_json::{Value, json};

use super::answer::message;
use super::flux::{RollUp, hours_of, minutes_of};
use super::{Influx, chain};

/// Which step was not possible, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct SetupError {
    what: String,
    why: String,
}

impl Influx {
    /// Makes what is missing, and brings our own tasks up to date; answers what it did, a line each. A bucket that there
    /// is stays as it is, also where it keeps its points for another time than the settings say.
    pub async fn set_up(&self) -> Result<Vec<String>, SetupError> {
        let (at, options) = (&self.0.at, &self.0.options);
        let org = self.call(Method::GET, "api/v2/orgs", &[("org", &at.org)], None, "the organization").await?;
        let found = org["orgs"][0]["id"].as_str();
        let wrong = || SetupError { what: "the organization".into(), why: format!("there is no {:?}", at.org) };
        let org_id = found.ok_or_else(wrong)?;
        let (minutes, hours) = (minutes_of(&at.bucket), hours_of(&at.bucket));
        let buckets =
            [(&at.bucket, options.keep_points_s), (&minutes, options.keep_minutes_s), (&hours, options.keep_hours_s)];
        let mut done = Vec::new();
        for (bucket, keep_s) in buckets {
            done.extend(self.bucket(org_id, bucket, keep_s).await?);
        }
        let roll_up = |from, to, every, back, rolled| {
            let name = format!("fanfare: {from} to {to}");
            RollUp { name, from, to, org: &at.org, every, back, rolled }
        };
        done.extend(self.task(org_id, &roll_up(&at.bucket, &minutes, "1m", "15m", false)).await?);
        done.extend(self.task(org_id, &roll_up(&minutes, &hours, "1h", "3h", true)).await?);
        Ok(done)
    }

    async fn bucket(&self, org_id: &str, name: &str, keep_s: u64) -> Result<Option<String>, SetupError> {
        let what = format!("the bucket {name:?}");
        let query = [("orgID", org_id), ("name", name)];
        let found = self.call(Method::GET, "api/v2/buckets", &query, None, &what).await?;
        if !found["buckets"].as_array().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let rule = json!({ "type": "expire", "everySeconds": keep_s });
        let body = json!({ "orgID": org_id, "name": name, "retentionRules": [rule] });
        self.call(Method::POST, "api/v2/buckets", &[], Some(body), &what).await?;
        Ok(Some(format!("made {what}, which keeps points for {} days", keep_s / 86_400)))
    }

    async fn task(&self, org_id: &str, roll_up: &RollUp<'_>) -> Result<Option<String>, SetupError> {
        let (what, flux) = (format!("the task {:?}", roll_up.name), roll_up.flux());
        let query = [("orgID", org_id), ("name", &roll_up.name)];
        let found = self.call(Method::GET, "api/v2/tasks", &query, None, &what).await?;
        match &found["tasks"][0] {
            Value::Null => {
                let body = json!({ "orgID": org_id, "flux": flux, "status": "active" });
                self.call(Method::POST, "api/v2/tasks", &[], Some(body), &what).await?;
                Ok(Some(format!("made {what}")))
            }
            task if task["flux"] == flux.as_str() => Ok(None),
            task => {
                let path = format!("api/v2/tasks/{}", task["id"].as_str().unwrap_or_default());
                self.call(Method::PATCH, &path, &[], Some(json!({ "flux": flux })), &what).await?;
                Ok(Some(format!("changed {what}")))
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
        what: &str,
    ) -> Result<Value, SetupError> {
        let wrong = |why: String| SetupError { what: what.to_owned(), why };
        let request = self.request(method, path).query(query);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let response = request.send().await.map_err(|error| wrong(chain(&error.without_url())))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| wrong(chain(&error.without_url())))?;
        if !status.is_success() {
            return Err(wrong(format!("{status} {}", message(&text))));
        }
        serde_json::from_str(&text).map_err(|_| wrong("the answer is not InfluxDB's".into()))
    }
}
