//! What a job may be. Every refusal names its field; all of them are told at once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::feeds::body::{not_null, nullable};
use crate::feeds::matching::place::{self, prefecture_name};
use crate::feeds::text::Checks;
use crate::http::FieldError;

/// What kind of work it is; the contract's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Occupation {
    Restaurant,
    Retail,
    Office,
    Logistics,
    Education,
    Medical,
    Construction,
    Manufacturing,
    It,
    Service,
    Creative,
    Other,
}

impl Occupation {
    pub const ALL: [Self; 12] = [
        Self::Restaurant,
        Self::Retail,
        Self::Office,
        Self::Logistics,
        Self::Education,
        Self::Medical,
        Self::Construction,
        Self::Manufacturing,
        Self::It,
        Self::Service,
        Self::Creative,
        Self::Other,
    ];
    const NAMES: [&'static str; 12] = [
        "restaurant",
        "retail",
        "office",
        "logistics",
        "education",
        "medical",
        "construction",
        "manufacturing",
        "it",
        "service",
        "creative",
        "other",
    ];

    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(|index| Self::ALL[index])
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = JobStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Draft,
    #[default]
    Active,
    Paused,
    Expired,
    Deleted,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }
}

/// The body of a create, and a whole job before it is stored.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// What the source calls it; made here when it is not given.
    pub external_id: Option<String>,
    pub company_name: String,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub salary_min: Option<i64>,
    pub salary_max: Option<i64>,
    pub location: Option<String>,
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub nearest_station: Option<String>,
    /// Degrees; found from the station or the prefecture when not given.
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub work_hours: Option<String>,
    pub work_days: Option<String>,
    #[serde(default)]
    pub features: Vec<String>,
    pub occupation_category: Occupation,
    #[serde(default)]
    pub needs_categories: Vec<String>,
    #[serde(default)]
    pub status: Status,
    pub url: Option<String>,
    pub application_url: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// The body of PUT and PATCH: any subset of the fields.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobChange {
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub external_id: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub company_name: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>)]
    pub salary_min: Option<Option<i64>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<i64>)]
    pub salary_max: Option<Option<i64>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub location: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub prefecture: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub city: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub nearest_station: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    pub latitude: Option<Option<f64>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    pub longitude: Option<Option<f64>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub work_hours: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub work_days: Option<Option<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub features: Option<Vec<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub occupation_category: Option<Occupation>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub needs_categories: Option<Vec<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub status: Option<Status>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub application_url: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

impl JobChange {
    /// The stored job with the given fields in place of its own.
    pub fn onto(self, stored: &Job) -> NewJob {
        let moved = self.prefecture.is_some() || self.nearest_station.is_some();
        let old = stored.as_new();
        // A place that was found from names is found anew when the names change.
        let (latitude, longitude) = if moved { (None, None) } else { (old.latitude, old.longitude) };
        NewJob {
            external_id: self.external_id.or(old.external_id),
            company_name: self.company_name.unwrap_or(old.company_name),
            title: self.title.unwrap_or(old.title),
            description: self.description.unwrap_or(old.description),
            salary_min: self.salary_min.unwrap_or(old.salary_min),
            salary_max: self.salary_max.unwrap_or(old.salary_max),
            location: self.location.unwrap_or(old.location),
            prefecture: self.prefecture.unwrap_or(old.prefecture),
            city: self.city.unwrap_or(old.city),
            nearest_station: self.nearest_station.unwrap_or(old.nearest_station),
            latitude: self.latitude.unwrap_or(latitude),
            longitude: self.longitude.unwrap_or(longitude),
            work_hours: self.work_hours.unwrap_or(old.work_hours),
            work_days: self.work_days.unwrap_or(old.work_days),
            features: self.features.unwrap_or(old.features),
            occupation_category: self.occupation_category.unwrap_or(old.occupation_category),
            needs_categories: self.needs_categories.unwrap_or(old.needs_categories),
            status: self.status.unwrap_or(old.status),
            url: self.url.unwrap_or(old.url),
            application_url: self.application_url.unwrap_or(old.application_url),
            expires_at: self.expires_at.unwrap_or(old.expires_at),
        }
    }
}

