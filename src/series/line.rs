//! Line protocol, InfluxDB's way of writing points, with explicit nanoseconds.

use std::fmt::Write;

use super::{Point, Value};

/// Appends one line, its end included. The point has been checked.
pub fn encode(point: &Point, out: &mut String) {
    escape(point.measurement(), &[',', ' '], out);
    for (key, value) in point.tags() {
        out.push(',');
        escape(key, &[',', '=', ' '], out);
        out.push('=');
        escape(value, &[',', '=', ' '], out);
    }
    for (index, (key, value)) in point.fields().iter().enumerate() {
        out.push(if index == 0 { ' ' } else { ',' });
        escape(key, &[',', '=', ' '], out);
        out.push('=');
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Float(number) => write!(out, "{number}"),
            Value::Int(number) => write!(out, "{number}i"),
            Value::Uint(number) => write!(out, "{number}u"),
            Value::Bool(truth) => write!(out, "{truth}"),
            Value::Text(text) => {
                out.push('"');
                escape(text, &['"', '\\'], out);
                out.push('"');
                Ok(())
            }
        };
    }
    let _ = writeln!(out, " {}", point.at_ns());
}

/// The lines of several points.
pub fn encode_all(points: &[Point]) -> String {
    let mut out = String::with_capacity(points.len() * 96);
    points.iter().for_each(|point| encode(point, &mut out));
    out
}

/// Names hold neither line ends nor backslashes (`point::clean`); texts stand in quotes, where line ends are allowed.
fn escape(text: &str, special: &[char], out: &mut String) {
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use influxdb_line_protocol::{FieldValue, parse_lines};
    use proptest::prelude::*;

    use super::*;
    use crate::series::PointError;

    fn one(point: &Point) -> String {
        point.check().unwrap();
        encode_all(std::slice::from_ref(point))
    }

    fn at(ns: i64) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_nanos(ns)
    }

    #[test]
    fn a_point_is_a_line() {
        let point = Point::new("stock level", at(1_500))
            .tag("sku", "A-1, red=yes")
            .tag("category", "")
            .field("stock", -3_i64)
            .field("share", 0.5)
            .field("big", u64::MAX)
            .field("low", true)
            .field("note", "say \"hi\" \\ bye");
        let expected = "stock\\ level,sku=A-1\\,\\ red\\=yes big=18446744073709551615u,low=true,\
                        note=\"say \\\"hi\\\" \\\\ bye\",share=0.5,stock=-3i 1500\n";
        assert_eq!(one(&point), expected);
    }

    #[test]
    fn what_would_be_more_than_one_point_stays_one() {
        let point = Point::new("m\nevil", at(7)).tag("a", "x v=1\ninjected,b=c").tag("c", "tail\\").field("v", 1_i64);
        assert_eq!(one(&point), "m\\ evil,a=x\\ v\\=1\\ injected\\,b\\=c,c=tail/ v=1i 7\n");
    }

    #[test]
    fn what_no_store_would_take_is_refused() {
        let base = || Point::new("m", at(1));
        let refusals = [
            (base(), PointError::NoField),
            (base().field("v", f64::NAN), PointError::NotFinite("v".into())),
            (base().field("v", f64::INFINITY), PointError::NotFinite("v".into())),
            (base().field("time", 1_i64), PointError::Name("time".into())),
            (base().field("_v", 1_i64), PointError::Name("_v".into())),
            (Point::new("#m", at(1)).field("v", 1_i64), PointError::Name("#m".into())),
            (Point::new(" \n", at(1)).field("v", 1_i64), PointError::Name("".into())),
            (base().tag("v", "x").field("v", 1_i64), PointError::TwoKinds("v".into())),
            (base().tag("t", "x".repeat(40_000)).field("v", 1_i64), PointError::LongKey),
            (base().field("v", "x".repeat(70_000)), PointError::LongText),
            (Point::new("m", at(-1)).field("v", 1_i64), PointError::Time),
        ];
        for (point, error) in refusals {
            assert_eq!(point.check(), Err(error), "{point:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        // The characters that mean something, much more often than chance would bring them.
        prop_oneof![
            proptest::collection::vec(
                prop_oneof![
                    Just(','),
                    Just('='),
                    Just(' '),
                    Just('\\'),
                    Just('"'),
                    Just('\n'),
                    Just('\r'),
                    Just('\t'),
                    Just('#'),
                    Just('é'),
                    Just('a'),
                    Just('\0')
                ],
                0..8
            )
            .prop_map(String::from_iter),
            ".{0,12}",
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
        prop_oneof![
            (NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE).prop_map(Value::Float),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Uint),
            any::<bool>().prop_map(Value::Bool),
            text().prop_map(Value::Text),
        ]
    }

    fn same(ours: &Value, theirs: &FieldValue<'_>) -> bool {
        match (ours, theirs) {
            (Value::Float(a), FieldValue::F64(b)) => a == b,
            (Value::Int(a), FieldValue::I64(b)) => a == b,
            (Value::Uint(a), FieldValue::U64(b)) => a == b,
            (Value::Bool(a), FieldValue::Boolean(b)) => a == b,
            (Value::Text(a), FieldValue::String(b)) => a == b.as_str(),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn influxdb_reads_what_was_meant(
            measurement in text(),
            tags in proptest::collection::vec((text(), text()), 0..4),
            fields in proptest::collection::vec((text(), value()), 1..4),
            ns in 0_i64..i64::MAX,
        ) {
            // A letter in front: what is no name at all is refused, which another test says.
            let mut point = Point::new(&format!("m{measurement}"), at(ns));
            for (key, value) in &tags {
                point = point.tag(&format!("t{key}"), value);
            }
            for (key, value) in fields {
                point = point.field(&format!("f{key}"), value);
            }
            prop_assert_eq!(point.check(), Ok(()));
            let line = one(&point);
            let read: Vec<_> = parse_lines(&line).collect::<Result<_, _>>().map_err(|e| TestCaseError::fail(format!("{e}: {line:?}")))?;
            prop_assert_eq!(read.len(), 1, "{:?}", line);
            let read = &read[0];
            prop_assert_eq!(read.series.measurement.as_str(), point.measurement());
            prop_assert_eq!(read.timestamp, Some(point.at_ns()));
            let found: Vec<_> =
                read.series.tag_set.iter().flatten().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let meant: Vec<_> = point.tags().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(found, meant, "{:?}", line);
            prop_assert_eq!(read.field_set.len(), point.fields().len());
            for ((key, value), (their_key, their_value)) in point.fields().iter().zip(&read.field_set) {
                prop_assert_eq!(key.as_str(), their_key.as_str());
                prop_assert!(same(value, their_value), "{:?} {:?} {:?}", value, their_value, line);
            }
        }
    }
}
