//! A client and a server, joined without a transport.

use std::collections::BTreeMap;

use super::*;
use crate::flash::{
    ClientConfig, ClientConnection, ClientEvent, Keepalive, Methods, Rejection, Uri,
};

/// Both ends, and which flow of one is which of the other.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    /// Flow IDs of the flows that each end sends on.
    client_flows: BTreeMap<FlowToken, FlowId>,
    server_flows: BTreeMap<FlowToken, FlowId>,
    closed: bool,
}

macro_rules! deliver {
    ($pair:ident, $action:expr, $flows:ident, $back:ident, $from:ident, $to:ident) => {
        match $action {
            FlowAction::Open { token, metadata, options: FlowOptions { association, .. } } => {
                // Numbers start elsewhere than tokens, so that one is not taken for the other.
                let flow = FlowId(u64::from(token.0) + 70);
                let ours = association.map(|flow| {
                    let known = $pair.$back.iter().find(|(_, known)| **known == flow);
                    *known.expect("an associated flow exists").0
                });
                assert!($pair.$flows.insert(token, flow).is_none(), "a token is used once");
                if let FlowDecision::Reject(code) =
                    $pair.$to.on_flow_opened(Time::ZERO, flow, &metadata, ours)
                {
                    $pair.$from.on_flow_rejected(token, code);
                }
            }
            FlowAction::Send { token: flow, message, .. } => {
                $pair.$to.on_message(Time::ZERO, $pair.$flows[&flow], &message);
            }
            FlowAction::Finish { token } => $pair.$to.on_flow_finished($pair.$flows[&token]),
            FlowAction::Reject { .. } => panic!("nothing is rejected here"),
            FlowAction::Close => {
                $pair.closed = true;
                $pair.$to.on_session_closed();
                $pair.$from.on_session_closed();
            }
        }
    };
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConnectionConfig) -> Self {
        let uri = Uri::parse("rtmfp://server.example/app/inst").unwrap();
        let args = vec!["user".into()];
        let mut pair = Self {
            client: ClientConnection::connect(Time::ZERO, client, &uri, args).unwrap(),
            server: ServerConnection::new(Time::ZERO, server),
            client_flows: BTreeMap::new(),
            server_flows: BTreeMap::new(),
            closed: false,
        };
        pair.run();
        pair
    }

    fn connected(client: ClientConfig, server: ServerConnectionConfig) -> Self {
        let mut pair = Self::new(client, server);
        assert!(matches!(
            pair.server.poll_event(),
            Some(ServerConnectionEvent::ConnectRequested(_))
        ));
        pair.server.accept(Time::ZERO, NO_EXTRA).unwrap();
        pair.run();
        assert!(matches!(pair.client.poll_event(), Some(ClientEvent::Connected { .. })));
        assert!(matches!(pair.client.poll_event(), Some(ClientEvent::Keepalive(_))));
        assert!(matches!(pair.server.poll_event(), Some(ServerConnectionEvent::PeerInfo(_))));
        pair
    }

    fn run(&mut self) {
        loop {
            let (client, server) = (self.client.poll_action(), self.server.poll_action());
            if client.is_none() && server.is_none() {
                return;
            }
            if let Some(action) = client {
                deliver!(self, action, client_flows, server_flows, client, server);
            }
            if let Some(action) = server {
                deliver!(self, action, server_flows, client_flows, server, client);
            }
        }
    }
}

#[test]
fn connecting() {
    let mut pair = Pair::new(ClientConfig::default(), ServerConnectionConfig::default());
    let addresses = ["192.0.2.1:5".parse().unwrap(), "[2001:db8::1]:6".parse().unwrap()];
    pair.client.set_addresses(Time::ZERO, &addresses);
    let Some(ServerConnectionEvent::ConnectRequested(request)) = pair.server.poll_event() else {
        panic!()
    };
    assert_eq!(&*request.app, "app/inst");
    assert_eq!(request.tc_url.as_deref(), Some("rtmfp://server.example/app/inst"));
    assert!(request.flash_version.unwrap().starts_with("RTMFP 0,"));
    assert_eq!(request.args, ["user".into()]);

    pair.server.accept(Time::ZERO, [("connectionID", Value::from("7"))]).unwrap();
    pair.run();
    let Some(ClientEvent::Connected { info, encoding, .. }) = pair.client.poll_event() else {
        panic!();
    };
    assert_eq!(info.property("connectionID"), Some(&"7".into()));
    assert_eq!(encoding, ObjectEncoding::Amf3);
    let Some(ClientEvent::Keepalive(Keepalive { server, .. })) = pair.client.poll_event() else {
        panic!();
    };
    assert_eq!(server.as_secs(), 20);
    let Some(ServerConnectionEvent::PeerInfo(known)) = pair.server.poll_event() else { panic!() };
    assert_eq!(known, addresses);
    assert!(pair.client.is_connected() && pair.server.is_connected() && !pair.closed);
}

