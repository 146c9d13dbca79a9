//! What an upgrade request asks for: the dialect, the filter, and whether it is a WebSocket handshake at all.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use base64::Engine;

use crate::http::Problem;
use crate::stream::{AudienceSpec, Channel, FeedSpec, Filter, Term};
use crate::wire::Dialect;

/// Everything the query of a stream's URL may say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub dialect: Option<Dialect>,
    pub filter: Filter,
}

impl Wishes {
    /// Refuses what the feed does not know: a misspelled filter would otherwise be a silent flood.
    pub fn parse(feed: &FeedSpec, query: &str) -> Result<Self, Problem> {
        let (mut dialect, mut terms) = (None, Vec::<Term>::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (&*name, feed.filters.iter().find(|param| param.name == name)) {
                ("format", _) => {
                    let known = Dialect::from_format(&value);
                    dialect = Some(known.ok_or_else(|| unknown("format", "is json or msgpack"))?);
                }
                // Read by `http::guard`.
                ("token", _) => {}
                (_, Some(param)) => {
                    let values = value.split(',').map(str::trim).filter(|value| !value.is_empty());
                    let values: Vec<String> =
                        values.map(|v| if param.upper_case { v.to_uppercase() } else { v.to_owned() }).collect();
                    if values.is_empty() {
                        return Err(unknown(param.name, "has no value"));
                    }
                    let fields: Vec<String> = param.fields.iter().map(|field| field.to_string()).collect();
                    match terms.iter_mut().find(|term| term.fields == fields) {
                        Some(term) => term.values.extend(values),
                        None => terms.push(Term { fields, values }),
                    }
                }
                (name, None) => {
                    let names: Vec<&str> = feed.filters.iter().map(|param| param.name).collect();
                    let known = names.iter().chain(&["format", "token"]).copied().collect::<Vec<_>>().join(", ");
                    return Err(unknown(name, &format!("is not a parameter of this feed; it has {known}")));
                }
            }
        }
        Ok(Self { dialect, filter: Filter::new(terms) })
    }
}

fn unknown(field: &str, message: &str) -> Problem {
    Problem::bad_request(format!("{field} {message}")).with_field(field.to_owned(), message.to_owned())
}

/// The subscription that a client of `feed` gets.
pub(super) fn audience_spec(feed: &'static FeedSpec, dialect: Dialect, filter: Filter) -> AudienceSpec {
    let channels = feed.channels.iter().filter_map(|name| Channel::new(name).ok()).collect();
    AudienceSpec { feed: feed.name, dialect, channels, filter }
}

/// Checks the handshake of RFC 6455 §4.2.1; answers its key.
pub(super) fn websocket_key<'a>(method: &Method, headers: &'a HeaderMap) -> Result<&'a [u8], Problem> {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    if method != Method::GET || !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(upgrade_required("this is a WebSocket endpoint: connect with ws:// or wss://"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], |key| key.as_bytes());
    match base64::engine::general_purpose::STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(key),
        _ => Err(Problem::bad_request("Sec-WebSocket-Key must be 16 bytes in base64")),
    }
}

/// 426, with the headers that RFC 9110 §15.5.22 and RFC 6455 §4.4 ask for.
fn upgrade_required(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail)
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// The first subprotocol of ours that the client offers. Offers of others are not answered; an empty header is none.
pub(super) fn subprotocol(headers: &HeaderMap) -> Option<Dialect> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).find_map(|name| Dialect::from_subprotocol(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::FilterParam;

    static FEED: FeedSpec = FeedSpec {
        name: "test",
        channels: &["a:b"],
        filters: &[
            FilterParam { name: "sku", fields: &["sku"], upper_case: true },
            FilterParam { name: "who", fields: &["userId", "mail"], upper_case: false },
        ],
    };

    fn term(fields: &[&str], values: &[&str]) -> Term {
        let own = |list: &[&str]| list.iter().map(|word| word.to_string()).collect();
        Term { fields: own(fields), values: own(values) }
    }

    #[test]
    fn the_query_is_read_and_typos_are_named() {
        let wishes = Wishes::parse(&FEED, "format=msgpack&sku=a-1,B-2&sku=c%2D3&who=x&token=t").unwrap();
        assert_eq!(wishes.dialect, Some(Dialect::MessagePack));
        let terms = vec![term(&["userId", "mail"], &["x"]), term(&["sku"], &["A-1", "B-2", "C-3"])];
        assert_eq!(wishes.filter, Filter::new(terms));
        for (query, field) in [("format=xml", "format"), ("skuu=A", "skuu"), ("sku=,", "sku")] {
            let problem = format!("{:?}", Wishes::parse(&FEED, query).unwrap_err());
            assert!(problem.contains(&format!("field: \"{field}\"")), "{problem}");
        }
    }

    #[test]
    fn an_empty_subprotocol_header_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, "".parse().unwrap());
        assert_eq!(subprotocol(&headers), None);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, "soap, fanfare.msgpack".parse().unwrap());
        assert_eq!(subprotocol(&headers), Some(Dialect::MessagePack));
    }
}
