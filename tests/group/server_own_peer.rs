//! A peer in the server's own process: it may do what others need tokens, consent and room for.

use crate::support::house::House;
use crate::support::secs;
use rtmfp::amf::Value;
use rtmfp::proto::rendezvous::{
    CheckTokens, HookConfig, OwnToken, RendezvousConfig, Rights, TokenError,
};
use rtmfp::proto::sim::SeededRandom;
use std::sync::Arc;

/// Lets nobody in.
#[derive(Debug)]
struct Closed;

impl CheckTokens for Closed {
    fn check(&self, token: Option<&str>, _: &str) -> Result<Rights, TokenError> {
        Err(if token.is_some() { TokenError::Invalid } else { TokenError::Missing })
    }
}

/// A server that lets nobody in, asks its owner everything, and has no room for groups.
fn closed(token: &OwnToken) -> RendezvousConfig {
    let mut config = RendezvousConfig::default();
    config.tokens = Some(Arc::new(Closed));
    config.hooks = Some(HookConfig::default());
    config.applications = Some(["chat".to_owned()].into());
    config.max_groups_per_client = 0;
    config.own_token = Some(token.clone());
    config
}

fn token(seed: u64) -> OwnToken {
    OwnToken::generate(&mut SeededRandom::new(seed))
}

#[test]
fn a_peer_of_the_process_needs_nothing_but_its_token() {
    let own = token(1);
    let mut house = House::new(1, closed(&own));
    let peer = house.client("", vec![own.argument()]);
    let other = house.client("", vec![token(2).argument()]);
    let client = house.client("chat", vec![]);
    assert_eq!(house.refusal(peer).as_deref(), Some(""));
    let refused = house.refusal(other).unwrap();
    assert!(refused.contains("NetConnection.Connect.InvalidApp"), "{refused}");
    assert!(house.refusal(client).unwrap().starts_with("a token is needed"));

    let published = house.publish(peer, "cam");
    let played = house.play(peer, "cam");
    house.network.run_for(secs(5));
    assert_eq!(house.status(peer, published).unwrap(), "Publish.Start");
    assert_eq!(house.status(peer, played).unwrap(), "Play.PublishNotify");
    house.close(peer, published);
    house.disconnect(peer);
    assert!(house.queries().is_empty(), "the owner is not asked");
    let events = house.events();
    assert!(events.contains(r#"name: Some("this server")"#), "{events}");
    let Value::String(text) = own.argument() else { panic!("no text") };
    assert!(!events.contains(&*text), "{events}");
}

#[test]
fn the_token_outlives_new_settings() {
    let own = token(1);
    let mut house = House::new(1, closed(&own));
    let mut new = closed(&token(2));
    new.own_token = None;
    house.reconfigure(new);
    let peer = house.client("", vec![own.argument()]);
    assert_eq!(house.refusal(peer).as_deref(), Some(""));
}

#[test]
fn a_server_without_peers_of_its_own_takes_no_such_token() {
    let mut config = closed(&token(1));
    config.own_token = None;
    let mut house = House::new(1, config);
    let peer = house.client("chat", vec![token(1).argument()]);
    assert!(house.refusal(peer).unwrap().starts_with("the token is not valid"));
}
