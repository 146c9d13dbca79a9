//! What a price may be. Every refusal names its field; all of them are told at once.

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use super::Price;
use crate::db::Money;
use crate::feeds::body::{not_null, nullable};
use crate::feeds::text::Checks;
use crate::http::FieldError;

/// Why and by whom a price is changed; kept in the history.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = Decision)]
#[serde(deny_unknown_fields, default)]
pub struct Author {
    pub change_reason: Option<String>,
    pub changed_by: Option<String>,
    pub notes: Option<String>,
}

impl Author {
    /// The authenticated caller, where the body names nobody.
    pub fn or_caller(self, caller: &str) -> Self {
        Self { changed_by: self.changed_by.or_else(|| Some(caller.to_owned())), ..self }
    }

    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut checks = Checks::default();
        self.note(&mut checks);
        checks.done()
    }

    fn note(&self, checks: &mut Checks) {
        for (field, text) in
            [("change_reason", &self.change_reason), ("changed_by", &self.changed_by), ("notes", &self.notes)]
        {
            checks.optional_text(field, text.clone(), 1_000);
        }
    }
}

/// The body of a create, and a whole price before it is stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "CreateBody")]
pub struct NewPrice {
    pub inventory_id: i64,
    pub selling_price: Money,
    /// The item's, when it is not given.
    pub cost_price: Option<Money>,
    pub discount_price: Option<Money>,
    pub currency: String,
    pub is_active: bool,
    pub requires_approval: bool,
    pub effective_from: Option<DateTime<Utc>>,
    pub effective_until: Option<DateTime<Utc>>,
    pub author: Author,
}

/// As it stands in JSON: flat.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewPrice)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    inventory_id: i64,
    selling_price: Money,
    cost_price: Option<Money>,
    discount_price: Option<Money>,
    #[serde(default = "default_currency")]
    currency: String,
    #[serde(default = "default_true")]
    is_active: bool,
    #[serde(default)]
    requires_approval: bool,
    effective_from: Option<DateTime<Utc>>,
    effective_until: Option<DateTime<Utc>>,
    change_reason: Option<String>,
    changed_by: Option<String>,
    notes: Option<String>,
}

fn default_currency() -> String {
    "JPY".into()
}

fn default_true() -> bool {
    true
}

impl From<CreateBody> for NewPrice {
    fn from(body: CreateBody) -> Self {
        Self {
            inventory_id: body.inventory_id,
            selling_price: body.selling_price,
            cost_price: body.cost_price,
            discount_price: body.discount_price,
            currency: body.currency,
            is_active: body.is_active,
            requires_approval: body.requires_approval,
            effective_from: body.effective_from,
            effective_until: body.effective_until,
            author: Author { change_reason: body.change_reason, changed_by: body.changed_by, notes: body.notes },
        }
    }
}

/// The body of PUT and PATCH: any subset of the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "ChangeBody")]
pub struct PriceChange {
    fields: ChangeFields,
    /// The change is to wait for approval.
    pub requires_approval: Option<bool>,
    pub author: Author,
}

#[derive(Clone, Debug, Default)]
struct ChangeFields {
    selling_price: Option<Money>,
    cost_price: Option<Money>,
    discount_price: Option<Option<Money>>,
    currency: Option<String>,
    is_active: Option<bool>,
    effective_from: Option<Option<DateTime<Utc>>>,
    effective_until: Option<Option<DateTime<Utc>>>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = PriceChange)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeBody {
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    selling_price: Option<Money>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    cost_price: Option<Money>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<Money>)]
    discount_price: Option<Option<Money>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    currency: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    is_active: Option<bool>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    requires_approval: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    effective_from: Option<Option<DateTime<Utc>>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    effective_until: Option<Option<DateTime<Utc>>>,
    change_reason: Option<String>,
    changed_by: Option<String>,
    notes: Option<String>,
}

impl From<ChangeBody> for PriceChange {
    fn from(body: ChangeBody) -> Self {
        Self {
            fields: ChangeFields {
                selling_price: body.selling_price,
                cost_price: body.cost_price,
                discount_price: body.discount_price,
                currency: body.currency,
                is_active: body.is_active,
                effective_from: body.effective_from,
                effective_until: body.effective_until,
            },
            requires_approval: body.requires_approval,
            author: Author { change_reason: body.change_reason, changed_by: body.changed_by, notes: body.notes },
        }
    }
}

impl PriceChange {
    /// The stored price with the given fields in place of its own.
    pub fn onto(self, stored: &Price) -> NewPrice {
        let fields = self.fields;
        NewPrice {
            inventory_id: stored.inventory_id,
            selling_price: fields.selling_price.unwrap_or(stored.selling_price),
            cost_price: Some(fields.cost_price.unwrap_or(stored.cost_price)),
            discount_price: fields.discount_price.unwrap_or(stored.discount_price),
            currency: fields.currency.unwrap_or_else(|| stored.currency.clone()),
            is_active: fields.is_active.unwrap_or(stored.is_active),
            requires_approval: false,
            effective_from: fields.effective_from.unwrap_or(stored.effective_from),
            effective_until: fields.effective_until.unwrap_or(stored.effective_until),
            author: self.author,
        }
    }
}

impl NewPrice {
    /// Checks every rule.
    pub fn check(self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        let price = self.selling_price;
        checks.require("selling_price", price >= Money::ZERO, "cannot be negative");
        checks.require("cost_price", self.cost_price.is_none_or(|cost| cost >= Money::ZERO), "cannot be negative");
        let discount = self.discount_price;
        checks.require("discount_price", discount.is_none_or(|it| it >= Money::ZERO), "cannot be negative");
        checks.require("discount_price", discount.is_none_or(|it| it < price), "is below selling_price");
        let currency = self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        checks.require("currency", currency, "is three capital letters, such as JPY");
        let window = self.effective_from.zip(self.effective_until).is_none_or(|(from, until)| from < until);
        checks.require("effective_until", window, "is after effective_from");
        // Both engines hold and compare these years alike.
        for (field, at) in [("effective_from", self.effective_from), ("effective_until", self.effective_until)] {
            let holds = at.is_none_or(|at| (1970..=9999).contains(&at.year()));
            checks.require(field, holds, "is from the year 1970 to 9999");
        }
        self.author.note(&mut checks);
        checks.done().map(|()| self)
    }
}
