//! Whose word is taken for where a request came from: reverse proxies, by their addresses.

use std::fmt;
use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// A longer chain of proxies is somebody's attempt to cost time.
const MOST_HOPS: usize = 32;

/// Addresses and networks of proxies whose `X-Forwarded-For` is believed. None: the header says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrustedProxies(Vec<IpNet>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither an address nor a network such as 10.0.0.0/8")]
pub struct TrustedProxiesError(String);

impl TrustedProxies {
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, TrustedProxiesError> {
        let read = |entry: &str| {
            let address = || entry.parse::<IpAddr>().map(IpNet::from);
            entry.parse::<IpNet>().or_else(|_| address()).map_err(|_| TrustedProxiesError(entry.to_owned()))
        };
        entries.into_iter().map(|entry| read(entry.trim())).collect::<Result<_, _>>().map(Self)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Who is behind a connection from `peer`: the last address in the chain that no trusted proxy has. What stands before
    /// it was written by that client, who may write anything.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for hop in hops.take(MOST_HOPS) {
            if !self.has(client) {
                break;
            }
            let Some(next) = address(hop.trim()) else { break };
            client = next;
        }
        client
    }
}

/// Some proxies write the port too: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// From text with commas (the environment) or a list (a file).
impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = TrustedProxies;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("addresses or networks separated by commas, or a list of them")
            }

            fn visit_str<E: de::Error>(self, list: &str) -> Result<TrustedProxies, E> {
                TrustedProxies::of(list.split(',').filter(|entry| !entry.trim().is_empty())).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TrustedProxies, A::Error> {
                let mut entries = Vec::<String>::new();
                while let Some(entry) = seq.next_element()? {
                    entries.push(entry);
                }
                TrustedProxies::of(entries.iter().map(String::as_str)).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, chain: &[&str]) -> String {
        let trusted: TrustedProxies = serde_json::from_value(trusted.into()).unwrap();
        let chain = chain.iter().map(|value| (X_FORWARDED_FOR.parse().unwrap(), value.parse().unwrap()));
        trusted.client(peer.parse().unwrap(), &HeaderMap::from_iter(chain)).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8", "::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        // What the client itself wrote stands further left.
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["127.0.0.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["127.0.0.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8, ::1", "::1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("::1", "::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["10.7.7.7"]), "10.7.7.7");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9, unknown"]), "10.1.2.3");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn a_mistake_is_named() {
        for wrong in ["10.0.0.0/33", "proxy", "10.0.0"] {
            assert_eq!(TrustedProxies::of([wrong]), Err(TrustedProxiesError(wrong.into())));
        }
    }
}
