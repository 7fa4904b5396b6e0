//! A server whose clients need tokens: who gets in, and what a token lets a client do.

use crate::support::house::House;
use crate::support::secs;
use rtmfp::amf::Value;
use rtmfp::proto::rendezvous::{CheckTokens, Names, RendezvousConfig, Rights, TokenError};
use std::sync::Arc;

/// Takes tokens of the form `APP:NAME`, where NAME is what the client may publish.
#[derive(Debug)]
struct Porter;

impl CheckTokens for Porter {
    fn check(&self, token: Option<&str>, app: &str) -> Result<Rights, TokenError> {
        let (of, name) =
            token.ok_or(TokenError::Missing)?.split_once(':').ok_or(TokenError::Invalid)?;
        if of != app {
            return Err(TokenError::OtherApplication);
        }
        let publish = Names::Only([name.to_owned()].into());
        Ok(Rights { publish, play: Names::All, name: Some(format!("who may {name}")) })
    }
}

fn with_tokens() -> RendezvousConfig {
    let mut config = RendezvousConfig::default();
    config.tokens = Some(Arc::new(Porter));
    config
}

#[test]
fn who_has_no_token_is_told_why() {
    let mut house = House::new(1, with_tokens());
    for (app, args, expected) in [
        ("chat", vec![], "a token is needed: rtmfp://host/app?token=…"),
        ("chat?token=nonsense", vec![], "the token is not valid"),
        ("chat?token=tv:secret", vec![], "the token is for another application"),
        ("chat", vec![Value::from("nonsense")], "the token is not valid"),
    ] {
        let client = house.client(app, args);
        let expected = format!("{expected} (NetConnection.Connect.Rejected)");
        assert_eq!(house.refusal(client), Some(expected), "{app}");
    }
    let stats = house.server().stats();
    assert_eq!((stats.clients, stats.connected, stats.tokens_refused), (0, 0, 4));
    let events = house.events();
    assert!(events.contains("reason: Token(OtherApplication)"), "{events}");
    assert!(!events.contains("secret") && !events.contains("nonsense"), "{events}");
    house.network.run_for(secs(60));
    assert_eq!(house.server().endpoint().sessions().count(), 0, "they are closed");
}

#[test]
fn a_token_lets_a_client_do_what_it_says() {
    let mut house = House::new(1, with_tokens());
    let by_url = house.client("tv?x=1&token=tv:secret", vec![]);
    let by_argument = house.client("tv/_definst_", vec![Value::from("tv:cam")]);
    let object = Value::object([("token", "tv:other")]);
    let by_object = house.client("tv", vec![object]);
    for client in [by_url, by_argument, by_object] {
        assert_eq!(house.refusal(client).as_deref(), Some(""));
    }
    let denied = house.publish(by_url, "cam");
    let published = house.publish(by_argument, "cam");
    let played = house.play(by_object, "cam");
    house.network.run_for(secs(5));
    let status = house.status(by_url, denied).unwrap();
    assert!(status.contains("the token does not allow it"), "{status}");
    assert_eq!(house.status(by_argument, published).unwrap(), "Publish.Start");
    assert_eq!(house.status(by_object, played).unwrap(), "Play.PublishNotify");
    let stats = house.server().stats();
    assert_eq!((stats.connected, stats.tokens_refused, stats.rights_refused), (3, 0, 1));
    let events = house.events();
    assert!(events.contains(r#"name: Some("who may cam")"#), "{events}");
    assert!(events.contains("tv?x=1&token=…") && !events.contains("tv:"), "{events}");
}

/// The rights of who is connected stay; who connects needs a token by the new settings.
#[test]
fn tokens_can_be_asked_for_while_the_server_runs() {
    let mut house = House::new(1, RendezvousConfig::default());
    let first = house.client("tv", vec![]);
    house.reconfigure(with_tokens());
    let second = house.client("tv", vec![]);
    assert_eq!(house.refusal(first).as_deref(), Some(""));
    assert!(house.refusal(second).unwrap().starts_with("a token is needed"));
    let published = house.publish(first, "cam");
    house.network.run_for(secs(5));
    assert_eq!(house.status(first, published).unwrap(), "Publish.Start");
}
