//! An RTMFP URI. Its parts are parts of the text, and put together again they are the same URI.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::proto::crypto::Epd;
use rtmfp::proto::flash::Uri;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let uri = match Uri::parse(text) {
        Ok(uri) => uri,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    assert_eq!(uri.as_str(), text);
    assert_eq!(uri.to_string(), text);
    assert_eq!(Epd::for_uri(text).ancillary(), Some(text.as_bytes()));
    let Some((host, port)) = uri.server() else {
        assert!(uri.is_serverless() && uri.app().is_empty() && uri.fragment().is_none());
        return;
    };
    assert_ne!(port, 0);
    let fragment = uri.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let whole = format!("rtmfp://{host}:{port}/{}{fragment}", uri.app());
    // It may have got longer, by the port.
    let Ok(again) = Uri::parse(&whole) else {
        assert!(whole.len() > rtmfp::proto::flash::uri::MAX_LEN);
        return;
    };
    assert_eq!(again.server(), uri.server());
    assert_eq!(again.app(), uri.app());
    assert_eq!(again.fragment(), uri.fragment());
});
