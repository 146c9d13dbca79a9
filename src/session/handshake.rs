//! What an upgrade request asks for: the dialect, the filter, and whether it is a WebSocket handshake at all.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use base64::Engine;

use super::replay::Travel;
use crate::http::Problem;
use crate::stream::{AudienceSpec, Channel, FeedSpec, Filter, Pace, Position, Term, WhenFull};
use crate::wire::{Deflate, Dialect, Form, offers_deflate};

/// Everything the query of a stream's URL may say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub dialect: Option<Dialect>,
    pub filter: Filter,
    /// `?since=`: what the client has seen. `None`: it does not resume.
    pub since: Option<Vec<Position>>,
    pub snapshot: bool,
    /// `?presence=true`: who comes and leaves, too.
    pub presence: bool,
    /// `?positions=true`, and whatever has no use without them.
    pub positioned: bool,
    /// `?auth=message`: the token comes as the first message.
    pub auth_by_message: bool,
    /// `?max_hz=`: 0 when every message is wanted.
    pub interval_ms: u32,
    /// `?from=` and `?speed=`.
    pub travel: Travel,
    /// Why something is missing, when the client says where it was in a way that says nothing here.
    pub missed: Option<&'static str>,
}

/// What every feed knows beside its filters.
const COMMON: [&str; 10] =
    ["auth", "format", "from", "max_hz", "positions", "presence", "since", "snapshot", "speed", "token"];
/// The most positions that a client may name: each of a feed's channels has two numberings.
const MOST_POSITIONS: usize = 64;

impl Wishes {
    /// Refuses what the feed does not know: a misspelled filter would otherwise be a silent flood.
    pub fn parse(feed: &FeedSpec, query: &str) -> Result<Self, Problem> {
        let (mut wishes, mut terms) = (Self::default(), Vec::<Term>::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (&*name, feed.filters.iter().find(|param| param.name == name)) {
                ("format", _) => {
                    let known = Dialect::from_format(&value);
                    wishes.dialect = Some(known.ok_or_else(|| unknown("format", "is json or msgpack"))?);
                }
                ("auth", _) if value == "message" => wishes.auth_by_message = true,
                ("auth", _) => return Err(unknown("auth", "is message, or left out")),
                ("since", _) => {
                    let seen = positions(&value).map_err(|error| unknown("since", &error))?;
                    wishes.since.get_or_insert_default().extend(seen);
                }
                ("snapshot", _) => wishes.snapshot = truth("snapshot", &value)?,
                ("presence", _) => wishes.presence = truth("presence", &value)?,
                ("positions", _) => wishes.positioned = truth("positions", &value)?,
                ("max_hz", _) => wishes.interval_ms = interval(feed, &value)?,
                ("from", _) => wishes.travel.set_from(&value)?,
                ("speed", _) => wishes.travel.set_speed(&value)?,
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
                        None => terms.push(Term { on: None, fields, values }),
                    }
                }
                (name, None) => {
                    let names: Vec<&str> = feed.filters.iter().map(|param| param.name).collect();
                    let known = names.iter().chain(&COMMON).copied().collect::<Vec<_>>().join(", ");
                    return Err(unknown(name, &format!("is not a parameter of this feed; it has {known}")));
                }
            }
        }
        if wishes.since.as_ref().is_some_and(|since| since.len() > MOST_POSITIONS) {
            return Err(unknown("since", "names too many positions"));
        }
        if wishes.travel.is_wanted()
            && (wishes.since.is_some() || wishes.snapshot || wishes.presence || wishes.interval_ms > 0)
        {
            return Err(unknown("from", "cannot go with since, snapshot, presence or max_hz"));
        }
        wishes.positioned |= wishes.since.is_some() || wishes.snapshot || wishes.interval_ms > 0;
        wishes.filter = Filter::new(terms);
        Ok(wishes)
    }

    /// `Last-Event-ID` of a client that comes back by itself, with the query it came with first: it goes on from there.
    /// What another server has written there says that something may be missing.
    pub fn resume(&mut self, last_event_id: &str) {
        match positions(last_event_id) {
            Ok(seen) if seen.len() <= MOST_POSITIONS => {
                self.since = Some(seen);
                self.snapshot = false;
            }
            _ => self.missed = Some("unknown position"),
        }
    }
}

/// Reads what a client may write into a handshake as a handshake does; for tests that make such things up.
#[doc(hidden)]
pub fn examine(feed: &'static FeedSpec, query: &str, last_event_id: &str, offers: &str) -> bool {
    let taken = Wishes::parse(feed, query).map(|mut wishes| {
        wishes.resume(last_event_id);
        assert!(wishes.since.is_none_or(|since| since.len() <= MOST_POSITIONS));
    });
    taken.is_ok() && offers_deflate([offers])
}

