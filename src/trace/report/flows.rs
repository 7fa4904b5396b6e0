//! Flows.

use super::Chosen;
use crate::trace::analyzer::Analyzer;
use crate::trace::flows::{Flow, FlowKey};
use crate::trace::json::Json;
use crate::trace::text::{Hex, Millis};
use std::io::{self, Write};
use std::time::Duration;

/// Prints the flows, a line each.
///
/// # Errors
///
/// Errors of `out`.
pub fn flows(analyzer: &Analyzer, chosen: &Chosen, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "session sender     flow for     answers    begun messages     bytes chunks resent \
         skipped  rtt min/mean/max"
    )?;
    let begin = analyzer.begin().unwrap_or_default();
    for (key, flow) in analyzer.flows().sorted() {
        if chosen.has_flow(&key) {
            write_flow(&key, flow, begin, out)?;
        }
    }
    match analyzer.flows().dropped() {
        0 => Ok(()),
        count => writeln!(out, "{count} older flows were dropped"),
    }
}

fn write_flow(key: &FlowKey, flow: &Flow, begin: Duration, out: &mut impl Write) -> io::Result<()> {
    let purpose = match flow.class {
        crate::trace::message::FlowClass::Unknown if !flow.metadata.is_empty() => {
            Hex(&flow.metadata[..flow.metadata.len().min(16)]).to_string()
        }
        class => class.to_string(),
    };
    let answers = flow.association.map_or("-".to_owned(), |flow| flow.to_string());
    let begun = flow.begun.saturating_sub(begin).as_secs_f64();
    write!(
        out,
        "#{:<6} {:<9} {:>5} {:<7} {:>7} {begun:>8.3} {:>8} {:>9} {:>6} {:>6} {:>7}",
        key.session,
        key.side.name(),
        key.flow,
        purpose,
        answers,
        flow.messages,
        flow.message_bytes,
        flow.chunks,
        flow.retransmitted,
        flow.skipped
    )?;
    if flow.rtt.samples > 0 {
        let (min, mean, max) = (flow.rtt.min, flow.rtt.mean(), flow.rtt.max);
        write!(out, "  {} / {} / {}", Millis(min), Millis(mean), Millis(max))?;
    }
    if flow.reordered > 0 {
        write!(out, "  {} out of order", flow.reordered)?;
    }
    if let Some(code) = flow.exception {
        write!(out, "  rejected with {code}")?;
    }
    if flow.finished {
        write!(out, "  finished")?;
    }
    writeln!(out)
}

/// Writes the flows as JSON, an object a line.
pub fn flows_json(analyzer: &Analyzer, chosen: &Chosen, out: &mut Vec<u8>) {
    for (key, flow) in analyzer.flows().sorted() {
        if !chosen.has_flow(&key) {
            continue;
        }
        Json::new(out).object(|json| flow_json(&key, flow, json));
        out.push(b'\n');
    }
}

fn flow_json(key: &FlowKey, flow: &Flow, json: &mut Json<'_>) {
    json.key("session").number(key.session);
    json.key("sender").text(key.side.name());
    json.key("flow").number(key.flow);
    json.key("class").display(flow.class);
    json.key("metadata").hex(&flow.metadata);
    if let Some(association) = flow.association {
        json.key("answers").number(association);
    }
    json.key("first").seconds(flow.begun);
    json.key("last").seconds(flow.latest);
    for (name, count) in [
        ("chunks", flow.chunks),
        ("bytes", flow.bytes),
        ("messages", flow.messages),
        ("message_bytes", flow.message_bytes),
        ("retransmitted", flow.retransmitted),
        ("reordered", flow.reordered),
        ("skipped", flow.skipped),
        ("acks", flow.acks),
    ] {
        json.key(name).number(count);
    }
    if flow.rtt.samples > 0 {
        json.key("rtt").object(|json| {
            json.key("samples").number(flow.rtt.samples);
            json.key("min").seconds(flow.rtt.min);
            json.key("mean").seconds(flow.rtt.mean());
            json.key("max").seconds(flow.rtt.max);
        });
    }
    if let Some(code) = flow.exception {
        json.key("exception").number(code);
    }
    json.key("finished").bool(flow.finished);
}
