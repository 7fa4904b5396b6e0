//! Counts.

use crate::trace::CaptureStats;
use crate::trace::capture::{Frames, UnreadCount};
use crate::trace::fields::{CHUNKS, find};
use crate::trace::json::Json;
use crate::trace::message::FlowClass;
use crate::trace::text::Hex;
use std::io::{self, Write};

/// Bytes of metadata that are shown.
const MAX_METADATA: usize = 32;

/// Prints the counts.
///
/// # Errors
///
/// Errors of `out`.
pub fn stats(stats: &CaptureStats, out: &mut impl Write) -> io::Result<()> {
    for (name, count) in packets(stats) {
        writeln!(out, "{name:<12} {count:>12}")?;
    }
    if !stats.chunks.is_empty() {
        writeln!(out, "\nchunks")?;
    }
    for (code, count) in &stats.chunks {
        let name = find(CHUNKS, (*code).into()).map_or("Unknown", |layout| layout.key);
        writeln!(out, "  {code:02x} {name:<16} {count:>12}")?;
    }
    if !stats.flow_metadata.is_empty() {
        writeln!(out, "\nuser data with flow metadata")?;
    }
    for (metadata, count) in &stats.flow_metadata {
        let class = FlowClass::of(metadata);
        let shown = Hex(&metadata[..metadata.len().min(MAX_METADATA)]).to_string();
        writeln!(out, "  {shown:<12} {class:<6} {count:>12}")?;
    }
    frames(&stats.frames, out)
}

fn frames(frames: &Frames, out: &mut impl Write) -> io::Result<()> {
    if frames.total == 0 {
        return Ok(());
    }
    writeln!(out, "\nframes")?;
    for (name, count) in
        [("read", frames.read), ("pieces", frames.pieces), ("not read", frames.unread)]
    {
        writeln!(out, "  {name:<20} {count:>12}")?;
    }
    for (why, count) in frames.reasons() {
        let UnreadCount { frames, first } = count;
        writeln!(out, "    {frames:>10}  {why}, from frame {first} on")?;
    }
    Ok(())
}

fn packets(stats: &CaptureStats) -> [(&'static str, u64); 7] {
    [
        ("datagrams", stats.datagrams),
        ("startup", stats.startup),
        ("session", stats.session),
        ("sessions", stats.sessions),
        ("too_short", stats.too_short),
        ("undecoded", stats.undecoded),
        ("trailing", stats.trailing),
    ]
}

/// Writes the counts as one JSON object and a line end. A count of zero is left out.
pub fn stats_json(stats: &CaptureStats, out: &mut Vec<u8>) {
    Json::new(out).object(|json| {
        json.key("packets").object(|json| {
            for (name, count) in packets(stats).into_iter().filter(|(_, count)| *count > 0) {
                json.key(name).number(count);
            }
        });
        json.key("chunks").object(|json| {
            for (code, count) in &stats.chunks {
                json.key(&format!("{code:02x}")).number(*count);
            }
        });
        json.key("flow_metadata").object(|json| {
            for (metadata, count) in &stats.flow_metadata {
                json.key(&Hex(metadata).to_string()).number(*count);
            }
        });
        if stats.frames.total > 0 {
            json.key("frames").object(|json| frames_json(&stats.frames, json));
        }
    });
    out.push(b'\n');
}

fn frames_json(frames: &Frames, json: &mut Json<'_>) {
    json.key("total").number(frames.total);
    json.key("read").number(frames.read);
    json.key("pieces").number(frames.pieces);
    json.key("unread").number(frames.unread);
    json.key("reasons").array(|json| {
        for (why, count) in frames.reasons() {
            json.object(|json| {
                json.key("reason").text(why.kind());
                if let Some(number) = why.number() {
                    json.key("number").number(number.into());
                }
                if let Some(name) = why.name() {
                    json.key("name").text(name);
                }
                json.key("frames").number(count.frames);
                json.key("first").number(count.first);
            });
        }
    });
}
