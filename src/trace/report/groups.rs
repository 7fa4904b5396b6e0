//! Groups.

use super::Chosen;
use crate::group::ReceiveMode;
use crate::trace::analyzer::Analyzer;
use crate::trace::groups::{GroupTrace, MemberTrace, Peer};
use crate::trace::json::Json;
use crate::trace::text::{Hex, Ranges, Seconds};
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// Prints the groups.
///
/// # Errors
///
/// Errors of `out`.
pub fn groups(analyzer: &Analyzer, chosen: &Chosen, out: &mut impl Write) -> io::Result<()> {
    for (id, group) in analyzer.groups().iter().filter(|(_, group)| is_chosen(group, chosen)) {
        writeln!(out, "group {id}")?;
        if let Some(text) = &group.text {
            writeln!(out, "  canonical text {text:?}")?;
        }
        write!(out, "  messages")?;
        for (name, count) in &group.messages {
            write!(out, "  {name} {count}")?;
        }
        writeln!(out)?;
        for (peer, member) in &group.members {
            write_member(peer, member, out)?;
        }
        write_links(group, out)?;
        write_posts(group, out)?;
        for (key, stream) in &group.streams {
            write!(out, "  stream {:?}  key {}", stream.name, Hex(&key[..8]))?;
            write!(out, "  first at {} by {}", Seconds(stream.first), stream.from)?;
            let (fragments, bytes, newest) = (stream.fragments, stream.bytes, stream.newest);
            write!(out, "  {fragments} fragments, {bytes} bytes, up to {newest}")?;
            match stream.end {
                Some(end) => writeln!(out, ", ended before {end}")?,
                None => writeln!(out)?,
            }
        }
    }
    Ok(())
}

fn is_chosen(group: &GroupTrace, chosen: &Chosen) -> bool {
    chosen.is_everything || group.links.keys().any(|session| chosen.has_session(*session))
}

fn write_member(peer: &Peer, member: &MemberTrace, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  member {peer}")?;
    if let Some(joined) = member.joined {
        let introduced = member.introduced;
        writeln!(out, "    joined at {}, was introduced to {introduced} members", Seconds(joined))?;
    }
    if let Some(mode) = member.mode {
        writeln!(out, "    receives {}", mode_name(mode))?;
    }
    let has: Vec<_> = member.has.ranges().collect();
    let wanted: Vec<_> = member.wanted.ranges().collect();
    let more = if member.is_cut { " (and more)" } else { "" };
    if !has.is_empty() || !wanted.is_empty() || member.objects_sent + member.denied > 0 {
        writeln!(out, "    objects  has {}, asked for {}{more}", Ranges(&has), Ranges(&wanted))?;
        let (sent, received, denied) =
            (member.objects_sent, member.objects_received, member.denied);
        writeln!(out, "    objects  gave {sent}, got {received}, refused {denied}")?;
    }
    let sent = (member.posts_sent, member.directed_sent, member.fragments_sent);
    if sent != (0, 0, 0) {
        let (posts, directed, fragments) = sent;
        writeln!(
            out,
            "    sent {posts} posts, {directed} directed messages, {fragments} stream fragments"
        )?;
    }
    Ok(())
}

const fn mode_name(mode: ReceiveMode) -> &'static str {
    match mode {
        ReceiveMode::Exact => "exact",
        ReceiveMode::Nearest => "nearest",
    }
}

fn write_links(group: &GroupTrace, out: &mut impl Write) -> io::Result<()> {
    for (session, link) in &group.links {
        let state = match link.accepted {
            [true, true] => "neighbors",
            [false, false] => "not accepted",
            _ => "accepted by one",
        };
        write!(out, "  session #{session} at {}: {state}", Seconds(link.begun))?;
        let [a, b] = link.reports;
        write!(out, ", {a} and {b} reports")?;
        for (is_unneeded, who) in link.unneeded.into_iter().zip(["initiator", "responder"]) {
            if is_unneeded {
                write!(out, ", not needed by the {who}")?;
            }
        }
        writeln!(out)?;
        writeln!(out, "    {}", link.initiator)?;
        writeln!(out, "    {}", link.responder)?;
    }
    Ok(())
}

