//! Which web pages may talk to this server: the `Origin` check of CORS and of WebSocket upgrades.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The allowed origins: exact scheme, host and port each, or all of them. The default allows a page of the same host only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    list: Vec<Origin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` where the scheme says it: 80 or 443.
    port: Option<u16>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an origin: write scheme://host or scheme://host:port, or * for all")]
pub struct OriginError(String);

impl Origins {
    /// Reads a list as `ALLOWED_ORIGINS` has it: origins separated by commas.
    pub fn parse(list: &str) -> Result<Self, OriginError> {
        Self::of(list.split(',').map(str::trim).filter(|entry| !entry.is_empty()))
    }

    pub fn of<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        for entry in entries {
            match entry.trim() {
                "*" => origins.any = true,
                // People copy origins out of the address bar, with the slash.
                entry => match Origin::parse(entry.strip_suffix('/').unwrap_or(entry)) {
                    Some(origin) => origins.list.push(origin),
                    None => return Err(OriginError(entry.to_owned())),
                },
            }
        }
        Ok(origins)
    }

    /// Whether every origin is allowed.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Decides by a request's `Origin` and `Host`. A request without an origin is not a browser's cross-site request; an
    /// origin with the host of this very request is this server's own page; all others must be in the list.
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self.any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        let same_host =
            host.and_then(|host| Origin::with_scheme(&origin.scheme, host)).is_some_and(|own| own == origin);
        same_host || self.list.contains(&origin)
    }
}

impl Origins {
    /// Whether a server that is open to this machine may answer under such a `Host`. A page of the internet can have its
    /// own name resolve to this machine (DNS rebinding), and is then "the same origin"; its name gives it away.
    pub fn is_local(&self, host: &str) -> bool {
        let Some(host) = Origin::with_scheme("http", host).map(|origin| origin.host) else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        let named = host == "localhost" || host.ends_with(".localhost");
        self.any || loopback || named || self.list.iter().any(|origin| origin.host == host)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if valid { Self::with_scheme(&scheme.to_ascii_lowercase(), authority) } else { None }
    }

    fn with_scheme(scheme: &str, authority: &str) -> Option<Self> {
        // The colons of an IPv6 address stand inside its brackets.
        let bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority.get(bracket..)?.rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(bracket + colon);
                let digits = port.get(1..).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
                (host, Some(digits.parse::<u16>().ok()?))
            }
            None => (authority, None),
        };
        let ipv6 = host.starts_with('[') && host.ends_with(']');
        let valid = host.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') || (ipv6 && matches!(b, b'[' | b']' | b':'))
        });
        if host.is_empty() || !valid {
            return None;
        }
        let usual = match scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        Some(Self { scheme: scheme.to_owned(), host: host.to_ascii_lowercase(), port: port.filter(|_| port != usual) })
    }
}

/// From `"https://a.example, https://b.example"` (the environment) or from a list (a file).
impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Origins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("origins separated by commas, or a list of origins")
            }

            fn visit_str<E: de::Error>(self, list: &str) -> Result<Origins, E> {
                Origins::parse(list).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Origins, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element::<String>()? {
                    entries.push(entry);
                }
                Origins::of(entries.iter().map(String::as_str)).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As [`Origins::parse`] reads it.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.any {
            f.write_str("*")?;
            separator = ",";
        }
        for Origin { scheme, host, port } in &self.list {
            write!(f, "{separator}{scheme}://{host}")?;
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scheme_host_and_port_must_agree() {
        let origins = Origins::parse(" https://Shop.example , http://localhost:5173/,https://[::1]:8443,").unwrap();
        for allowed in
            ["https://shop.example", "https://SHOP.example:443", "http://localhost:5173", "https://[::1]:8443"]
        {
            assert!(origins.allows(Some(allowed), None), "{allowed}");
        }
        for refused in [
            "http://shop.example",
            "https://shop.example:8443",
            "https://shop.example.evil.example",
            "https://evil.example/https://shop.example",
            "https://shop.example@evil.example",
            "http://localhost",
            "https://[::1]",
            "null",
            "",
            "*",
        ] {
            assert!(!origins.allows(Some(refused), Some("api.example")), "{refused}");
        }
        assert_eq!(Origins::parse(&origins.to_string()).unwrap(), origins);
    }

    #[test]
    fn the_own_page_and_callers_without_an_origin_pass() {
        let none = Origins::default();
        assert!(none.allows(None, None));
        assert!(none.allows(Some("http://127.0.0.1:8080"), Some("127.0.0.1:8080")));
        assert!(none.allows(Some("https://a.example"), Some("A.example:443")));
        assert!(!none.allows(Some("http://127.0.0.1:8080"), Some("127.0.0.1:8081")));
        assert!(!none.allows(Some("http://a.example"), None));
    }

    #[test]
    fn a_star_allows_all_and_a_mistake_is_named() {
        assert!(Origins::parse("*").unwrap().allows(Some("null"), None));
        for bad in
            ["shop.example", "https://", "https://a b", "https://a.example/path", "https://a:99999", "https://a:"]
        {
            assert_eq!(Origins::parse(bad), Err(OriginError(bad.into())), "{bad}");
        }
        let listed: Origins = serde_json::from_str(r#"["https://a.example", "http://b.example:81"]"#).unwrap();
        assert_eq!(listed, serde_json::from_str(r#""https://a.example,http://b.example:81""#).unwrap());
    }

    #[test]
    fn only_names_of_this_machine_and_those_in_the_list_are_local() {
        let origins = Origins::parse("https://shop.example:8443").unwrap();
        for local in [
            "localhost",
            "localhost:8000",
            "127.0.0.1:8000",
            "127.8.8.8",
            "[::1]:8000",
            "a.localhost:1",
            "Shop.Example",
        ] {
            assert!(origins.is_local(local), "{local}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "[2001:db8::1]",
            "",
            "::1",
        ] {
            assert!(!origins.is_local(foreign), "{foreign}");
        }
        assert!(Origins::parse("*").unwrap().is_local("evil.example"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(list in ".{0,60}", origin in ".{0,60}", host in ".{0,40}") {
            if let Ok(origins) = Origins::parse(&list) {
                let _ = origins.allows(Some(&origin), Some(&host));
                prop_assert_eq!(Origins::parse(&origins.to_string()), Ok(origins));
            }
            let _ = Origins::default().allows(Some(&origin), Some(&host));
        }

        #[test]
        fn odd_but_near_texts_do_not_panic(list in "(https?://)?[\\[\\]:a-z0-9.,*/]{0,20}", host in "[\\[\\]:0-9a]{0,12}") {
            let origin = format!("http://{host}");
            let allowed = Origins::parse(&list).unwrap_or_default().allows(Some(&origin), Some(&host));
            // What is a proper origin is the same host as itself.
            prop_assert!(allowed || Origins::parse(&origin).is_err() || host.is_empty());
        }
    }
}
