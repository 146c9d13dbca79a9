//! The shop's side of the public HTTP API. It knows no more of the server than any other client does.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::catalog::{ARTICLES, Article, SKU_PREFIX};

const NOTE: &str = "Synthetic demo data, not a real article. 合成されたデモ用データです。";

/// A client of one server.
pub struct Api {
    client: reqwest::Client,
    base: Url,
    token: Option<String>,
}

/// What came of a request that the server understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Done(Value),
    /// 409 or 422: against a rule, such as taking more than there is.
    Refused(String),
}

/// An article as the server has it.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub item_id: String,
    pub stock: i64,
    pub price_id: Option<String>,
}

/// An id as it stands in a URL, number or text.
fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Api {
    pub fn new(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let base = Url::parse(url).with_context(|| format!("--url {url}"))?;
        if !matches!(base.scheme(), "http" | "https") {
            bail!("--url {url}: http or https");
        }
        let mut client = reqwest::Client::builder();
        // A server on this machine is not behind the proxy that the environment may name.
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        let client = client
            .timeout(Duration::from_secs(15))
            .user_agent(concat!("fanfare-demo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, base, token })
    }

    /// One line that says what is wrong when no server answers.
    pub async fn check(&self) -> anyhow::Result<()> {
        let answer = self.send(Method::GET, "/health", None).await;
        match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => bail!("{} answers /health with {}", self.base, response.status()),
            Err(error) => bail!("no Fanfare server answers at {} ({}); is it running?", self.base, reason(&error)),
        }
    }

    /// Finds the demo's articles on the server, and creates those that are missing.
    pub async fn stock_shelves(&self) -> anyhow::Result<Vec<Shelf>> {
        let mut known = self.items().await?;
        let mut shelves = Vec::with_capacity(ARTICLES.len());
        for article in ARTICLES {
            let mut shelf = match known.remove(article.sku) {
                Some(shelf) => shelf,
                None => self.create_item(article).await?,
            };
            shelf.price_id = match shelf.price_id {
                Some(id) => Some(id),
                None => self.create_price(article, &shelf.item_id).await?,
            };
            shelves.push(shelf);
        }
        Ok(shelves)
    }

    pub async fn adjust(&self, shelf: &Shelf, delta: i64) -> anyhow::Result<Answer> {
        let path = format!("/api/v1/inventory/{}/adjust", shelf.item_id);
        self.call(Method::POST, &path, Some(json!({"delta": delta}))).await
    }

    /// Sets a price; with `ask`, one that takes effect when a manager has approved it.
    pub async fn reprice(&self, shelf: &Shelf, price_yen: i64, reason: &str, ask: bool) -> anyhow::Result<Answer> {
        let mut body = json!({"selling_price": price_yen.to_string(), "change_reason": reason});
        if ask {
            body["requires_approval"] = Value::Bool(true);
        }
        self.on_price(Method::PATCH, shelf, "", body).await
    }

    pub async fn approve(&self, shelf: &Shelf) -> anyhow::Result<Answer> {
        self.on_price(Method::POST, shelf, "/approve", json!({"change_reason": "approved (demo)"})).await
    }

    async fn on_price(&self, method: Method, shelf: &Shelf, end: &str, body: Value) -> anyhow::Result<Answer> {
        let Some(price_id) = &shelf.price_id else { return Ok(Answer::Refused("it has no price".into())) };
        self.call(method, &format!("/api/v1/prices/{price_id}{end}"), Some(body)).await
    }

    pub async fn publish(&self, channel: &str, data: &Value) -> anyhow::Result<Answer> {
        self.call(Method::POST, "/api/publish", Some(json!({"channel": channel, "data": data}))).await
    }

    /// Articles by SKU, with the price that each of them has.
    async fn items(&self) -> anyhow::Result<HashMap<String, Shelf>> {
        let mut shelves = HashMap::new();
        let mut sku_by_id = HashMap::new();
        for item in self.list("/api/v1/inventory").await? {
            let (Some(sku), Some(id)) = (item["sku"].as_str(), id_of(&item["id"])) else { continue };
            if sku.starts_with(SKU_PREFIX) {
                sku_by_id.insert(id.clone(), sku.to_owned());
                let stock = item["stock_quantity"].as_i64().unwrap_or_default();
                shelves.insert(sku.to_owned(), Shelf { item_id: id, stock, price_id: None });
            }
        }
        for price in self.list("/api/v1/prices").await? {
            let sku = id_of(&price["inventory_id"]).and_then(|id| sku_by_id.get(&id));
            if let Some(shelf) = sku.and_then(|sku| shelves.get_mut(sku)) {
                shelf.price_id = id_of(&price["id"]);
            }
        }
        Ok(shelves)
    }

    async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for page in 1.. {
            let Answer::Done(mut answer) =
                self.call(Method::GET, &format!("{path}?page={page}&limit=100"), None).await?
            else {
                break;
            };
            if let Value::Array(items) = answer["items"].take() {
                all.extend(items);
            }
            if answer["pagination"]["has_next"] != Value::Bool(true) {
                break;
            }
        }
        Ok(all)
    }

    async fn create_item(&self, article: &Article) -> anyhow::Result<Shelf> {
        let body = json!({
            "sku": article.sku, "name": article.name, "category": article.category, "description": NOTE,
            "stock_quantity": opening_stock(article), "cost_price": article.cost_yen.to_string(), "weight": article.weight_g,
            "min_stock_level": article.min_stock, "max_stock_level": article.full_stock * 2,
        });
        match self.call(Method::POST, "/api/v1/inventory", Some(body)).await? {
            Answer::Done(item) => {
                let item_id = id_of(&item["id"]).context("the server's answer to a new item has no id")?;
                Ok(Shelf { item_id, stock: opening_stock(article), price_id: None })
            }
            // Somebody else, perhaps a second demo, was quicker.
            Answer::Refused(why) => match self.items().await?.remove(article.sku) {
                Some(shelf) => Ok(shelf),
                None => bail!("cannot create {}: {why}", article.sku),
            },
        }
    }

    async fn create_price(&self, article: &Article, item_id: &str) -> anyhow::Result<Option<String>> {
        // The server's ids are numbers or texts; this sends back what it gave.
        let inventory_id = item_id.parse::<i64>().map_or_else(|_| Value::from(item_id), Value::from);
        let body = json!({
            "inventory_id": inventory_id, "selling_price": article.price_yen.to_string(),
            "cost_price": article.cost_yen.to_string(), "currency": "JPY",
        });
        match self.call(Method::POST, "/api/v1/prices", Some(body)).await? {
            Answer::Done(price) => Ok(id_of(&price["id"])),
            Answer::Refused(why) => bail!("cannot set a price for {}: {why}", article.sku),
        }
    }

    /// Sends until the server has understood. Waits when it is busy or away, up to half a minute in all.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let mut wait = Duration::from_millis(250);
        loop {
            let last = wait > Duration::from_secs(10);
            let pause = match self.send(method.clone(), path, body.as_ref()).await {
                Ok(response) => match response.status() {
                    status if status.is_success() => {
                        return Ok(Answer::Done(response.json().await.unwrap_or_default()));
                    }
                    StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                        return Ok(Answer::Refused(detail(response).await));
                    }
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => bail!(
                        "the server wants a manager's token: --token \"$(fanfare token --sub demo --role manager)\" ({})",
                        detail(response).await
                    ),
                    StatusCode::TOO_MANY_REQUESTS => retry_after(&response).unwrap_or(wait),
                    status if status.is_server_error() && !last => retry_after(&response).unwrap_or(wait),
                    status => bail!("{method} {path}: {status} {}", detail(response).await),
                },
                Err(error) if last => bail!("the server at {} went away: {}", self.base, reason(&error)),
                Err(_) => wait,
            };
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Result<Response> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        match body {
            Some(body) => request.json(body),
            None => request,
        }
        .send()
        .await
    }
}

/// What is left from the day before: enough that nothing is sold out before the first truck comes.
fn opening_stock(article: &Article) -> i64 {
    article.full_stock * 5 / 8
}

/// The words of a problem document.
async fn detail(response: Response) -> String {
    let status = response.status();
    let problem: Value = response.json().await.unwrap_or_default();
    problem["detail"].as_str().map_or_else(|| status.to_string(), str::to_owned)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause, which is the one that says something ("connection refused").
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
