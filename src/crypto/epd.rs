//! Endpoint discriminators (RFC 7425 §4.4): which endpoint an initiator asks for.

use super::{Certificate, CryptoError, Fingerprint};
use crate::wire::option::{Item, encode_option, items};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// The longest discriminator that is accepted, in bytes. It holds at most a URI and a fingerprint.
pub const MAX_EPD: usize = 4096;

const REQUIRED_HOSTNAME: u64 = 0x00;
const ANCILLARY_DATA: u64 = 0x0a;
const FINGERPRINT: u64 = 0x0f;

/// A parsed endpoint discriminator with its bytes. Equal if the bytes are.
#[derive(Clone)]
pub struct Epd {
    bytes: Bytes,
    fingerprint: Option<Fingerprint>,
    ancillary: Option<Range<usize>>,
    hostname: Option<Range<usize>>,
}

impl Epd {
    /// Reads a discriminator, which is all of `bytes`. Unknown options are kept in the bytes and
    /// otherwise ignored; an empty discriminator is valid and selects nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_EPD {
            return Err(CryptoError::TooLong("endpoint discriminator"));
        }
        let bytes_owned = Bytes::copy_from_slice(bytes);
        let mut epd =
            Self { bytes: bytes_owned, fingerprint: None, ancillary: None, hostname: None };
        let mut items = items(bytes);
        while let Some(item) = items.next() {
            let Item::Option(option) = item? else { continue };
            let end = items.offset();
            let range = end - option.value.len()..end;
            match option.kind {
                REQUIRED_HOSTNAME => set(&mut epd.hostname, range, "required hostname")?,
                ANCILLARY_DATA => set(&mut epd.ancillary, range, "ancillary data")?,
                FINGERPRINT => {
                    let value = option.value.try_into();
                    let value = value.map_err(|_| CryptoError::InvalidOption("fingerprint"))?;
                    set(&mut epd.fingerprint, Fingerprint(value), "fingerprint")?;
                }
                _ => {}
            }
        }
        Ok(epd)
    }

    /// The canonical discriminator of the endpoint with this fingerprint (§4.4.4): `21 0F` and the
    /// fingerprint.
    pub fn for_fingerprint(fingerprint: Fingerprint) -> Self {
        let mut bytes = Vec::with_capacity(34);
        encode_option(FINGERPRINT, &fingerprint.0, &mut bytes);
        let bytes = bytes.into();
        Self { bytes, fingerprint: Some(fingerprint), ancillary: None, hostname: None }
    }

    /// The discriminator of the server with this URI (§4.4.2.2), which goes out as it is given.
    pub fn for_uri(uri: &str) -> Self {
        let mut bytes = Vec::with_capacity(uri.len() + 3);
        encode_option(ANCILLARY_DATA, uri.as_bytes(), &mut bytes);
        let ancillary = Some(bytes.len() - uri.len()..bytes.len());
        Self { bytes: bytes.into(), fingerprint: None, ancillary, hostname: None }
    }

    /// The bytes as they are on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The fingerprint (peer ID) asked for (§4.4.2.3).
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// The server's URI (§4.4.2.2).
    pub fn ancillary(&self) -> Option<&[u8]> {
        self.ancillary.clone().map(|range| &self.bytes[range])
    }

    /// The hostname that the certificate must have (§4.4.2.1).
    pub fn hostname(&self) -> Option<&[u8]> {
        self.hostname.clone().map(|range| &self.bytes[range])
    }

    /// True if the endpoint with this certificate is meant (§4.4.3, figure 1).
    pub fn selects(&self, certificate: &Certificate) -> bool {
        if let Some(fingerprint) = self.fingerprint {
            return fingerprint == certificate.fingerprint();
        }
        let hostname = self.hostname();
        if hostname.is_some() && hostname != certificate.hostname() {
            return false;
        }
        match self.ancillary {
            Some(_) => certificate.accepts_ancillary(),
            None => hostname.is_some(),
        }
    }
}

/// Fills a place that may be filled once.
fn set<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), CryptoError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(CryptoError::Duplicate(name)),
    }
}

impl PartialEq for Epd {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Epd {}

impl std::hash::Hash for Epd {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Epd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epd")
            .field("fingerprint", &self.fingerprint)
            .field("ancillary", &self.ancillary().map(String::from_utf8_lossy))
            .field("hostname", &self.hostname().map(String::from_utf8_lossy))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(ancillary: bool, hostname: Option<&str>) -> Certificate {
        let mut bytes = vec![0x02, 0x15, 0x02];
        if ancillary {
            bytes.extend_from_slice(&[0x01, 0x0a]);
        }
        if let Some(hostname) = hostname {
            encode_option(0x00, hostname.as_bytes(), &mut bytes);
        }
        Certificate::parse(&bytes).unwrap()
    }