fn write_posts(group: &GroupTrace, out: &mut impl Write) -> io::Result<()> {
    let mut posts: Vec<_> = group.posts.iter().collect();
    posts.sort_by_key(|(key, post)| (post.first, **key));
    for (key, post) in posts {
        let [announced, asked, sent] = post.counts;
        write!(out, "  post {} at {}", Hex(&key.0), Seconds(post.first))?;
        write!(out, "  announced {announced}, asked for {asked}, sent {sent} times")?;
        match &post.value {
            Some(value) => writeln!(out, "  {} bytes: {value}", post.len)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// Writes the groups as JSON, an object a line.
pub fn groups_json(analyzer: &Analyzer, chosen: &Chosen, out: &mut Vec<u8>) {
    for (id, group) in analyzer.groups().iter().filter(|(_, group)| is_chosen(group, chosen)) {
        Json::new(out).object(|json| {
            json.key("group").display(id);
            if let Some(text) = &group.text {
                json.key("canonical_text").text(text);
            }
            json.key("messages").object(|json| {
                group.messages.iter().for_each(|(name, count)| json.key(name).number(*count));
            });
            json.key("members").array(|json| {
                for (peer, member) in &group.members {
                    json.object(|json| member_json(peer, member, json));
                }
            });
            json.key("links").array(|json| links_json(group, json));
            json.key("posts").array(|json| posts_json(group, json));
            json.key("streams").array(|json| streams_json(group, json));
        });
        out.push(b'\n');
    }
}

fn member_json(peer: &Peer, member: &MemberTrace, json: &mut Json<'_>) {
    json.key("peer").display(peer);
    if let Some(joined) = member.joined {
        json.key("joined").seconds(joined);
    }
    json.key("introduced").number(member.introduced);
    if let Some(mode) = member.mode {
        json.key("mode").text(mode_name(mode));
    }
    ranges_json(json.key("has"), member.has.ranges());
    ranges_json(json.key("asked_for"), member.wanted.ranges());
    json.key("is_cut").bool(member.is_cut);
    for (name, count) in [
        ("objects_sent", member.objects_sent),
        ("objects_received", member.objects_received),
        ("denied", member.denied),
        ("posts_sent", member.posts_sent),
        ("directed_sent", member.directed_sent),
        ("fragments_sent", member.fragments_sent),
    ] {
        json.key(name).number(count);
    }
}

fn ranges_json(json: &mut Json<'_>, ranges: impl Iterator<Item = RangeInclusive<u64>>) {
    json.array(|json| {
        for range in ranges {
            json.array(|json| {
                json.number(*range.start());
                json.number(*range.end());
            });
        }
    });
}

fn links_json(group: &GroupTrace, json: &mut Json<'_>) {
    for (session, link) in &group.links {
        json.object(|json| {
            json.key("session").number(*session);
            json.key("begun").seconds(link.begun);
            let ends = [("initiator", link.initiator), ("responder", link.responder)];
            for (i, (name, peer)) in ends.into_iter().enumerate() {
                json.key(name).object(|json| {
                    json.key("peer").display(peer);
                    json.key("accepted").bool(link.accepted[i]);
                    json.key("unneeded").bool(link.unneeded[i]);
                    json.key("reports").number(link.reports[i]);
                });
            }
        });
    }
}

fn posts_json(group: &GroupTrace, json: &mut Json<'_>) {
    for (key, post) in &group.posts {
        json.object(|json| {
            json.key("key").hex(&key.0);
            json.key("first").seconds(post.first);
            json.key("from").display(post.from);
            let [announced, asked, sent] = post.counts;
            json.key("announced").number(announced);
            json.key("asked_for").number(asked);
            json.key("sent").number(sent);
            if let Some(value) = &post.value {
                json.key("len").number(post.len as u64);
                json.key("value").text(value);
            }
        });
    }
}

fn streams_json(group: &GroupTrace, json: &mut Json<'_>) {
    for (key, stream) in &group.streams {
        json.object(|json| {
            json.key("name").text(&stream.name);
            json.key("key").hex(key);
            json.key("from").display(stream.from);
            json.key("first").seconds(stream.first);
            json.key("fragments").number(stream.fragments);
            json.key("bytes").number(stream.bytes);
            json.key("newest").number(stream.newest);
            if let Some(end) = stream.end {
                json.key("end").number(end);
            }
        });
    }
}
