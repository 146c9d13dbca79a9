//! What a job may be. Every refusal names its field; all of them are told at once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::feeds::matching::given::{self, change};
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

change! {
    /// The body of PUT and PATCH: any subset of the fields.
    pub struct JobChange of NewJob {
        own { external_id: String, }
        set {
            company_name: String,
            title: String,
            description: String,
            features: Vec<String>,
            occupation_category: Occupation,
            needs_categories: Vec<String>,
            status: Status,
        }
        clear {
            salary_min: i64,
            salary_max: i64,
            location: String,
            prefecture: String,
            city: String,
            nearest_station: String,
            latitude: f64,
            longitude: f64,
            work_hours: String,
            work_days: String,
            url: String,
            application_url: String,
            expires_at: DateTime<Utc>,
        }
    }
}

impl JobChange {
    /// The stored job with the given fields in place of its own.
    pub fn onto(self, stored: &Job) -> NewJob {
        let mut old = stored.as_new();
        // A place that was found from names is found anew when the names change.
        if self.prefecture.is_some() || self.nearest_station.is_some() {
            (old.latitude, old.longitude) = (None, None);
        }
        self.over(old)
    }
}

impl NewJob {
    /// Trims what is to be, finds the place, and checks every rule.
    pub fn check(mut self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        self.external_id = given::external_id(&mut checks, self.external_id);
        self.company_name = checks.line("company_name", &self.company_name, 100).unwrap_or_default();
        checks.require("company_name", !self.company_name.is_empty(), "cannot be empty");
        self.title = checks.line("title", &self.title, 200).unwrap_or_default();
        checks.require("title", !self.title.is_empty(), "cannot be empty");
        self.description = checks.optional_text("description", Some(self.description), 20_000).unwrap_or_default();
        given::yen(&mut checks, "salary_min", self.salary_min);
        given::yen(&mut checks, "salary_max", self.salary_max);
        let ordered = self.salary_min.zip(self.salary_max).is_none_or(|(min, max)| min <= max);
        checks.require("salary_max", ordered, "cannot be below salary_min");
        self.location = checks.optional_line("location", self.location, 200);
        self.prefecture = given::prefecture(&mut checks, self.prefecture);
        self.city = checks.optional_line("city", self.city, 100);
        self.nearest_station = checks.optional_line("nearest_station", self.nearest_station, 100);
        self.work_hours = checks.optional_line("work_hours", self.work_hours, 200);
        self.work_days = checks.optional_line("work_days", self.work_days, 200);
        self.features = given::tags(&mut checks, "features", self.features);
        self.needs_categories = given::tags(&mut checks, "needs_categories", self.needs_categories);
        checks.require("status", self.status != Status::Deleted, "cannot be set to deleted; DELETE the job");
        for (field, url) in [("url", &self.url), ("application_url", &self.application_url)] {
            let is_web = |text: &String| {
                text.len() <= 2_000 && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
            };
            checks.require(field, url.as_ref().is_none_or(is_web), "is not an http or https URL");
        }
        let (station, prefecture) = (self.nearest_station.as_deref(), self.prefecture.as_deref());
        let found = given::point(&mut checks, (self.latitude, self.longitude), station, prefecture);
        (self.latitude, self.longitude) = found;
        checks.done().map(|()| self)
    }
}