    fn epd(fingerprint: Option<Fingerprint>, hostname: Option<&str>, uri: bool) -> Epd {
        let mut bytes = vec![0x02, 0x33, 0x01];
        if let Some(hostname) = hostname {
            encode_option(0x00, hostname.as_bytes(), &mut bytes);
        }
        if uri {
            encode_option(0x0a, b"rtmfp://host/app", &mut bytes);
        }
        if let Some(fingerprint) = fingerprint {
            encode_option(0x0f, &fingerprint.0, &mut bytes);
        }
        Epd::parse(&bytes).unwrap()
    }

    #[test]
    fn canonical_bytes() {
        let epd = Epd::for_fingerprint(Fingerprint([7; 32]));
        assert_eq!(epd.as_bytes().len(), 34);
        assert_eq!(epd.as_bytes()[..3], [0x21, 0x0f, 7]);
        assert_eq!(Epd::parse(epd.as_bytes()).unwrap().fingerprint(), epd.fingerprint());
    }

    #[test]
    fn uri_bytes() {
        let epd = Epd::for_uri("rtmfp://h");
        assert_eq!(epd.as_bytes(), b"\x0a\x0artmfp://h");
        assert_eq!(epd.ancillary(), Some(&b"rtmfp://h"[..]));
        let long = Epd::for_uri(&"x".repeat(300));
        assert_eq!(long.as_bytes()[..3], [0x82, 0x2d, 0x0a]);
        assert_eq!(long.ancillary().unwrap().len(), 300);
        assert_eq!(Epd::parse(long.as_bytes()).unwrap().ancillary(), long.ancillary());
    }

    #[test]
    fn a_fingerprint_decides_alone() {
        let certificate = certificate(false, None);
        let right = Some(certificate.fingerprint());
        assert!(epd(right, None, false).selects(&certificate));
        assert!(epd(right, Some("other"), true).selects(&certificate));
        let wrong = Some(Fingerprint([0; 32]));
        assert!(!epd(wrong, None, false).selects(&certificate));
        let server = super::tests::certificate(true, Some("h"));
        assert!(!epd(wrong, Some("h"), true).selects(&server));
    }

    #[test]
    fn every_row_of_figure_1_without_a_fingerprint() {
        for (hostname, uri, cert_ancillary, cert_hostname, selected) in [
            (None, false, true, Some("h"), false),
            (None, true, true, None, true),
            (None, true, true, Some("h"), true),
            (None, true, false, Some("h"), false),
            (Some("h"), false, false, Some("h"), true),
            (Some("h"), false, false, Some("H"), false),
            (Some("h"), false, true, None, false),
            (Some("h"), true, true, Some("h"), true),
            (Some("h"), true, false, Some("h"), false),
            (Some("h"), true, true, Some("x"), false),
            (Some("h"), true, true, None, false),
        ] {
            let certificate = certificate(cert_ancillary, cert_hostname);
            let row = (hostname, uri, cert_ancillary, cert_hostname);
            assert_eq!(epd(None, hostname, uri).selects(&certificate), selected, "{row:?}");
        }
    }

    #[test]
    fn hostile_discriminators() {
        for kind in [0x00, 0x0a, 0x0f] {
            let mut bytes = Vec::new();
            encode_option(kind, &[7; 32], &mut bytes);
            let twice = bytes.repeat(2);
            assert!(matches!(Epd::parse(&twice), Err(CryptoError::Duplicate(_))), "{kind:x}");
        }
        let short = [0x20, 0x0f].into_iter().chain([7; 31]).collect::<Vec<u8>>();
        assert_eq!(Epd::parse(&short), Err(CryptoError::InvalidOption("fingerprint")));
        assert!(matches!(Epd::parse(&[5, 0x0a]), Err(CryptoError::Wire(_))));
        assert!(matches!(Epd::parse(&vec![0; MAX_EPD + 1]), Err(CryptoError::TooLong(_))));
        assert!(!Epd::parse(&[]).unwrap().selects(&certificate(true, None)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(epd) = Epd::parse(&bytes) {
                let _ = epd.selects(&certificate(true, Some("h")));
                let _ = format!("{epd:?}");
            }
        }
    }
}
