//! Jobs: the rule of every write. validate → row → scoring queued → commit; scores follow in the background.

pub mod routes;
pub mod score;
mod search;
pub(super) mod sql;
mod validate;

use serde::{Deserialize, Serialize};

pub use self::search::{Narrowing, SortBy};
pub use self::sql::Job;
pub use self::validate::{JobChange, NewJob, Occupation, Status};
use super::{Matching, SCORING_TOPIC};
use crate::db::DbError;
use crate::feeds::failure::Failure;
use crate::feeds::page::{Page, PageRequest};
use crate::http::Problem;
use crate::queue::{self, Item, Outcome};

/// Jobs to be scored: by name, because the ids of imports that run at the same time are mixed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToScore {
    pub ids: Vec<i64>,
}

/// What an action says for a job; dismissing says no.
pub(super) fn action_weight(action: &str) -> f64 {
    match action {
        "view" => 1.0,
        "click" => 2.0,
        "save" => 4.0,
        "apply" => 8.0,
        "dismiss" => -4.0,
        _ => 0.0,
    }
}

impl Job {
    /// The fields that a caller sets.
    pub fn as_new(&self) -> NewJob {
        let list = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap_or_default();
        let status = [Status::Draft, Status::Active, Status::Paused, Status::Expired]
            .into_iter()
            .find(|status| status.as_str() == self.status);
        NewJob {
            external_id: Some(self.external_id.clone()),
            company_name: self.company_name.clone(),
            title: self.title.clone(),
            description: self.description.clone(),
            salary_min: self.salary_min,
            salary_max: self.salary_max,
            location: self.location.clone(),
            prefecture: self.prefecture.clone(),
            city: self.city.clone(),
            nearest_station: self.nearest_station.clone(),
            latitude: self.latitude,
            longitude: self.longitude,
            work_hours: self.work_hours.clone(),
            work_days: self.work_days.clone(),
            features: list(&self.features),
            occupation_category: Occupation::parse(&self.occupation_category).unwrap_or(Occupation::Other),
            needs_categories: list(&self.needs_categories),
            status: status.unwrap_or(Status::Deleted),
            url: self.url.clone(),
            application_url: self.application_url.clone(),
            expires_at: self.expires_at,
        }
    }
}

impl Matching {
    pub async fn create_job(&self, new: NewJob) -> Result<Job, Failure> {
        let checked = new.check().map_err(Problem::invalid)?;
        let mut tx = self.0.db.begin().await?;
        let inserted = sql::insert(&mut tx, std::slice::from_ref(&checked), self.now()).await?;
        let Some(job) = inserted.into_iter().next() else { return Err(taken(&checked).into()) };
        self.queue_scoring(&mut tx, vec![job.id]).await?;
        self.0.outbox.commit(tx).await?;
        Ok(job)
    }

    pub async fn job(&self, id: i64) -> Result<Job, Failure> {
        sql::find(&self.0.db, id).await?.ok_or_else(|| missing(id).into())
    }

    pub async fn jobs(&self, query: &Narrowing, page: PageRequest) -> Result<Page<Job>, Failure> {
        let (jobs, total) = sql::list(&self.0.db, &self.0.totals, query, page).await?;
        Ok(Page::new(jobs, page, total))
    }

    /// Changes the fields that are given.
    pub async fn update_job(&self, id: i64, change: JobChange) -> Result<Job, Failure> {
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        let checked = change.onto(&stored).check().map_err(Problem::invalid)?;
        let job = match sql::update(&mut tx, id, &checked, self.now()).await {
            Err(error) if error.is_unique_violation() => return Err(taken(&checked).into()),
            result => result?,
        };
        self.queue_scoring(&mut tx, vec![id]).await?;
        self.0.outbox.commit(tx).await?;
        Ok(job)
    }

    pub async fn delete_job(&self, id: i64) -> Result<(), Failure> {
        if sql::delete(&self.0.db, id, self.now()).await? { Ok(()) } else { Err(missing(id).into()) }
    }

    /// Scores one job now and answers it.
    pub async fn score_job(&self, id: i64) -> Result<Job, Failure> {
        self.job(id).await?;
        self.score(sql::some(&self.0.db, &[id]).await?).await?;
        self.job(id).await
    }

    pub(super) async fn queue_scoring(&self, tx: &mut crate::db::Tx, ids: Vec<i64>) -> Result<(), DbError> {
        queue::push(tx, SCORING_TOPIC, &ToScore { ids }, self.now()).await
    }

    pub(super) async fn score_range(&self, first_id: i64, last_id: i64) -> Result<(), DbError> {
        self.score(sql::range(&self.0.db, first_id, last_id).await?).await
    }

    /// Computes and stores scores; the same input gives the same scores however often. `jobs` are in order of id.
    async fn score(&self, jobs: Vec<Job>) -> Result<(), DbError> {
        let db = &self.0.db;
        let (Some(first), Some(last)) = (jobs.first(), jobs.last()) else { return Ok(()) };
        let weights = sql::weights(db, first.id, last.id, self.now()).await?;
        let scores: Vec<_> = jobs
            .iter()
            .map(|job| {
                let weight = weights.binary_search_by_key(&job.id, |(id, _)| *id).map_or(0.0, |at| weights[at].1);
                let new = job.as_new();
                (job.id, score::basic(&new), score::seo(&new), score::popularity(weight))
            })
            .collect();
        let mut tx = db.begin().await?;
        sql::set_scores(&mut tx, &scores).await?;
        tx.commit().await
    }

    pub(super) async fn handle_scoring(&self, item: &Item) -> Outcome {
        let ids = match item.parse::<ToScore>() {
            Ok(todo) => todo.ids,
            Err(outcome) => return outcome,
        };
        let scored = async { self.score(sql::some(&self.0.db, &ids).await?).await };
        match scored.await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no job {id}"))
}

fn taken(job: &NewJob) -> Problem {
    let id = job.external_id.as_deref().unwrap_or_default();
    Problem::conflict(format!("a job with the external id {id} exists already")).with_field("external_id", "is taken")
}
