//! What is asked of InfluxDB, in its language.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

use crate::series::Range;

/// Aggregates of whole minutes and whole hours stand in buckets of their own.
pub fn minutes_of(bucket: &str) -> String {
    format!("{bucket}_1m")
}

pub fn hours_of(bucket: &str) -> String {
    format!("{bucket}_1h")
}

/// What is answered of each step, how points give it, and how rolled-up values give it. In the rolled-up buckets the
/// tag `agg` says which of them a value is.
const AGGREGATES: &[(&str, &str, &str)] = &[
    ("min", "min", "min"),
    ("max", "max", "max"),
    ("sum", "sum", "sum"),
    ("count", "count", "sum"),
    ("last", "last", "last"),
];

/// The five aggregates of each step, as five results.
pub fn range(bucket: &str, rolled: bool, range: &Range) -> String {
    let mut filter = format!("r._measurement == {} and r._field == {}", text(&range.measurement), text(&range.field));
    for (key, value) in &range.tags {
        let _ = match value.as_str() {
            "" => write!(filter, " and not exists r[{}]", text(key)),
            value => write!(filter, " and r[{}] == {}", text(key), text(value)),
        };
    }
    let time = |ns| DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Nanos, true);
    let (start, stop, bucket) = (time(range.from_ns), time(range.to_ns), text(bucket));
    // Series of different kinds cannot be one table before they are all numbers, and a table that was put together is
    // not in order.
    let mut flux = format!(
        "data = from(bucket: {bucket}) |> range(start: {start}, stop: {stop}) |> filter(fn: (r) => {filter})\n"
    );
    for (name, of_points, of_rolled) in AGGREGATES {
        let (chosen, aggregate) = match rolled {
            true => (format!(" |> filter(fn: (r) => r.agg == {})", text(name)), of_rolled),
            false => (String::new(), of_points),
        };
        let _ = writeln!(
            flux,
            "data{chosen} |> toFloat() |> group() |> sort(columns: [\"_time\"]) |> aggregateWindow(every: {}ns, fn: {aggregate}, \
             createEmpty: false, timeSrc: \"_start\") |> yield(name: {})",
            range.step_ns,
            text(name)
        );
    }
    flux
}

/// A task that rolls up, as often as `every`, what came in the last `back`. Points that come later than that stay out.
pub struct RollUp<'a> {
    pub name: String,
    pub from: &'a str,
    pub to: &'a str,
    pub org: &'a str,
    pub every: &'a str,
    pub back: &'a str,
    /// Whether `from` holds aggregates already.
    pub rolled: bool,
}

impl RollUp<'_> {
    pub fn flux(&self) -> String {
        let Self { name, from, to, org, every, back, rolled } = self;
        let (name, from, to, org) = (text(name), text(from), text(to), text(org));
        let mut flux = format!(
            "import \"types\"\n\
             option task = {{name: {name}, every: {every}, offset: 30s}}\n\
             data = from(bucket: {from}) |> range(start: -{back}) |> filter(fn: (r) => not types.isType(v: r._value, type: \"string\")) \
             |> toFloat()\n"
        );
        for (aggregate, of_points, of_rolled) in AGGREGATES {
            let (chosen, by) = match rolled {
                true => (format!(" |> filter(fn: (r) => r.agg == {})", text(aggregate)), of_rolled),
                false => (String::new(), of_points),
            };
            let _ = writeln!(
                flux,
                "data{chosen} |> aggregateWindow(every: {every}, fn: {by}, createEmpty: false, timeSrc: \"_start\") |> toFloat() \
                 |> set(key: \"agg\", value: {aggregate}) |> to(bucket: {to}, org: {org}) |> yield(name: {aggregate})",
                aggregate = text(aggregate)
            );
        }
        flux
    }
}

/// A text in quotes, in which nothing is code.
fn text(plain: &str) -> String {
    let mut out = String::from("\"");
    for c in plain.chars() {
        match c {
            '"' | '\\' | '$' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_input_is_code() {
        assert_eq!(text("a\"b\\c${d}\n"), r#""a\"b\\c\${d}\n""#);
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        let tags = BTreeMap::from([("sku".into(), "x\") |> drop()".into()), ("none".into(), "".into())]);
        let asked = Range::new("m", "v", tags, (at(60), at(180)), Some(Duration::from_secs(60))).unwrap();
        let flux = range("b", false, &asked);
        let first = "data = from(bucket: \"b\") |> range(start: 1970-01-01T00:01:00.000000000Z, stop: 1970-01-01T00:03:00.000000000Z) \
                     |> filter(fn: (r) => r._measurement == \"m\" and r._field == \"v\" and not exists r[\"none\"] \
                     and r[\"sku\"] == \"x\\\") |> drop()\")";
        assert_eq!(flux.lines().next(), Some(first));
        assert_eq!(flux.lines().count(), 6);
    }
}
