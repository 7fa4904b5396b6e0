//! Tests of the share link.

use proptest::prelude::*;

use super::super::chunker::MAX_CHUNK_SIZE;
use super::*;

const GROUP: &str = "G:010201010203046161";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn parse(text: &str) -> Result<ShareLink, LinkProblem> {
    text.parse().map_err(|error: LinkError| error.problem)
}

fn with(rest: &str) -> Result<ShareLink, LinkProblem> {
    parse(&format!("rtmfp-share://example.org/1/group={GROUP}{rest}"))
}

#[test]
fn the_object_form_round_trips() {
    let text = format!(
        "rtmfp-share://203.0.113.5:1935/1/group={GROUP}/descriptor={HASH}/name=my%20film.mp4"
    );
    let link = parse(&text).unwrap();
    assert_eq!(link.servers, [ServerAddress::new("203.0.113.5", 1935).unwrap()]);
    assert_eq!(link.groupspec, GROUP);
    assert_eq!(link.integrity, Integrity::Descriptor(HASH.parse().unwrap()));
    assert_eq!(link.name.as_deref(), Some("my film.mp4"));
    assert_eq!(link.server_url(&link.servers[0]), "rtmfp://203.0.113.5:1935/");
    assert_eq!(link.to_string(), text);
    assert_eq!(parse(&format!("  {text}\n")).unwrap(), link);
}

#[test]
fn the_number_form_carries_hash_size_and_chunk_length() {
    let link = with(&format!("/sha256={HASH}/size=123456")).unwrap();
    let sha256 = HASH.parse().unwrap();
    assert_eq!(link.integrity, Integrity::File { sha256, size: 123_456, chunk_size: 65_536 });
    let link = with(&format!("/chunk=64000/size=123456/sha256={HASH}")).unwrap();
    assert_eq!(link.integrity, Integrity::File { sha256, size: 123_456, chunk_size: 64_000 });
    assert_eq!(parse(&link.to_string()).unwrap(), link);
}

#[test]
fn ipv6_further_servers_and_application() {
    let text = format!(
        "rtmfp-share://[2001:db8::1]:1936/1/group={GROUP}/app=vod%2Fone/also=b.example:1935/also=[::1]:1935/provider={HASH}"
    );
    let link = parse(&text).unwrap();
    assert_eq!(link.servers[0].host(), "2001:db8::1");
    assert_eq!(link.servers.len(), 3);
    assert_eq!(link.app, "vod/one");
    assert_eq!(link.server_url(&link.servers[0]), "rtmfp://[2001:db8::1]:1936/vod/one");
    assert_eq!(link.integrity, Integrity::None);
    assert_eq!(link.to_string(), text);
}

#[test]
fn the_provider_asks_to_be_spared() {
    let mut link = with("").unwrap();
    assert!(!link.spares_provider && !link.to_string().contains("spare"));
    link.spares_provider = true;
    assert!(link.to_string().ends_with("/spare=provider"));
    assert_eq!(parse(&link.to_string()).unwrap(), link);
    // What is not understood is no reason to refuse the link.
    assert!(!with("/spare=nothing").unwrap().spares_provider);
}

#[test]
fn a_web_server_that_has_the_file_round_trips() {
    let mut link = with("").unwrap();
    assert!(link.origin.is_none() && !link.to_string().contains("origin"));
    link.origin = Some("https://web.example:8443/a%20b/film.mp4?v=1&x=[2]".into());
    let text = link.to_string();
    assert!(text.ends_with(
        "/origin=https%3A%2F%2Fweb.example%3A8443%2Fa%2520b%2Ffilm.mp4%3Fv%3D1%26x%3D%5B2%5D"
    ));
    assert_eq!(parse(&text).unwrap(), link);
}

#[test]
fn only_an_open_http_url_is_an_origin() {
    let long = format!("http://a/{}", "x".repeat(MAX_ORIGIN_LEN));
    let wrong = [
        "",
        "a",
        "http:",
        "http://",
        "http:///film",
        "ftp://a/film",
        "file:///etc/passwd",
        "https://me@web.example/film",
        "https://me:secret@web.example/film",
        "http://a/b c",
        "http://a/\n",
        &long,
        "httpsé://a",
    ];
    for url in wrong {
        let found = with(&format!("/origin={}", encoded(url)));
        assert!(matches!(found, Err(LinkProblem::Value { key: "origin", .. })), "{url}");
    }
    let secret = with("/origin=https%3A%2F%2Fme%3Asecret%40web.example%2F").unwrap_err();
    assert!(!secret.to_string().contains("secret@"), "{secret}");
    assert!(with("/origin=http%3A%2F%2Fa%2F%40/origin=http%3A%2F%2Fb").is_err());
    assert!(with("/origin=HTTP%3A%2F%2Fa%2F%40").is_ok());
}