#[test]
fn a_rejection() {
    let mut pair = Pair::new(ClientConfig::default(), ServerConnectionConfig::default());
    pair.server.reject(Time::ZERO, &Rejection::new("go away")).unwrap();
    pair.run();
    let Some(ClientEvent::Failed(failure)) = pair.client.poll_event() else { panic!() };
    assert_eq!(failure.code, "NetConnection.Connect.Rejected");
    assert_eq!(failure.description, "go away");
    assert!(pair.closed);
    assert!(matches!(pair.server.poll_event(), Some(ServerConnectionEvent::ConnectRequested(_))));
    assert!(matches!(pair.server.poll_event(), Some(ServerConnectionEvent::Closed)));
}

#[test]
fn calls_both_ways_in_both_encodings() {
    for encoding in [ObjectEncoding::Amf0, ObjectEncoding::Amf3] {
        let client =
            ClientConfig { encoding, methods: Methods::named(["where"]), ..Default::default() };
        let server = ServerConnectionConfig { methods: Methods::All, ..Default::default() };
        let mut pair = Pair::connected(client, server);
        let shared = Value::object([("x", 1.0)]);
        let args = vec![shared.clone(), shared.clone(), Value::array([1.0, 2.0])];

        let asked = pair.client.call(Time::ZERO, "echo", args.clone()).unwrap();
        pair.run();
        let Some(ServerConnectionEvent::Call(call)) = pair.server.poll_event() else { panic!() };
        assert_eq!((&*call.name, &call.args), ("echo", &args));
        pair.server.answer(Time::ZERO, call.responder.unwrap(), Ok(Value::Null)).unwrap();
        pair.run();
        let Some(ClientEvent::Answered { call, outcome }) = pair.client.poll_event() else {
            panic!();
        };
        assert_eq!((call, outcome), (asked, Ok(Value::Null)));

        let asked = pair.server.call(Time::ZERO, "where", vec![]).unwrap();
        let unknown = pair.server.call(Time::ZERO, "what", vec![]).unwrap();
        pair.run();
        let Some(ClientEvent::Call(call)) = pair.client.poll_event() else { panic!() };
        pair.client.answer(Time::ZERO, call.responder.unwrap(), Ok(shared)).unwrap();
        pair.run();
        let Some(ServerConnectionEvent::Answered { call, outcome: Err(info) }) =
            pair.server.poll_event()
        else {
            panic!();
        };
        assert_eq!(call, unknown);
        assert_eq!(info.property("code"), Some(&"NetConnection.Call.Failed".into()));
        let Some(ServerConnectionEvent::Answered { call, outcome }) = pair.server.poll_event()
        else {
            panic!();
        };
        assert_eq!((call, outcome), (asked, Ok(Value::object([("x", 1.0)]))));
    }
}

#[test]
fn closing_from_either_end() {
    let mut pair = Pair::connected(ClientConfig::default(), ServerConnectionConfig::default());
    pair.client.close();
    pair.run();
    assert!(matches!(pair.server.poll_event(), Some(ServerConnectionEvent::Closed)));
    assert!(pair.client.poll_event().is_none(), "who closes knows it");

    let mut pair = Pair::connected(ClientConfig::default(), ServerConnectionConfig::default());
    pair.server.close();
    pair.run();
    assert!(matches!(pair.client.poll_event(), Some(ClientEvent::Closed)));
    assert!(pair.server.poll_event().is_none(), "who closes knows it");
}
