//! Sessions.

use super::Chosen;
use crate::crypto::{Direction, Verification};
use crate::trace::analyzer::Analyzer;
use crate::trace::json::Json;
use crate::trace::sessions::{End, Session, Target};
use crate::trace::text::{Millis, Seconds};
use std::io::{self, Write};
use std::time::Duration;

/// Prints the sessions.
///
/// # Errors
///
/// Errors of `out`.
pub fn sessions(analyzer: &Analyzer, chosen: &Chosen, out: &mut impl Write) -> io::Result<()> {
    let begin = analyzer.begin().unwrap_or_default();
    for (number, session) in analyzer.sessions().iter().filter(|(n, _)| chosen.has_session(*n)) {
        let since = |time: Duration| Seconds(time.saturating_sub(begin));
        writeln!(out, "session #{number}  keyed at {}", since(session.keyed))?;
        if let Some((initiator, responder)) = session.keyed_between {
            writeln!(out, "  between      {initiator} and {responder}")?;
        }
        if !session.has_secret {
            writeln!(out, "  cannot be decrypted: no key log has its secret")?;
        }
        match &session.target {
            Target::Uri(uri) => writeln!(out, "  asked for    {uri:?}")?,
            Target::Peer(peer) => writeln!(out, "  asked for    peer {peer}")?,
            Target::Unknown => {}
        }
        for introduction in &session.introductions {
            let (via, frame) = (introduction.session, introduction.frame);
            let time = since(introduction.time);
            writeln!(out, "  introduced   by session #{via} at {time} (frame {frame})")?;
        }
        if session.redirects > 0 {
            writeln!(out, "  redirected   {} times", session.redirects)?;
        }
        if let Some(setup) = session.setup {
            writeln!(out, "  set up in    {}", Millis(setup))?;
        }
        if let Some([initiator, responder]) = session.agreed {
            let (a, b) = (verification(initiator), verification(responder));
            writeln!(out, "  packets      of the initiator {a}, of the responder {b}")?;
        }
        write_end("initiator", session.initiator_id, &session.initiator, begin, out)?;
        write_end("responder", session.responder_id, &session.responder, begin, out)?;
        if let Some((side, time)) = session.closed {
            writeln!(out, "  closed       by the {} at {}", side.name(), since(time))?;
        }
    }
    Ok(())
}

fn verification(direction: Direction) -> String {
    let how = match direction.verification {
        Verification::Checksum => "checksum".to_owned(),
        Verification::Hmac(len) => format!("hmac of {len} bytes"),
    };
    if direction.sequence_numbers { how + " and sequence number" } else { how }
}

fn write_end(
    name: &str,
    id: u32,
    end: &End,
    begin: Duration,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "  {name:<12} id {id:08x}")?;
    if let Some(fingerprint) = end.fingerprint {
        write!(out, "  peer {fingerprint}")?;
    }
    writeln!(out)?;
    let addresses: Vec<_> = end.addresses.iter().map(ToString::to_string).collect();
    if end.packets > 0 {
        let (min, max) = end.sizes;
        let first = Seconds(end.first.unwrap_or_default().saturating_sub(begin));
        let latest = Seconds(end.latest.saturating_sub(begin));
        writeln!(
            out,
            "               {} packets, {} bytes ({min} to {max} each), {first} to {latest}, \
             {:.0} B/s",
            end.packets,
            end.bytes,
            end.rate()
        )?;
        writeln!(out, "               from {}", addresses.join(", "))?;
    }
    if end.moves > 0 {
        writeln!(out, "               moved {} times", end.moves)?;
    }
    if end.unreadable > 0 {
        writeln!(out, "               {} packets cannot be decrypted", end.unreadable)?;
    }
    Ok(())
}

/// Writes the sessions as JSON, an object a line.
pub fn sessions_json(analyzer: &Analyzer, chosen: &Chosen, out: &mut Vec<u8>) {
    for (number, session) in analyzer.sessions().iter().filter(|(n, _)| chosen.has_session(*n)) {
        Json::new(out).object(|json| session_json(number, session, json));
        out.push(b'\n');
    }
}

fn session_json(number: u64, session: &Session, json: &mut Json<'_>) {
    json.key("session").number(number);
    json.key("keyed").seconds(session.keyed);
    if let Some((initiator, responder)) = session.keyed_between {
        json.key("keyed_between").array(|json| {
            json.display(initiator);
            json.display(responder);
        });
    }
    json.key("has_secret").bool(session.has_secret);
    match &session.target {
        Target::Uri(uri) => json.key("uri").text(uri),
        Target::Peer(peer) => json.key("peer").display(peer),
        Target::Unknown => {}
    }
    json.key("introductions").array(|json| {
        for introduction in &session.introductions {
            json.object(|json| {
                json.key("session").number(introduction.session);
                json.key("time").seconds(introduction.time);
                json.key("frame").number(introduction.frame);
            });
        }
    });
    json.key("redirects").number(session.redirects);
    if let Some(setup) = session.setup {
        json.key("setup").seconds(setup);
    }
    let agreed = session.agreed.map(|[initiator, responder]| [Some(initiator), Some(responder)]);
    let [initiator, responder] = agreed.unwrap_or_default();
    let ends = [
        ("initiator", session.initiator_id, &session.initiator, initiator),
        ("responder", session.responder_id, &session.responder, responder),
    ];
    for (name, id, end, direction) in ends {
        json.key(name).object(|json| end_json(id, end, direction, json));
    }
    if let Some((side, time)) = session.closed {
        json.key("closed").object(|json| {
            json.key("by").text(side.name());
            json.key("time").seconds(time);
        });
    }
}

fn end_json(id: u32, end: &End, direction: Option<Direction>, json: &mut Json<'_>) {
    json.key("id").display(format_args!("{id:08x}"));
    if let Some(fingerprint) = end.fingerprint {
        json.key("peer").display(fingerprint);
    }
    if let Some(direction) = direction {
        json.key("hmac_len").number(match direction.verification {
            Verification::Checksum => 0,
            Verification::Hmac(len) => len.into(),
        });
        json.key("sequence_numbers").bool(direction.sequence_numbers);
    }
    json.key("addresses").array(|json| end.addresses.iter().for_each(|a| json.display(a)));
    json.key("moves").number(end.moves);
    json.key("packets").number(end.packets);
    json.key("bytes").number(end.bytes);
    json.key("smallest").number(end.sizes.0 as u64);
    json.key("largest").number(end.sizes.1 as u64);
    if let Some(first) = end.first {
        json.key("first").seconds(first);
        json.key("last").seconds(end.latest);
    }
    json.key("unreadable").number(end.unreadable);
}