#[test]
fn internationalised_names_and_zones_are_kept_as_given() {
    for server in ["bücher.example:1935", "[fe80::1%eth0]:1935"] {
        let text = format!("rtmfp-share://{server}/1/group={GROUP}");
        let link = parse(&text).unwrap();
        assert_eq!(link.to_string(), text);
        assert_eq!(link.server_url(&link.servers[0]), format!("rtmfp://{server}/"));
        assert!(crate::flash::Uri::parse(&link.server_url(&link.servers[0])).is_ok());
    }
}

#[test]
fn a_link_for_the_local_network_has_no_server() {
    let text = format!("rtmfp-share:///1/group={GROUP}/descriptor={HASH}/name=film.mp4");
    let link = parse(&text).unwrap();
    assert_eq!(link.servers, []);
    assert_eq!(link.to_string(), text);
    // The same download as by way of a server.
    assert_eq!(link.identity(), with(&format!("/descriptor={HASH}")).unwrap().identity());
    let servers = vec![ServerAddress::new("a.example", 1935).unwrap(); MAX_SERVERS + 1];
    assert!(ShareLink::new(servers, GROUP).is_err());
    // What nobody writes is read as what it must mean.
    let link = parse(&format!("rtmfp-share:///1/group={GROUP}/also=a.example")).unwrap();
    assert_eq!(link.servers, [ServerAddress::new("a.example", 1935).unwrap()]);
    assert_eq!(parse("rtmfp-share://"), Err(LinkProblem::NoVersion));
    assert_eq!(parse("rtmfp-share:///1"), Err(LinkProblem::Missing("group")));
}

#[test]
fn another_version_is_named() {
    let error = parse("rtmfp-share://h/2/anything/at all").unwrap_err();
    assert_eq!(error, LinkProblem::Whitespace);
    let error = parse("rtmfp-share://h/2/anything").unwrap_err();
    assert_eq!(error, LinkProblem::Version { found: 2 });
    let message = error.to_string();
    assert!(message.contains("version 2") && message.contains("understands version 1"));
    assert_eq!(parse("rtmfp-share://h"), Err(LinkProblem::NoVersion));
    assert_eq!(parse("rtmfp-share://h/group=G:00"), Err(LinkProblem::NoVersion));
    assert_eq!(parse("rtmfp-share://h/99999999999/"), Err(LinkProblem::NoVersion));
}

#[test]
fn other_texts_get_an_example_of_a_link() {
    for text in ["", "film.mp4", "https://example.org/film.mp4", "rtmfp-share:"] {
        let error = parse(text).unwrap_err();
        assert_eq!(error, LinkProblem::NotALink);
        assert!(error.to_string().contains("rtmfp-share://203.0.113.5"));
    }
    assert_eq!(parse("rtmfp://h:1935/app"), Err(LinkProblem::ServerAddressOnly));
}

#[test]
fn malformed_links_say_what_is_wrong() {
    let value = |result: Result<ShareLink, LinkProblem>, wanted: &str| match result {
        Err(LinkProblem::Value { key, .. }) => assert_eq!(key, wanted),
        other => panic!("{other:?}"),
    };
    value(with(&format!("/descriptor={}", &HASH[..40])), "descriptor");
    value(with("/name=%zz"), "name");
    value(with("/name=%4"), "name");
    value(with("/name=%ff"), "name");
    value(with(&format!("/sha256={HASH}/size=-1")), "size");
    value(with(&format!("/sha256={HASH}/size=9007199254740993")), "size");
    value(with(&format!("/sha256={HASH}/size=1/chunk=0")), "chunk");
    value(with(&format!("/sha256={HASH}/size=9007199254740992/chunk=1")), "size");
    value(parse("rtmfp-share://h/1/group=0102"), "group");
    value(parse("rtmfp-share://h/1/group=G:010"), "group");
    value(parse("rtmfp-share://h/1/group=G:"), "group");
    value(parse("rtmfp-share://h/1/group=G:0g"), "group");
    assert_eq!(parse("rtmfp-share://h/1/name=a"), Err(LinkProblem::Missing("group")));
    assert_eq!(with(&format!("/sha256={HASH}")), Err(LinkProblem::Missing("size")));
    assert_eq!(with("/size=5"), Err(LinkProblem::Missing("sha256")));
    assert_eq!(with("/name=a/name=b"), Err(LinkProblem::Duplicate("name".into())));
    assert_eq!(with("/oops"), Err(LinkProblem::NotAPair("oops".into())));
    assert_eq!(
        with(&format!("/descriptor={HASH}/sha256={HASH}/size=1")),
        Err(LinkProblem::BothIntegrities)
    );
    assert_eq!(with(&"/also=h".repeat(8)), Err(LinkProblem::TooManyServers));
    assert!(matches!(with(&"/x=y".repeat(5000)), Err(LinkProblem::TooLong(_))));
}

