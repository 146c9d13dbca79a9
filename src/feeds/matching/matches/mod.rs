//! Between rows and the engine: jobs into columns, users into people, and what was chosen into recommendations.

pub mod routes;
pub(super) mod sql;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

pub use self::sql::Recommendation;
use super::Matching;
use super::batch::Batch;
use super::engine::{
    Columns, JobInput, Match, NOWHERE, PARTS, PersonInput, Scratch, Section, days, explain, hourly, slots,
};
use super::jobs::{Occupation, action_weight};
use super::place::{Point, prefecture_index};
use super::users::{self, User};
use crate::db::{DbError, Tx};
use crate::feeds::MATCH_NOTIFICATIONS;
use crate::feeds::failure::Failure;
use crate::feeds::outbox::StageError;
use crate::http::Problem;

/// What was chosen for one user.
pub struct Chosen {
    pub user_id: i64,
    pub matches: Vec<Match>,
}

/// A job is new for so long.
const NEW: TimeDelta = TimeDelta::days(7);
/// So many matches are told on the stream; the rest is one request away.
const TOLD: usize = 10;

impl Matching {
    /// The best jobs of each active user of a range, as of the batch's beginning.
    pub(super) async fn match_range(&self, batch: &Batch, first: i64, last: i64) -> Result<Vec<Chosen>, Failure> {
        let columns = self.columns(batch.id, batch.created_at).await?;
        let people = self.people(first, last, batch.created_at).await?;
        // Minutes of arithmetic must not hold up the requests of other tasks.
        let computed = tokio::task::spawn_blocking(move || {
            let mut scratch = Scratch::default();
            let choose = |(user_id, person): (i64, PersonInput)| {
                let mut matches = Vec::new();
                columns.choose(&columns.person(&person), &mut scratch, &mut matches);
                Chosen { user_id, matches }
            };
            people.into_iter().map(choose).collect()
        });
        computed.await.map_err(|error| Problem::internal(error).into())
    }

    /// The jobs of a batch, read once a process, whoever asks first.
    async fn columns(&self, batch_id: i64, at: DateTime<Utc>) -> Result<Arc<Columns>, Failure> {
        let mut cached = self.0.columns.lock().await;
        if let Some((of, columns)) = &*cached
            && *of == batch_id
        {
            return Ok(columns.clone());
        }
        // Two generations at once would take twice the memory.
        *cached = None;
        let rows = sql::jobs(&self.0.db, at).await?;
        let needs = sql::needs(&self.0.db).await?;
        let built = tokio::task::spawn_blocking(move || {
            let needs: Vec<Vec<String>> = needs.into_iter().map(|row| list(row.needs)).collect();
            let jobs = rows.into_iter().map(|row| row.into_input(at)).collect();
            Columns::build(jobs, needs.iter().map(Vec::as_slice))
        });
        let columns = Arc::new(built.await.map_err(Problem::internal)?);
        *cached = Some((batch_id, columns.clone()));
        Ok(columns)
    }

    async fn people(&self, first: i64, last: i64, at: DateTime<Utc>) -> Result<Vec<(i64, PersonInput)>, DbError> {
        let users = users::sql::range(&self.0.db, first, last).await?;
        let mut done: HashMap<i64, Vec<sql::Done>> = HashMap::new();
        for row in sql::done(&self.0.db, first, last, at).await? {
            done.entry(row.user_id).or_default().push(row);
        }
        let person = |user: &User| person(user, done.get(&user.id).map_or(&[][..], Vec::as_slice), at);
        Ok(users.iter().map(|user| (user.id, person(user))).collect())
    }

    /// Tells the user, and only who subscribed for this user, of the new matches.
    pub(super) async fn notify(&self, tx: &mut Tx, batch_id: i64, chosen: &Chosen) -> Result<(), StageError> {
        if chosen.matches.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let message = json!({
            "message_type": "match_notification", "user_id": chosen.user_id, "batch_id": batch_id,
            "match_count": chosen.matches.len(), "matches": shown(&chosen.matches[..chosen.matches.len().min(TOLD)]),
            "timestamp": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        });
        let tags = vec![("user_id".into(), chosen.user_id.to_string())];
        self.0.outbox.stage(tx, MATCH_NOTIFICATIONS, &message, tags, now).await
    }

    pub async fn recommendation(&self, user_id: i64) -> Result<Recommendation, Failure> {
        self.user(user_id).await?;
        let found = sql::latest(&self.0.db, user_id).await?;
        found.ok_or_else(|| Problem::not_found(format!("no matches were computed for user {user_id} yet")).into())
    }

