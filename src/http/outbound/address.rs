//! Which addresses what this server calls may have.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Whether an address belongs to the public Internet: neither this machine, nor a private or special network.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b); // carrier-grade NAT
            let benchmark = a == 198 && (b == 18 || b == 19);
            let protocol = a == 192 && b == 0 && c == 0;
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || shared
                || benchmark
                || protocol)
        }
        IpAddr::V6(v6) => {
            let [first, second, third, ..] = v6.segments();
            // Addresses that carry an IPv4 address inside lead to wherever that one leads.
            let inner = match (first, second) {
                (0x64, 0xff9b) => Some(v6.segments()[6..].to_vec()),
                (0x2002, _) => Some(vec![second, third]),
                _ => None,
            };
            if let Some(inner) = inner {
                let [a, b] = inner[0].to_be_bytes();
                let [c, d] = inner[1].to_be_bytes();
                return is_public(IpAddr::from([a, b, c, d]));
            }
            // Everything public is within 2000::/3; of that 2001:db8::/32 is for documents and 2001::/32 is Teredo.
            first & 0xe000 == 0x2000 && !(first == 0x2001 && matches!(second, 0xdb8 | 0)) && v6 != Ipv6Addr::UNSPECIFIED
        }
    }
}

/// Whether a URL's host is this machine or a private network, as far as it can be said without resolving a name.
pub fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => !is_public((*address).into()),
        Host::Ipv6(address) => !is_public((*address).into()),
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
    }
}

/// Resolves names and keeps only public addresses. The check is made on what the connection then uses, so that a name
/// cannot answer with one address to the check and with another to the connection.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let refused = io::Error::new(io::ErrorKind::PermissionDenied, PrivateAddress(name.as_str().to_owned()));
                return Err(Box::new(refused) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
pub struct PrivateAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_told_from_public_ones() {
        let private = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ];
        for text in private {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
