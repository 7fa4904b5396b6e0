//! The player as responder.

use super::{Player, Terms, answer, is_acceptable, option};
use crate::recorded_player::member::Member;
use crate::recorded_player::session::{Session, With};
use rtmfp::proto::crypto::{Certificate, Epd, KeyingRandom, Respond};
use rtmfp::proto::transport::Time;
use rtmfp::wire::chunk::{CookieChange, InitiatorKeying, ResponderHello, ResponderKeying};
use rtmfp::wire::{Chunk, Mode};
use std::net::SocketAddr;

impl Player {
    /// The player as responder: it answers those who know its fingerprint.
    pub(super) fn answer_hello(&mut self, to: SocketAddr, epd: &[u8], tag: &[u8]) {
        let wanted = Epd::parse(epd).ok().and_then(|epd| epd.fingerprint());
        if wanted != Some(self.fingerprint()) {
            return;
        }
        let mut cookie = vec![0; 64];
        cookie.iter_mut().for_each(|byte| *byte = self.random.below(256) as u8);
        let identity = self.identity.clone();
        let certificate = identity.certificate().as_bytes();
        let hello = ResponderHello { tag_echo: tag, cookie: &cookie, certificate };
        self.startup(to, 0, &Chunk::ResponderHello(hello));
        self.cookies.push(cookie.clone());
    }

    pub(super) fn answer_keying(
        &mut self,
        now: Time,
        from: SocketAddr,
        session_id: u32,
        chunk: &InitiatorKeying<'_>,
    ) {
        self.judge.rule(now, "an initiator keying goes to session ID 0", session_id == 0, || {
            format!("{session_id:08x}")
        });
        let known = self.cookies.iter().any(|cookie| cookie == chunk.cookie);
        self.judge.rule(now, "the cookie is echoed", known, || format!("{:02x?}", chunk.cookie));
        if std::mem::take(&mut self.change_cookie) {
            let new_cookie: Vec<u8> = chunk.cookie.iter().map(|byte| byte ^ 0x5a).collect();
            self.cookies = vec![new_cookie.clone()];
            let change = CookieChange { old_cookie: chunk.cookie, new_cookie: &new_cookie };
            self.startup(from, chunk.session_id, &Chunk::CookieChange(change));
            return self.judge.replayed("cookie changes");
        }
        self.judge.rule(
            now,
            "an initiator's certificate has ephemeral or static keys in group 2",
            is_acceptable(chunk.certificate, false),
            || format!("{:02x?}", chunk.certificate),
        );
        let Ok(initiator) = Certificate::parse(chunk.certificate) else { return };
        self.terms.push(Terms::of(chunk.component));
        let ephemeral = option(chunk.component, 0x0d).is_some_and(|key| key.first() == Some(&2));
        let selected = option(chunk.component, 0x1d) == Some(&[2]);
        self.judge.rule(now, "the initiator keys in group 2", ephemeral != selected, || {
            format!("{:02x?}", chunk.component)
        });
        let terms = option(chunk.component, 0x1a).map_or((0, 0), |value| (value[0], value[1]));
        self.judge.rule(
            now,
            "the HMAC offer has a length of 4 to 32 if and only if it may send one",
            (terms.0 & 0x06 != 0) == (4..=32).contains(&terms.1)
                && (terms.0 & 0x06 != 0 || terms.1 == 0),
            || format!("{terms:02x?}"),
        );
        let work = Respond {
            identity: self.identity.clone(),
            initiator: initiator.clone(),
            skic: chunk.component.to_vec(),
            policy: answer(&Terms::of(chunk.component)),
            random: KeyingRandom::from_rng(&mut self.random),
        };
        let (component, keys) = match work.run() {
            Ok(result) => result,
            Err(error) => {
                return self.judge.rule(now, "the offer makes keys", false, || error.to_string());
            }
        };
        assert!(option(&component, 0x0d).is_none(), "a player has no ephemeral key");
        let near_id = self.next_id;
        self.next_id += 0x0100_0000;
        let answer =
            ResponderKeying { session_id: near_id, component: &component, signature: b"X" };
        self.startup(from, chunk.session_id, &Chunk::ResponderKeying(answer));
        let member = Member::new(
            self.spec.clone(),
            [self.fingerprint(), initiator.fingerprint()],
            self.address,
            keys.near_nonce,
            keys.far_nonce,
        );
        let (ids, with) = ([near_id, chunk.session_id], With::Peer(Box::new(member)));
        self.sessions.push(Session::new(now, Mode::Responder, ids, from, keys, None, with));
        self.judge.replayed("sessions answered");
    }
}
