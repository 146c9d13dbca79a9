//! What a user and a profile may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::User;
use crate::feeds::matching::given::{self, change};
use crate::feeds::matching::jobs::Occupation;
use crate::feeds::matching::place::prefecture_name;
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

change! {
    /// The body of PUT and PATCH: any subset of the fields; a profile is replaced as a whole.
    pub struct UserChange of NewUser {
        own { external_id: String, }
        set {
            email: String,
            name: String,
            language: Language,
            status: UserStatus,
            email_opt_in: bool,
            profile: Profile,
        }
        clear {
            prefecture: String,
            city: String,
            latitude: f64,
            longitude: f64,
        }
    }
}

impl UserChange {
    /// The stored user with the given fields in place of its own.
    pub fn onto(self, stored: &User) -> NewUser {
        let mut old = stored.as_new();
        // The point of a home that moved is found anew.
        if self.prefecture.is_some() {
            (old.latitude, old.longitude) = (None, None);
        }
        self.over(old)
    }
}

impl NewUser {
    /// Trims what is to be, finds the place, and checks every rule.
    pub fn check(mut self) -> Result<Self, Vec<FieldError>> {
        let mut checks = Checks::default();
        self.external_id = given::external_id(&mut checks, self.external_id);
        self.email = self.email.trim().to_lowercase();
        checks.require("email", is_address(&self.email), "is not a mail address");
        self.name = checks.line("name", &self.name, 100).unwrap_or_default();
        self.city = checks.optional_line("city", self.city, 100);
        self.prefecture = given::prefecture(&mut checks, self.prefecture);
        let found = given::point(&mut checks, (self.latitude, self.longitude), None, self.prefecture.as_deref());
        (self.latitude, self.longitude) = found;
        self.profile.check(&mut checks);
        checks.done().map(|()| self)
    }
}

impl Profile {
    fn check(&mut self, checks: &mut Checks) {
        let wants = &mut self.work_preferences;
        given::yen(checks, "profile.work_preferences.salary_min", wants.salary_min);
        let field = "profile.work_preferences.needs_categories";
        wants.needs_categories = given::tags(checks, field, std::mem::take(&mut wants.needs_categories));
        let field = "profile.work_preferences.cities";
        wants.cities = given::tags(checks, field, std::mem::take(&mut wants.cities));
        let few = wants.prefectures.len() <= 50 && wants.occupation_categories.len() <= 50;
        checks.require("profile.work_preferences", few, "has a list of more than 50 entries");
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