/// Yen; an amount beyond this is a slip of the keyboard.
const MAX_SALARY: i64 = 1_000_000_000;
const MAX_TAGS: usize = 50;

impl NewJob {
    /// Trims what is to be, finds the place, and checks every rule.
    pub fn check(mut self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        let id = self.external_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let id = checks.line("external_id", &id, 100).unwrap_or_default();
        checks.require("external_id", !id.is_empty(), "cannot be empty");
        self.external_id = Some(id);
        self.company_name = checks.line("company_name", &self.company_name, 100).unwrap_or_default();
        checks.require("company_name", !self.company_name.is_empty(), "cannot be empty");
        self.title = checks.line("title", &self.title, 200).unwrap_or_default();
        checks.require("title", !self.title.is_empty(), "cannot be empty");
        self.description = checks.optional_text("description", Some(self.description), 20_000).unwrap_or_default();
        for (field, yen) in [("salary_min", self.salary_min), ("salary_max", self.salary_max)] {
            checks.require(field, yen.is_none_or(|yen| (0..=MAX_SALARY).contains(&yen)), "is from 0 to 1000000000");
        }
        let ordered = self.salary_min.zip(self.salary_max).is_none_or(|(min, max)| min <= max);
        checks.require("salary_max", ordered, "cannot be below salary_min");
        self.location = checks.optional_line("location", self.location, 200);
        self.prefecture = checks.optional_line("prefecture", self.prefecture, 20);
        if let Some(given) = &self.prefecture {
            let name = prefecture_name(given);
            checks.require("prefecture", name.is_some(), "is none of the 47 prefectures");
            self.prefecture = name.map(str::to_owned);
        }
        self.city = checks.optional_line("city", self.city, 100);
        self.nearest_station = checks.optional_line("nearest_station", self.nearest_station, 100);
        self.work_hours = checks.optional_line("work_hours", self.work_hours, 200);
        self.work_days = checks.optional_line("work_days", self.work_days, 200);
        self.features = tags(&mut checks, "features", self.features);
        self.needs_categories = tags(&mut checks, "needs_categories", self.needs_categories);
        checks.require("status", self.status != Status::Deleted, "cannot be set to deleted; DELETE the job");
        for (field, url) in [("url", &self.url), ("application_url", &self.application_url)] {
            let is_web = |text: &String| {
                text.len() <= 2_000 && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
            };
            checks.require(field, url.as_ref().is_none_or(is_web), "is not an http or https URL");
        }
        if self.latitude.is_none() && self.longitude.is_none() {
            let found = place::locate(self.nearest_station.as_deref(), self.prefecture.as_deref());
            (self.latitude, self.longitude) = found.unzip();
        }
        check_point(&mut checks, self.latitude, self.longitude);
        checks.done().map(|()| self)
    }
}

pub fn check_point(checks: &mut Checks, latitude: Option<f64>, longitude: Option<f64>) {
    checks.require("latitude", latitude.is_none_or(|at| (-90.0..=90.0).contains(&at)), "is from -90 to 90");
    checks.require("longitude", longitude.is_none_or(|at| (-180.0..=180.0).contains(&at)), "is from -180 to 180");
    checks.require("longitude", latitude.is_some() == longitude.is_some(), "goes together with latitude");
}

/// Words without doubles, in the given order.
pub fn tags(checks: &mut Checks, field: &'static str, given: Vec<String>) -> Vec<String> {
    checks.require(field, given.len() <= MAX_TAGS, "has more than 50 entries");
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for tag in given.iter().take(MAX_TAGS) {
        let tag = checks.line(field, tag, 100).unwrap_or_default();
        if !tag.is_empty() && !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    kept
}
