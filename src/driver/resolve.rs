//! [`resolve`]: names of hosts to addresses.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

/// Addresses of one name that are used; further ones are ignored.
pub const MAX_ADDRESSES: usize = 16;

/// All addresses of a host with this port, up to [`MAX_ADDRESSES`]. `host` is an address, an IPv6
/// address with a zone (`fe80::1%eth0`), or a name, for which the operating system's resolver is
/// asked; an internationalised name is asked for in its ASCII form (UTS #46).
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for a name that has no ASCII form, [`io::ErrorKind::NotFound`] if
/// there is no address, or the resolver's error.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = ascii_host(host)?;
    let mut addresses = Vec::new();
    for address in tokio::net::lookup_host((&*host, port)).await? {
        if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    }
}

/// The form of a host name that the domain name system knows: `xn--bcher-kva.example` for
/// `bücher.example`. ASCII names and addresses stay as they are.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if there is none.
pub fn ascii_host(host: &str) -> io::Result<Cow<'_, str>> {
    if host.is_ascii() {
        return Ok(host.into());
    }
    let problem = |_| io::Error::new(io::ErrorKind::InvalidInput, "not a possible host name");
    // As a browser does, and no longer than the domain name system allows.
    let (deny, hyphens, length) =
        (AsciiDenyList::URL, Hyphens::Allow, DnsLength::VerifyAllowRootDot);
    Uts46::new().to_ascii(host.as_bytes(), deny, hyphens, length).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internationalised_names_have_an_ascii_form() {
        let ascii = |host| ascii_host(host).unwrap().into_owned();
        assert_eq!(ascii("bücher.example"), "xn--bcher-kva.example");
        assert_eq!(ascii("BÜCHER.Example"), "xn--bcher-kva.example");
        assert_eq!(ascii("例え。テスト"), "xn--r8jz45g.xn--zckzah");
        for same in ["Example.org", "192.0.2.7", "fe80::1%eth0", "xn--bcher-kva.example", "a_b"] {
            assert_eq!(ascii(same), same);
        }
        for wrong in ["ü\u{200b}\u{2028}.example", "xn--ü", &"ü".repeat(100)] {
            let error = ascii_host(wrong).map(|_| wrong).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn addresses_resolve_to_themselves() {
        for (host, address) in
            [("192.0.2.7", "192.0.2.7:5"), ("2001:db8::7", "[2001:db8::7]:5"), ("::1", "[::1]:5")]
        {
            assert_eq!(resolve(host, 5).await.unwrap(), [address.parse().unwrap()]);
        }
        let error = resolve("bücher.invalid", 5).await.unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
