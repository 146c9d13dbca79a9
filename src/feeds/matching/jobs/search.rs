//! What a list of jobs is narrowed and sorted by, as constant fragments of SQL.

use serde::Deserialize;
use serde_json::json;

use crate::db::{Db, Sql};
use crate::feeds::matching::fold::{fold, terms, words};
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
    pub fn narrow(&self, db: &Db, mut sql: Sql) -> Sql {
        sql = match self.status {
            Some(status) => sql.filter("status = ?", status),
            None => sql.filter_by("status <> 'deleted'"),
        };
        let has_list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
        sql = sql
            .filter_some(
                db.by_engine(
                    "occupation_category IN (SELECT value FROM json_each(?))",
                    "occupation_category = ANY (ARRAY(SELECT jsonb_array_elements_text(?)))",
                ),
                has_list(&self.occupation_categories),
            )
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
        // Whatever contains it has its bigrams: the index leaves few to compare.
        sql = having(db, sql, &terms(&fold(self.location.as_deref().unwrap_or_default())));
        if let Some((point, radius_m)) = self.around {
            let reach = chord(radius_m) + 1;
            sql = sql.filter("geo_x >= ?", point.x - reach).filter("geo_x <= ?", point.x + reach);
            sql = sql.filter("geo_y >= ?", point.y - reach).filter("geo_y <= ?", point.y + reach);
            sql = sql.push(" AND ");
            sql = squared(sql, point).push(" <= ").bind(reach * reach);
        }
        self.text(db, sql)
    }

    /// Each word must be there: its bigrams by the index, then itself in the text.
    fn text(&self, db: &Db, mut sql: Sql) -> Sql {
        let folded = fold(self.keyword.as_deref().unwrap_or_default());
        sql = having(db, sql, &terms(&folded));
        for word in words(&folded) {
            sql = sql.filter("search_text LIKE ? ESCAPE '\\'", containing(word));
        }
        sql
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

/// Narrows to the jobs that have all of these bigrams.
fn having(db: &Db, sql: Sql, grams: &str) -> Sql {
    if grams.is_empty() {
        return sql;
    }
    let quoted: Vec<String> = grams.split(' ').map(|gram| format!("\"{gram}\"")).collect();
    match db.engine() {
        "sqlite" => sql.filter("id IN (SELECT rowid FROM jobs_fts WHERE jobs_fts MATCH ?)", quoted.join(" AND ")),
        _ => sql.filter("string_to_array(search_terms, ' ') @> string_to_array(?, ' ')", grams),
    }
}

/// The square of the distance from `point`.
fn squared(sql: Sql, point: Point) -> Sql {
    let sql = sql.push("((geo_x - ").bind(point.x).push(") * (geo_x - ").bind(point.x);
    let sql = sql.push(") + (geo_y - ").bind(point.y).push(") * (geo_y - ").bind(point.y);
    sql.push(") + (geo_z - ").bind(point.z).push(") * (geo_z - ").bind(point.z).push("))")
}

/// A LIKE pattern for text that may itself have the pattern's signs in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}
