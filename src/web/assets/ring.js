"use strict";

// The picture of a group: its members on the ring of group addresses.

const CENTER = 200, RADIUS = 140;
/** With more members than this, they have no names in the picture. */
const NAMED = 24;

/** The form in which a connection is drawn. */
function lineOf(outcome) {
  return outcome === "succeeded" || outcome === "pending" ? outcome : "failed";
}

function shape(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** The place of a member: its address grows clockwise from the top. */
function placeOf(member, radius) {
  const angle = 2 * Math.PI * member.position;
  return [CENTER + radius * Math.sin(angle), CENTER - radius * Math.cos(angle)];
}

/** The newest state of each pair of members. */
function pairsOf(links) {
  const pairs = new Map();
  for (const link of links) {
    const key = link.from < link.to ? link.from + link.to : link.to + link.from;
    if (!pairs.has(key)) pairs.set(key, link);
  }
  return [...pairs.values()];
}

/** Draws a group, and returns what there is to see, in words. */
function drawRing(svg, group) {
  const nodes = [shape("circle", { class: "circle", cx: CENTER, cy: CENTER, r: RADIUS })];
  const places = new Map(group.members.map((member) => [member.peer_id, placeOf(member, RADIUS)]));
  const pairs = pairsOf(group.links), counts = { succeeded: 0, pending: 0, failed: 0 };
  for (const { from, to, outcome } of pairs) {
    const kind = lineOf(outcome);
    counts[kind] += 1;
    const [[x1, y1], [x2, y2]] = [places.get(from), places.get(to)];
    // Through the inside of the ring, so that neighbors on it are seen to be connected.
    const [x, y] = [(x1 + x2 + CENTER) / 3, (y1 + y2 + CENTER) / 3];
    nodes.push(shape("path", { class: `link ${kind}`, d: `M${x1} ${y1}Q${x} ${y} ${x2} ${y2}` }));
  }
  for (const member of group.members) {
    const [cx, cy] = places.get(member.peer_id);
    const dot = shape("circle", { class: "member", cx, cy, r: group.members.length > 100 ? 4 : 7 });
    dot.append(shape("title", {}, `${member.peer_id} at ${member.address}`));
    nodes.push(dot);
    if (group.members.length <= NAMED) {
      const [x, y] = placeOf(member, RADIUS + 16);
      const anchor = Math.abs(x - CENTER) < 12 ? "middle" : x < CENTER ? "end" : "start";
      const name = { class: "name", x, y: y + 4, "text-anchor": anchor };
      nodes.push(shape("text", name, member.peer_id.slice(0, 6)));
    }
  }
  svg.replaceChildren(...nodes);
  const shown = group.members.length;
  const members = group.count === shown ? `${shown}` : `${shown} of ${group.count}`;
  return `${members} ${group.count === 1 ? "member" : "members"}; introduced to each other: ` +
    `${counts.succeeded} reached, ${counts.pending} pending, ${counts.failed} failed.`;
}
