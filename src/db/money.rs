//! Amounts of money: exact decimals with up to four places. PostgreSQL keeps them as NUMERIC(15,4), SQLite as an INTEGER
//! of ten-thousandths. In JSON they are numbers, written and read digit by digit, never through a binary float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Type};

const PLACES: u32 = 4;
/// NUMERIC(15,4) holds eleven digits before the point.
const MOST: i64 = 99_999_999_999;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = f64)]
pub struct Money(Decimal);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    #[error("is not a decimal number")]
    NotDecimal,
    #[error("has more than {PLACES} decimal places")]
    TooPrecise,
    #[error("is beyond ±{MOST}")]
    TooLarge,
}

impl Money {
    pub const ZERO: Money = Money(Decimal::ZERO);

    pub fn new(amount: Decimal) -> Result<Self, MoneyError> {
        let amount = amount.normalize();
        if amount.scale() > PLACES {
            Err(MoneyError::TooPrecise)
        } else if amount.abs() > Decimal::from(MOST) {
            Err(MoneyError::TooLarge)
        } else {
            Ok(Self(amount))
        }
    }

    /// Rounds half to even where there are more places.
    pub fn rounded(amount: Decimal) -> Result<Self, MoneyError> {
        Self::new(amount.round_dp_with_strategy(PLACES, RoundingStrategy::MidpointNearestEven))
    }

    pub fn decimal(self) -> Decimal {
        self.0
    }

    fn from_units(units: i64) -> Self {
        Self(Decimal::new(units, PLACES).normalize())
    }

    fn units(self) -> Option<i64> {
        let mut scaled = self.0;
        scaled.rescale(PLACES);
        i64::try_from(scaled.mantissa()).ok()
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let exact = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        Self::new(exact.map_err(|_| MoneyError::NotDecimal)?)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let text = match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted),
            None => text,
        };
        text.parse().map_err(|error| de::Error::custom(format!("{error}: {}", raw.get())))
    }
}

impl Type<Postgres> for Money {
    fn type_info() -> PgTypeInfo {
        <Decimal as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Money {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Decimal as Encode<Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

impl Decode<'_, Postgres> for Money {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(<Decimal as Decode<Postgres>>::decode(value)?.normalize()))
    }
}

impl Type<Sqlite> for Money {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Money {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<Sqlite>>::encode(self.units().ok_or("an amount beyond 64 bits")?, buffer)
    }
}

impl Decode<'_, Sqlite> for Money {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::from_units(<i64 as Decode<Sqlite>>::decode(value)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_exact_both_ways() {
        for (json, shown) in
            [("0.1", "0.1"), ("\"12.3400\"", "12.34"), ("1e3", "1000"), ("99999999999.9999", "99999999999.9999")]
        {
            let money = serde_json::from_str::<Money>(json);
            match shown {
                "99999999999.9999" => assert!(money.is_err(), "beyond the largest"),
                _ => assert_eq!(serde_json::to_string(&money.unwrap()).unwrap(), shown),
            }
        }
        for wrong in ["0.00001", "\"x\"", "null", "true", "1e30", "{}"] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn units_are_exact(units in -999_999_999_999_999_i64..=999_999_999_999_999) {
            let money = Money::from_units(units);
            prop_assert_eq!(money.units(), Some(units));
            prop_assert_eq!(serde_json::from_str::<Money>(&serde_json::to_string(&money).unwrap()).unwrap(), money);
        }
    }
}
