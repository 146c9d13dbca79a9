//! What a user and a profile may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::User;
use crate::feeds::body::{not_null, nullable};
use crate::feeds::matching::jobs::{Occupation, check_point, tags};
use crate::feeds::matching::place::{self, prefecture_name};
use crate::feeds::text::Checks;
use crate::http::FieldError;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    Ja,
    En,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    #[default]
    Active,
    Inactive,
}

/// The body of a create, and a whole user before it is stored.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What the source calls the user; made here when it is not given.
    pub external_id: Option<String>,
    pub email: String,
    #[serde(default)]
    pub name: String,
    /// The language of mails.
    #[serde(default)]
    pub language: Language,
    /// Home.
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    #[serde(default)]
    pub status: UserStatus,
    #[serde(default = "yes")]
    pub email_opt_in: bool,
    #[serde(default)]
    pub profile: Profile,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    pub work_preferences: WorkPreferences,
    pub experience: Experience,
    #[schema(value_type = Object)]
    pub personal_info: Map<String, Value>,
}

/// What the user is looking for; empty says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkPreferences {
    pub occupation_categories: Vec<Occupation>,
    /// Where; the home's prefecture when empty.
    pub prefectures: Vec<String>,
    pub cities: Vec<String>,
    /// Yen an hour; from 50,000 on it is taken for yen a month.
    pub salary_min: Option<i64>,
    pub needs_categories: Vec<String>,
    pub work_days: Vec<Day>,
    pub time_slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// From 5, 11, 17 and 22 o'clock on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    Morning,
    Day,
    Evening,
    Night,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Experience {
    /// Years by occupation.
    pub years: BTreeMap<String, u32>,
}

/// The body of PUT and PATCH: any subset of the fields; a profile is replaced as a whole.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserChange {
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub external_id: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub email: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub language: Option<Language>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub prefecture: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub city: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    pub latitude: Option<Option<f64>>,
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    pub longitude: Option<Option<f64>>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub status: Option<UserStatus>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub email_opt_in: Option<bool>,
    #[serde(deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub profile: Option<Profile>,
}

impl UserChange {
    /// The stored user with the given fields in place of its own.
    pub fn onto(self, stored: &User) -> NewUser {
        let point = if self.prefecture.is_some() { (None, None) } else { (stored.latitude, stored.longitude) };
        let language = if stored.language == "en" { Language::En } else { Language::Ja };
        let status = if stored.status == "inactive" { UserStatus::Inactive } else { UserStatus::Active };
        NewUser {
            external_id: self.external_id.or_else(|| Some(stored.external_id.clone())),
            email: self.email.unwrap_or_else(|| stored.email.clone()),
            name: self.name.unwrap_or_else(|| stored.name.clone()),
            language: self.language.unwrap_or(language),
            prefecture: self.prefecture.unwrap_or_else(|| stored.prefecture.clone()),
            city: self.city.unwrap_or_else(|| stored.city.clone()),
            latitude: self.latitude.unwrap_or(point.0),
            longitude: self.longitude.unwrap_or(point.1),
            status: self.status.unwrap_or(status),
            email_opt_in: self.email_opt_in.unwrap_or(stored.email_opt_in),
            profile: self.profile.unwrap_or_else(|| stored.profile()),
        }
    }
}

impl NewUser {
    /// Trims what is to be, finds the place, and checks every rule.
    pub fn check(mut self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        let id = self.external_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let id = checks.line("external_id", &id, 100).unwrap_or_default();
        checks.require("external_id", !id.is_empty(), "cannot be empty");
        self.external_id = Some(id);
        self.email = self.email.trim().to_lowercase();
        checks.require("email", is_address(&self.email), "is not a mail address");
        self.name = checks.line("name", &self.name, 100).unwrap_or_default();
        self.city = checks.optional_line("city", self.city, 100);
        if let Some(given) = &self.prefecture {
            let name = prefecture_name(given.trim());
            checks.require("prefecture", name.is_some(), "is none of the 47 prefectures");
            self.prefecture = name.map(str::to_owned);
        }
        if self.latitude.is_none() && self.longitude.is_none() {
            (self.latitude, self.longitude) = place::locate(None, self.prefecture.as_deref()).unzip();
        }
        check_point(&mut checks, self.latitude, self.longitude);
        self.profile.check(&mut checks);
        checks.done().map(|()| self)
    }
}

impl Profile {
    fn check(&mut self, checks: &mut Checks) {
        let wants = &mut self.work_preferences;
        let yen = wants.salary_min.is_none_or(|yen| (0..=1_000_000_000).contains(&yen));
        checks.require("profile.work_preferences.salary_min", yen, "is from 0 to 1000000000");
        let field = "profile.work_preferences.needs_categories";
        wants.needs_categories = tags(checks, field, std::mem::take(&mut wants.needs_categories));
        let field = "profile.work_preferences.cities";
        wants.cities = tags(checks, field, std::mem::take(&mut wants.cities));
        for name in &mut wants.prefectures {
            let known = prefecture_name(name.trim());
            checks.require("profile.work_preferences.prefectures", known.is_some(), "has one that does not exist");
            *name = known.unwrap_or_default().to_owned();
        }
        let known = self.experience.years.keys().all(|name| Occupation::parse(name).is_some());
        checks.require("profile.experience.years", known, "has an occupation that does not exist");
        let length = Value::Object(self.personal_info.clone()).to_string().len();
        checks.require("profile.personal_info", length <= 20_000, "is longer than 20000 bytes");
    }
}

/// Something before and after one `@`, in plain ASCII without spaces; the mail server decides the rest.
fn is_address(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',' | ';' | '(' | ')' | '\\');
    text.len() <= 254
        && text.chars().all(sign)
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.starts_with('.')
        })
}
