//! Users, their profiles, and what they did with jobs.

pub mod routes;
pub(super) mod sql;
mod validate;

use chrono::{DateTime, Utc};
use serde::Deserialize;

pub use self::sql::{Behavior, ListQuery, User};
pub use self::validate::{Day, Experience, Language, NewUser, Profile, Slot, UserChange, UserStatus, WorkPreferences};
use super::Matching;
use super::jobs;
use crate::feeds::failure::Failure;
use crate::feeds::page::{Page, PageRequest};
use crate::http::{FieldError, Problem};

/// What a user did with a job.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BehaviorAction {
    View,
    Click,
    Save,
    Apply,
    Dismiss,
}

impl BehaviorAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Click => "click",
            Self::Save => "save",
            Self::Apply => "apply",
            Self::Dismiss => "dismiss",
        }
    }
}

impl User {
    /// The fields that a caller sets.
    pub fn as_new(&self) -> NewUser {
        NewUser {
            external_id: Some(self.external_id.clone()),
            email: self.email.clone(),
            name: self.name.clone(),
            language: if self.language == "en" { Language::En } else { Language::Ja },
            prefecture: self.prefecture.clone(),
            city: self.city.clone(),
            latitude: self.latitude,
            longitude: self.longitude,
            status: if self.status == "inactive" { UserStatus::Inactive } else { UserStatus::Active },
            email_opt_in: self.email_opt_in,
            profile: self.profile(),
        }
    }
}

impl Matching {
    pub async fn create_user(&self, new: NewUser) -> Result<User, Failure> {
        let checked = new.check().map_err(Problem::invalid)?;
        let mut tx = self.0.db.begin().await?;
        let inserted = sql::insert(&mut tx, std::slice::from_ref(&checked), self.now()).await?;
        let Some(inserted) = inserted.first() else { return Err(taken().into()) };
        tx.commit().await?;
        self.user(inserted.id).await
    }

    pub async fn user(&self, id: i64) -> Result<User, Failure> {
        sql::find(&self.0.db, id).await?.ok_or_else(|| missing(id).into())
    }

    pub async fn users(&self, query: &ListQuery, page: PageRequest) -> Result<Page<User>, Failure> {
        let (users, total) = sql::list(&self.0.db, &self.0.totals, query, page).await?;
        Ok(Page::new(users, page, total))
    }

    /// Changes the fields that are given.
    pub async fn update_user(&self, id: i64, change: UserChange) -> Result<User, Failure> {
        let mut tx = self.0.db.begin().await?;
        let stored = sql::lock(&mut tx, id).await?.ok_or_else(|| missing(id))?;
        let checked = change.onto(&stored).check().map_err(Problem::invalid)?;
        match sql::update(&mut tx, id, &checked, self.now()).await {
            Err(error) if error.is_unique_violation() => return Err(taken().into()),
            result => result?,
        }
        tx.commit().await?;
        self.user(id).await
    }

    pub async fn delete_user(&self, id: i64) -> Result<(), Failure> {
        let mut tx = self.0.db.begin().await?;
        let found = sql::delete(&mut tx, id, self.now()).await?;
        tx.commit().await?;
        if found { Ok(()) } else { Err(missing(id).into()) }
    }

    /// Notes what a user did, now or at an earlier time.
    pub async fn log_behavior(
        &self,
        user_id: i64,
        job_id: i64,
        action: BehaviorAction,
        at: Option<DateTime<Utc>>,
    ) -> Result<Behavior, Failure> {
        self.user(user_id).await?;
        let now = self.now();
        let at = at.unwrap_or(now);
        if at > now || at < now - chrono::TimeDelta::days(i64::from(self.0.options.keep_days)) {
            return Err(Problem::invalid(vec![FieldError::new("at", "is not within the time that is kept")]).into());
        }
        if jobs::sql::find(&self.0.db, job_id).await?.is_none() {
            return Err(Problem::invalid(vec![FieldError::new("job_id", "does not exist")]).into());
        }
        let mut tx = self.0.db.begin().await?;
        let behavior = sql::log(&mut tx, user_id, job_id, action.as_str(), at).await?;
        tx.commit().await?;
        Ok(behavior)
    }

    pub async fn behavior(&self, user_id: i64, page: PageRequest) -> Result<Page<Behavior>, Failure> {
        self.user(user_id).await?;
        let (logs, total) = sql::logs(&self.0.db, user_id, page).await?;
        Ok(Page::new(logs, page, total))
    }
}

fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no user {id}"))
}

fn taken() -> Problem {
    Problem::conflict("a user with this external id or address exists already").with_field("email", "may be taken")
}