/// Positions by comma.
fn positions(text: &str) -> Result<Vec<Position>, String> {
    let each = text.split(',').filter(|text| !text.is_empty());
    each.map(|text| Position::parse(text).map_err(|error| error.to_string())).collect()
}

/// Whether the client offers compression as this server does it.
pub(super) fn deflate(headers: &HeaderMap, ours: Option<Deflate>) -> Option<Deflate> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    ours.filter(|_| offers_deflate(offers))
}

fn truth(name: &str, value: &str) -> Result<bool, Problem> {
    value.parse().map_err(|_| unknown(name, "is true or false"))
}

/// The time between two messages of one key.
fn interval(feed: &FeedSpec, value: &str) -> Result<u32, Problem> {
    if feed.folds.is_empty() {
        return Err(unknown("max_hz", "is not a parameter of this feed: none of its messages may become fewer"));
    }
    match value.parse::<f64>() {
        Ok(hz) if (0.01..=1000.0).contains(&hz) => Ok((1000.0 / hz).ceil() as u32),
        _ => Err(unknown("max_hz", "is a number from 0.01 to 1000")),
    }
}

fn unknown(field: &str, message: &str) -> Problem {
    Problem::bad_request(format!("{field} {message}")).with_field(field.to_owned(), message.to_owned())
}

/// The subscription that a client of `feed` gets.
pub(super) fn audience_spec(
    feed: &'static FeedSpec,
    (dialect, deflate): (Dialect, Option<Deflate>),
    wishes: &Wishes,
    filter: Filter,
    when_full: WhenFull,
) -> AudienceSpec {
    let mut channels: Vec<Channel> = feed.channels.iter().filter_map(|name| Channel::new(name).ok()).collect();
    if wishes.presence {
        channels.extend(channels.iter().filter_map(Channel::presence).collect::<Vec<_>>());
    }
    AudienceSpec {
        feed: feed.name,
        form: Form { dialect, positioned: wishes.positioned, deflate },
        channels,
        filter,
        pace: Pace { when_full, interval_ms: wishes.interval_ms, folds: feed.folds },
        alias: None,
        by_server: false,
    }
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
    use crate::stream::{FilterParam, FoldRule};

    static FEED: FeedSpec = FeedSpec {
        name: "test",
        channels: &["a:b"],
        filters: &[
            FilterParam { name: "sku", fields: &["sku"], upper_case: true },
            FilterParam { name: "who", fields: &["userId", "mail"], upper_case: false },
        ],
        folds: &[FoldRule { channel: "a:b", key: &["sku"], values: &[] }],
        own: None,
    };

    fn term(fields: &[&str], values: &[&str]) -> Term {
        let own = |list: &[&str]| list.iter().map(|word| word.to_string()).collect();
        Term { on: None, fields: own(fields), values: own(values) }
    }

    #[test]
    fn the_query_is_read_and_typos_are_named() {
        let wishes = Wishes::parse(&FEED, "format=msgpack&sku=a-1,B-2&sku=c%2D3&who=x&token=t").unwrap();
        assert_eq!(wishes.dialect, Some(Dialect::MessagePack));
        let terms = vec![term(&["userId", "mail"], &["x"]), term(&["sku"], &["A-1", "B-2", "C-3"])];
        assert_eq!(wishes.filter, Filter::new(terms));
        assert!(!wishes.positioned);
        let wishes = Wishes::parse(&FEED, "since=abc:7,~def:1&snapshot=true&max_hz=2").unwrap();
        let seen: Vec<String> = wishes.since.unwrap().iter().map(Position::to_string).collect();
        assert_eq!((seen, wishes.interval_ms), (vec!["abc:7".to_owned(), "~def:1".to_owned()], 500));
        assert!(wishes.snapshot && wishes.positioned);
        for (query, field) in [
            ("format=xml", "format"),
            ("skuu=A", "skuu"),
            ("sku=,", "sku"),
            ("since=7", "since"),
            ("since=a%20b:7", "since"),
            ("snapshot=1", "snapshot"),
            ("presence=yes", "presence"),
            ("positions=", "positions"),
            ("max_hz=0", "max_hz"),
            ("max_hz=fast", "max_hz"),
            ("from=yesterday", "from"),
            ("speed=0", "speed"),
            ("from=-1m&snapshot=true", "from"),
        ] {
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