#[test]
fn errors_name_the_character() {
    let start = format!("rtmfp-share://é.example/1/group={GROUP}");
    let len = start.chars().count();
    for (rest, column) in [
        ("/oops", len + 1),
        ("/name=a%zz", len + 7),
        ("/name=%ff", len + 6),
        ("/sha256=12", len + 8),
        ("/size=-1", len + 6),
        ("/name=a/name=b", len + 8),
        ("/also=a/also=-", len + 13),
        (" /name=a b", len),
    ] {
        let error = format!("{start}{rest}").parse::<ShareLink>().unwrap_err();
        assert_eq!(error.column, column, "{rest}: {error}");
        assert!(error.to_string().starts_with(&format!("at character {}: ", column + 1)));
    }
    for (text, column) in [
        ("film.mp4", 0),
        ("rtmfp-share://h", 15),
        ("rtmfp-share://h/2/x", 16),
        ("rtmfp-share://h/1/group=0102", 24),
        ("rtmfp-share://h/1/group=G:01x2", 28),
        ("rtmfp-share://h/1/group=G:010/name=a", 29),
        ("rtmfp-share://-h/1/group=G:01", 14),
        ("rtmfp-share://h/1/name=a", 0),
    ] {
        let error = text.parse::<ShareLink>().unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
    }
}

#[test]
fn bad_server_addresses_are_refused() {
    for bad in [
        "",
        ":1935",
        "h:",
        "h:0",
        "h:65536",
        "h:+1",
        "[::1",
        "[::1]1935",
        "[h]:1",
        "::1",
        "a b",
        "-h",
        "h@x",
    ] {
        assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
    }
    assert_eq!("h".parse::<ServerAddress>().unwrap().port(), 1935);
    assert_eq!("[::1]".parse::<ServerAddress>().unwrap().to_string(), "[::1]:1935");
    assert!(ServerAddress::new("::1]/2/x=[", 1).is_err());
}

#[test]
fn unknown_keys_are_skipped() {
    assert_eq!(with("/colour=blue/").unwrap(), with("").unwrap());
}

#[test]
fn a_hostile_name_needs_no_quotes_in_a_shell() {
    let mut link = with("").unwrap();
    link.name = Some("a';rm -rf $HOME/*&é".into());
    let text = link.to_string();
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/=%".contains(&b)), "{text}");
    assert_eq!(parse(&text).unwrap(), link);
}

proptest! {
    #[test]
    fn any_link_round_trips(name in ".*", app in ".*", ports in prop::collection::vec(1..u16::MAX, 0..=MAX_SERVERS), size in 0..1u64 << 32, chunk_size in 1..=MAX_CHUNK_SIZE) {
        prop_assume!(name.len() + app.len() < 1000);
        let servers = ports.iter().map(|&port| ServerAddress::new("example.org", port).unwrap());
        let mut link = ShareLink::new(servers.collect(), GROUP).unwrap();
        link.name = Some(name);
        link.app = app;
        link.integrity = Integrity::File { sha256: Digest256::of(b"x"), size, chunk_size };
        prop_assert_eq!(parse(&link.to_string()).unwrap(), link);
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in ".*") {
        let _ = parse(&text);
        let _ = parse(&format!("rtmfp-share://{text}"));
        let _ = parse(&format!("rtmfp-share://h/1/{text}"));
        let _ = text.parse::<ServerAddress>();
    }
}
