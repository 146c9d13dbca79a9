//! What a list of jobs is narrowed and sorted by, as constant fragments of SQL.

use serde::Deserialize;
use serde_json::json;

use crate::db::{Db, Sql, containing};
use crate::feeds::matching::fold::{asked, fold, words};
use crate::feeds::matching::place::{Point, chord};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[schema(as = JobSort)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    Id,
    Title,
    CompanyName,
    SalaryMin,
    SalaryMax,
    BasicScore,
    SeoScore,
    PersonalizedScore,
    CombinedScore,
    CreatedAt,
    #[default]
    UpdatedAt,
    ExpiresAt,
    /// From the point of a search; without one, as `combined_score`.
    Distance,
}

/// Checked conditions; empty ones do not narrow.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    pub keyword: Option<String>,
    /// Part of the location, the prefecture or the city.
    pub location: Option<String>,
    /// Jobs that pay at least this at the top of their range.
    pub salary_min: Option<i64>,
    /// Jobs that begin at no more than this.
    pub salary_max: Option<i64>,
    pub occupation_categories: Vec<String>,
    pub needs_categories: Vec<String>,
    pub status: Option<&'static str>,
    pub prefecture: Option<String>,
    pub city: Option<String>,
    pub station: Option<String>,
    /// The point, and the radius around it in metres on the ground.
    pub around: Option<(Point, f64)>,
    pub sort_by: SortBy,
    pub descending: bool,
}

impl Narrowing {
    /// By everything, and first by the index of letters and bigrams: whatever contains a text has those of it, which leaves
    /// few jobs to compare.
    pub fn narrow(&self, db: &Db, sql: Sql) -> Sql {
        let sql = self.compare(db, sql);
        let sql = having(db, sql, &asked(&fold(self.location.as_deref().unwrap_or_default())));
        having(db, sql, &asked(&fold(self.keyword.as_deref().unwrap_or_default())))
    }

    /// The same jobs, compared one by one.
    pub fn compare(&self, db: &Db, mut sql: Sql) -> Sql {
        sql = match self.status {
            Some(status) => sql.filter("status = ?", status),
            None => sql.filter_by("status <> 'deleted'"),
        };
        let has_list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
        sql = sql
            .filter_in("occupation_category", &self.occupation_categories)
            .filter_some(
                db.by_engine(
                    "EXISTS (SELECT 1 FROM json_each(needs_categories) AS has JOIN json_each(?) AS wants \
                     ON has.value = wants.value)",
                    "jsonb_exists_any(needs_categories, ARRAY(SELECT jsonb_array_elements_text(?)))",
                ),
                has_list(&self.needs_categories),
            )
            .filter_some("coalesce(salary_max, salary_min) >= ?", self.salary_min)
            .filter_some("coalesce(salary_min, salary_max) <= ?", self.salary_max)
            .filter_some("prefecture = ?", self.prefecture.as_deref())
            .filter_some("city = ?", self.city.as_deref())
            .filter_some("(nearest_station = ? OR nearest_station = ? || '駅')", self.station.as_deref())
            .filter_some(
                db.by_engine(
                    "(location LIKE ? ESCAPE '\\' OR prefecture LIKE ? ESCAPE '\\' OR city LIKE ? ESCAPE '\\')",
                    "(location ILIKE ? ESCAPE '\\' OR prefecture ILIKE ? ESCAPE '\\' OR city ILIKE ? ESCAPE '\\')",
                ),
                self.location.as_deref().map(containing),
            );
        if let Some((point, radius_m)) = self.around {
            let reach = chord(radius_m) + 1;
            sql = sql.filter("geo_x >= ?", point.x - reach).filter("geo_x <= ?", point.x + reach);
            sql = sql.filter("geo_y >= ?", point.y - reach).filter("geo_y <= ?", point.y + reach);
            sql = sql.push(" AND ");
            sql = squared(sql, point).push(" <= ").bind(reach * reach);
        }
        let keyword = fold(self.keyword.as_deref().unwrap_or_default());
        for word in words(&keyword) {
            sql = sql.filter("search_text LIKE ? ESCAPE '\\'", containing(word));
        }
        // Nothing but signs is looked for as it is.
        let signs = (!keyword.is_empty() && words(&keyword).next().is_none()).then(|| containing(&keyword));
        sql.filter_some("search_text LIKE ? ESCAPE '\\'", signs)
    }

