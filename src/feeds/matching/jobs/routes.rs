//! `/api/v2/jobs`.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Job, JobChange, Narrowing, NewJob, Occupation, SortBy, Status};
use crate::feeds::failure::Failure;
use crate::feeds::matching::Matching;
use crate::feeds::matching::given::{self, check_point};
use crate::feeds::matching::place::Point;
use crate::feeds::page::{PageRequest, Pagination};
use crate::feeds::text::Checks;
use crate::http::{FieldError, Json, Path, Problem, Query};

/// Every parameter of the list. Lists of categories are by comma.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    page: Option<i64>,
    limit: Option<i64>,
    keyword: Option<String>,
    location: Option<String>,
    salary_min: Option<i64>,
    salary_max: Option<i64>,
    occupation_categories: Option<String>,
    needs_categories: Option<String>,
    #[param(inline)]
    status: Option<Status>,
    #[param(inline)]
    sort_by: Option<SortBy>,
    #[param(inline)]
    sort_order: Option<SortOrder>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    Asc,
    Desc,
}

/// The body of a search: everything of the list, and places.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = JobSearch)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    page: Option<i64>,
    limit: Option<i64>,
    #[serde(alias = "query", alias = "q")]
    keyword: Option<String>,
    location: Option<String>,
    salary_min: Option<i64>,
    salary_max: Option<i64>,
    occupation_categories: Vec<Occupation>,
    needs_categories: Vec<String>,
    status: Option<Status>,
    prefecture: Option<String>,
    city: Option<String>,
    #[serde(alias = "nearest_station")]
    station: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    radius_km: Option<f64>,
    sort_by: Option<SortBy>,
    sort_order: Option<SortOrder>,
}

/// `{jobs, pagination}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Jobs {
    jobs: Vec<Job>,
    pagination: Pagination,
}

#[utoipa::path(post, path = "/api/v2/jobs", tag = "jobs", request_body = NewJob, responses((status = 201, description = "Made", body = Job)))]
pub async fn create(State(matching): State<Matching>, Json(new): Json<NewJob>) -> Result<Response, Failure> {
    let job = matching.create_job(new).await?;
    let mut response = (StatusCode::CREATED, Json(&job)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v2/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/api/v2/jobs", tag = "jobs", params(ListParameters), responses((status = 200, description = "Found", body = Jobs)))]
pub async fn list(
    State(matching): State<Matching>,
    Query(given): Query<ListParameters>,
) -> Result<Json<Jobs>, Failure> {
    let by_comma = |text: Option<String>| -> Vec<String> {
        let text = text.unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let mut occupations = Vec::new();
    for name in by_comma(given.occupation_categories) {
        let known = Occupation::parse(&name).ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("occupation_categories", "has a category that does not exist")])
        })?;
        occupations.push(known);
    }
    let search = Search {
        page: given.page,
        limit: given.limit,
        keyword: given.keyword,
        location: given.location,
        salary_min: given.salary_min,
        salary_max: given.salary_max,
        occupation_categories: occupations,
        needs_categories: by_comma(given.needs_categories),
        status: given.status,
        sort_by: given.sort_by,
        sort_order: given.sort_order,
        ..Search::default()
    };
    found(&matching, search).await
}

#[utoipa::path(post, path = "/api/v2/jobs/search", tag = "jobs", request_body = Search, responses((status = 200, description = "Found", body = Jobs)))]
pub async fn search(State(matching): State<Matching>, Json(search): Json<Search>) -> Result<Json<Jobs>, Failure> {
    found(&matching, search).await
}

async fn found(matching: &Matching, search: Search) -> Result<Json<Jobs>, Failure> {
    let page = PageRequest::new(search.page, search.limit).map_err(Problem::invalid)?;
    let query = search.check().map_err(Problem::invalid)?;
    let page = matching.jobs(&query, page).await?;
    Ok(Json(Jobs { jobs: page.items, pagination: page.pagination }))
}

impl Search {
    fn check(self) -> Result<Narrowing, Vec<FieldError>> {
        let mut checks = Checks::default();
        for (field, text) in
            [("keyword", &self.keyword), ("location", &self.location), ("city", &self.city), ("station", &self.station)]
        {
            checks.lookup(field, text.as_deref());
        }
        for tag in &self.needs_categories {
            checks.lookup("needs_categories", Some(tag));
        }
        let length = self.keyword.as_deref().map_or(0, |text| text.chars().count());
        checks.require("keyword", length <= 100, "has more than 100 characters");
        checks.require("status", self.status != Some(Status::Deleted), "deleted jobs are not listed");
        checks.require("salary_min", self.salary_min.is_none_or(|yen| yen >= 0), "cannot be negative");
        checks.require("salary_max", self.salary_max.is_none_or(|yen| yen >= 0), "cannot be negative");
        check_point(&mut checks, self.latitude, self.longitude);
        let radius_km = self.radius_km.unwrap_or(10.0);
        checks.require("radius_km", radius_km > 0.0 && radius_km <= 20_000.0, "is above 0, up to 20000");
        checks.require(
            "radius_km",
            self.radius_km.is_none() || self.latitude.is_some(),
            "needs latitude and longitude",
        );
        let some = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let prefecture = given::prefecture(&mut checks, self.prefecture);
        checks.done()?;
        let point = self.latitude.zip(self.longitude).map(|(lat, lon)| Point::new(lat, lon));
        let sort_by = self.sort_by.unwrap_or_default();
        let ascending = Some(SortOrder::Asc);
        let nearest_first = sort_by == SortBy::Distance && self.sort_order.is_none();
        Ok(Narrowing {
            keyword: some(self.keyword),
            location: some(self.location),
            salary_min: self.salary_min,
            salary_max: self.salary_max,
            occupation_categories: self.occupation_categories.iter().map(|one| one.as_str().to_owned()).collect(),
            needs_categories: self.needs_categories,
            status: Some(self.status.unwrap_or_default().as_str()),
            prefecture,
            city: some(self.city),
            station: some(self.station).map(|name| name.strip_suffix('駅').map_or(name.clone(), str::to_owned)),
            around: point.map(|point| (point, radius_km * 1000.0)),
            sort_by,
            descending: self.sort_order != ascending && !nearest_first,
        })
    }
}

#[utoipa::path(get, path = "/api/v2/jobs/{id}", tag = "jobs", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Job)))]
pub async fn get(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Job>, Failure> {
    Ok(Json(matching.job(id).await?))
}

/// PUT and PATCH alike: the fields that are given.
#[utoipa::path(method(put, patch), path = "/api/v2/jobs/{id}", tag = "jobs", params(("id" = i64, Path)), request_body = JobChange, responses((status = 200, description = "Found", body = Job)))]
pub async fn update(
    State(matching): State<Matching>,
    Path(id): Path<i64>,
    Json(change): Json<JobChange>,
) -> Result<Json<Job>, Failure> {
    Ok(Json(matching.update_job(id, change).await?))
}

#[utoipa::path(delete, path = "/api/v2/jobs/{id}", tag = "jobs", params(("id" = i64, Path)), responses((status = 204, description = "Done")))]
pub async fn delete(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<StatusCode, Failure> {
    matching.delete_job(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Scores the job at once, for who does not want to wait for the background.
#[utoipa::path(post, path = "/api/v2/jobs/{id}/scoring", tag = "jobs", params(("id" = i64, Path)), responses((status = 200, description = "Found", body = Job)))]
pub async fn scoring(State(matching): State<Matching>, Path(id): Path<i64>) -> Result<Json<Job>, Failure> {
    Ok(Json(matching.score_job(id).await?))
}