    /// The personalized score of one user and one job, with its components.
    pub async fn personalized(&self, user_id: i64, job_id: i64) -> Result<Value, Failure> {
        let (user, now) = (self.user(user_id).await?, self.now());
        let job = sql::job(&self.0.db, job_id).await?;
        let job = job.ok_or_else(|| Problem::not_found(format!("there is no job {job_id}")))?.into_input(now);
        let done = sql::done(&self.0.db, user_id, user_id, now).await?;
        let (basic, seo) = (job.basic, job.seo);
        let parts = explain(job, &person(&user, &done, now));
        let all: u32 = parts.iter().map(|part| u32::from(*part)).sum();
        let combined = 400 * u32::from(basic) + 300 * u32::from(seo) + 3 * all;
        Ok(json!({"user_id": user_id, "job_id": job_id, "basic_score": basic, "seo_score": seo,
            "personalized_score": f64::from(all) / 100.0, "combined_score": f64::from(combined) / 1000.0,
            "components": components(&parts)}))
    }
}

fn components(parts: &[u16; 7]) -> Value {
    PARTS.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), json!(f64::from(*part) / 100.0))).collect()
}

/// Matches as answers, messages and rows have them.
pub(super) fn shown(matches: &[Match]) -> Value {
    let show = |one: &Match| {
        json!({"job_id": one.job_id, "section": one.section.as_str(), "score": f64::from(one.combined) / 1000.0,
            "personalized_score": f64::from(one.personalized()) / 100.0, "components": components(&one.parts)})
    };
    matches.iter().map(show).collect()
}

/// Sections by name, in their order.
pub(super) fn sections() -> [&'static str; 6] {
    Section::ALL.map(Section::as_str)
}

fn list(value: Value) -> Vec<String> {
    serde_json::from_value(value).unwrap_or_default()
}

/// Cities of the same name in two prefectures are two cities.
fn city_key(prefecture: u8, city: &str) -> String {
    format!("{prefecture}/{city}")
}

fn index_of(prefecture: Option<&str>) -> u8 {
    prefecture.and_then(prefecture_index).map_or(NOWHERE, |index| index as u8)
}

impl sql::JobRow {
    fn into_input(self, at: DateTime<Utc>) -> JobInput {
        let prefecture = index_of(self.prefecture.as_deref());
        let point = self.geo_x.zip(self.geo_y).zip(self.geo_z).map(|((x, y), z)| Point { x, y, z });
        JobInput {
            id: self.id,
            company: self.company_name,
            occupation: Occupation::parse(&self.occupation_category).unwrap_or(Occupation::Other) as u8,
            prefecture,
            city: self.city.map(|city| city_key(prefecture, &city)),
            point,
            basic: self.basic_score.clamp(0, 100) as u8,
            seo: self.seo_score.clamp(0, 100) as u8,
            popularity: (self.personalized_score.clamp(0.0, 100.0) * 100.0).round() as u32,
            offer: self.salary.map_or(0, hourly),
            needs: list(self.needs_categories),
            days: days(self.work_days.as_deref().unwrap_or_default()),
            slots: slots(self.work_hours.as_deref().unwrap_or_default()),
            is_new: at - self.created_at < NEW,
        }
    }
}

fn person(user: &User, done: &[sql::Done], at: DateTime<Utc>) -> PersonInput {
    let profile = user.profile();
    let wants = &profile.work_preferences;
    let home = index_of(user.prefecture.as_deref());
    let mut prefectures: Vec<u8> = wants.prefectures.iter().map(|name| index_of(Some(name))).collect();
    if prefectures.is_empty() && home != NOWHERE {
        prefectures.push(home);
    }
    let cities: Vec<&String> =
        if wants.cities.is_empty() { user.city.iter().collect() } else { wants.cities.iter().collect() };
    let keys = prefectures.iter().flat_map(|prefecture| cities.iter().map(|city| city_key(*prefecture, city)));
    let mut behavior = [0.0; 12];
    let mut excluded = Vec::new();
    for row in done {
        let Some(occupation) = Occupation::parse(&row.occupation_category) else { continue };
        let age_days = (at - row.at).num_hours() as f64 / 24.0;
        behavior[occupation as usize] += action_weight(&row.action) * 0.5_f64.powf(age_days / 14.0);
        if ["apply", "dismiss"].contains(&row.action.as_str()) {
            excluded.push(row.job_id);
        }
    }
    let mut years = [0; 12];
    for (name, count) in &profile.experience.years {
        if let Some(occupation) = Occupation::parse(name) {
            years[occupation as usize] = *count.min(&60);
        }
    }
    PersonInput {
        occupations: wants.occupation_categories.iter().map(|one| *one as u8).collect(),
        cities: keys.collect(),
        prefectures,
        point: user.latitude.zip(user.longitude).map(|(lat, lon)| Point::new(lat, lon)),
        desired: wants.salary_min.map_or(0, hourly),
        needs: wants.needs_categories.clone(),
        days: wants.work_days.iter().fold(0, |mask, day| mask | 1 << *day as u8),
        slots: wants.time_slots.iter().fold(0, |mask, slot| mask | 1 << *slot as u8),
        years,
        behavior,
        excluded,
    }
}