    /// Whether hits are compared or measured one by one, so that not all of them are counted.
    pub fn is_search(&self) -> bool {
        self.keyword.is_some() || self.around.is_some()
    }

    /// Whether the distance is what it is sorted by, which no index has.
    pub fn by_distance(&self) -> bool {
        self.sort_by == SortBy::Distance && self.around.is_some()
    }

    /// The same search in the smaller circle that should hold `wanted` of its `total`, when the nearest are wanted.
    pub fn nearer(&self, wanted: i64, total: i64) -> Option<Self> {
        let (point, radius_m) = self.around.filter(|_| self.by_distance() && !self.descending)?;
        // Four times what an even spread would need.
        let share = (4.0 * wanted as f64 / total.max(1) as f64).sqrt();
        (share < 0.7).then(|| Self { around: Some((point, radius_m * share)), ..self.clone() })
    }

    pub fn order(&self, sql: Sql) -> Sql {
        if let (SortBy::Distance, Some((point, _))) = (self.sort_by, self.around) {
            return squared(sql.push(" ORDER BY "), point).push(if self.descending {
                " DESC, id DESC"
            } else {
                ", id"
            });
        }
        sql.push(match (self.sort_by, self.descending) {
            (SortBy::Id, false) => " ORDER BY id",
            (SortBy::Id, true) => " ORDER BY id DESC",
            (SortBy::Title, false) => " ORDER BY title, id",
            (SortBy::Title, true) => " ORDER BY title DESC, id DESC",
            (SortBy::CompanyName, false) => " ORDER BY company_name, id",
            (SortBy::CompanyName, true) => " ORDER BY company_name DESC, id DESC",
            (SortBy::SalaryMin, false) => " ORDER BY salary_min NULLS LAST, id",
            (SortBy::SalaryMin, true) => " ORDER BY salary_min DESC NULLS LAST, id DESC",
            (SortBy::SalaryMax, false) => " ORDER BY salary_max NULLS LAST, id",
            (SortBy::SalaryMax, true) => " ORDER BY salary_max DESC NULLS LAST, id DESC",
            (SortBy::BasicScore, false) => " ORDER BY basic_score, id",
            (SortBy::BasicScore, true) => " ORDER BY basic_score DESC, id DESC",
            (SortBy::SeoScore, false) => " ORDER BY seo_score, id",
            (SortBy::SeoScore, true) => " ORDER BY seo_score DESC, id DESC",
            (SortBy::PersonalizedScore, false) => " ORDER BY personalized_score, id",
            (SortBy::PersonalizedScore, true) => " ORDER BY personalized_score DESC, id DESC",
            (SortBy::CombinedScore | SortBy::Distance, false) => " ORDER BY combined_score, id",
            (SortBy::CombinedScore | SortBy::Distance, true) => " ORDER BY combined_score DESC, id DESC",
            (SortBy::CreatedAt, false) => " ORDER BY created_at, id",
            (SortBy::CreatedAt, true) => " ORDER BY created_at DESC, id DESC",
            (SortBy::UpdatedAt, false) => " ORDER BY updated_at, id",
            (SortBy::UpdatedAt, true) => " ORDER BY updated_at DESC, id DESC",
            (SortBy::ExpiresAt, false) => " ORDER BY expires_at NULLS LAST, id",
            (SortBy::ExpiresAt, true) => " ORDER BY expires_at DESC NULLS LAST, id DESC",
        })
    }
}

/// Narrows to the jobs that have all of these terms.
fn having(db: &Db, sql: Sql, terms: &str) -> Sql {
    if terms.is_empty() {
        return sql;
    }
    let quoted: Vec<String> = terms.split(' ').map(|term| format!("\"{term}\"")).collect();
    match db.engine() {
        "sqlite" => sql.filter("id IN (SELECT rowid FROM jobs_fts WHERE jobs_fts MATCH ?)", quoted.join(" AND ")),
        _ => sql.filter("job_terms(search_terms) @> job_terms(?)", terms),
    }
}

/// The square of the distance from `point`.
fn squared(sql: Sql, point: Point) -> Sql {
    let sql = sql.push("((geo_x - ").bind(point.x).push(") * (geo_x - ").bind(point.x);
    let sql = sql.push(") + (geo_y - ").bind(point.y).push(") * (geo_y - ").bind(point.y);
    sql.push(") + (geo_z - ").bind(point.z).push(") * (geo_z - ").bind(point.z).push("))")
}
