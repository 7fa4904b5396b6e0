"use strict";

// The page of a server. It shows what /api/v1 answers, and asks again when an event says that
// something has changed.

/** Milliseconds between two looks at the lists, at least. */
const LOOK = 1000;
/** Introductions settle by themselves: a look after this time even if nothing happens. */
const SETTLE = 4000;
const RETRY = 3000;
/** Entries of a table, at first. */
const ROWS = 25;

const OUTCOMES = {
  pending: "pending",
  succeeded: "reached",
  no_answer: "failed: no answer from the peer",
  unknown_peer: "failed: the peer is not connected here",
  limited: "refused: too many hellos from this address",
};

let lastStatus = null, sessionRows = ROWS;
let timer = null, isLooking = false, hasChanged = false, lookedAt = -LOOK;

function set(id, text) {
  const node = $(id);
  // Nothing is announced or drawn anew that has not changed.
  if (node.textContent !== text) node.textContent = text;
}

function state(kind, text) {
  $("state").dataset.state = kind;
  set("state", text);
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function time(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

function short(id) {
  return `${id.slice(0, 8)}…`;
}

function showStatus(status) {
  state("fine", "Running");
  set("where", status.urls.join(" "));
  set("clients", status.clients.toLocaleString("en"));
  set("connected", `${status.connected.toLocaleString("en")} ever connected`);
  set("groups", status.groups.toLocaleString("en"));
  set("sessions", count(status.sessions, "session", "sessions"));
  set("made", status.introductions.made.toLocaleString("en"));
  set("refused", `${status.introductions.unknown} unknown, ${status.introductions.limited} limited`);
  set("streams", status.streams.toLocaleString("en"));
  set("players", count(status.players, "player", "players"));
  set("received", `${bytes(status.traffic.bytes_in)} in all`);
  set("sent", `${bytes(status.traffic.bytes_out)} in all`);
  set("memory", bytes(status.memory_held));
  set("uptime", time(status.uptime));
  set("version", `version ${status.version}`);
  const cluster = status.cluster;
  $("cluster").hidden = cluster === null;
  if (cluster) {
    set("servers", cluster.servers.toLocaleString("en"));
    const bus = cluster.connected ? "NATS is connected" : "NATS cannot be reached";
    set("bus", `${bus}, ${count(cluster.commands.lost, "command", "commands")} lost`);
  }
  const span = lastStatus ? status.uptime - lastStatus.uptime : 0;
  if (span > 0) {
    const rate = (key) => bytes((status.traffic[key] - lastStatus.traffic[key]) / span);
    set("down", `${rate("bytes_in")}/s`);
    set("up", `${rate("bytes_out")}/s`);
  }
  lastStatus = status;
}

/** Rows of a table: each cell is a text, or an object of text, class and title. */
function fill(id, rows) {
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const { text, kind, title, outcome } = typeof cell === "object" ? cell : { text: cell };
      const td = document.createElement("td");
      td.textContent = text;
      if (kind) td.className = kind;
      if (title) td.title = title;
      if (outcome) td.dataset.outcome = outcome;
      row.append(td);
    }
    return row;
  });
  $(id).replaceChildren(...made);
}

function peer(id) {
  return { text: short(id), kind: "id", title: id };
}

async function ask(path) {
  const response = await fetch(`/api/v1/${path}`);
  return response.ok ? response.json() : null;
}

function showSessions(list) {
  fill("session-rows", list.entries.map((it) => [
    peer(it.peer_id), it.address,
    it.application === null ? "connecting" : { text: it.application, kind: "text", title: it.application },
    String(it.groups), it.round_trip === null ? "–" : `${Math.round(it.round_trip * 1000)} ms`,
    bytes(it.bytes_in), bytes(it.bytes_out),
  ]));
  $("more").hidden = list.next === null;
}

function showApplications(list) {
  fill("applications", list.entries.map((it) => [
    { text: it.name || "(no name)", kind: "text", title: it.name }, String(it.clients), String(it.streams),
  ]));
}

function showIntroductions(list) {
  const counts = {};
  for (const { outcome } of list.entries) counts[outcome] = (counts[outcome] || 0) + 1;
  const all = Object.keys(OUTCOMES).filter((key) => counts[key]);
  const words = all.map((key) => `${counts[key]} ${OUTCOMES[key]}`).join("; ");
  set("outcomes", words ? `Of the last ${list.entries.length}: ${words}.` : "None yet.");
  fill("introductions", list.entries.slice(0, ROWS).map((it) => [
    time(it.age), it.asker ? { text: `${short(it.asker)} at ${it.from}`, title: it.asker } : it.from,
    peer(it.peer_id), String(it.hellos), { text: OUTCOMES[it.outcome], outcome: lineOf(it.outcome) },
  ]));
}

/** The groups to choose from; the chosen one stays. */
function showGroups(list) {
  const select = $("group"), chosen = select.value;
  const options = list.entries.map((it) => {
    const option = new Option(`${short(it.id)} (${count(it.members, "member", "members")})`, it.id);
    option.selected = it.id === chosen;
    return option;
  });
  // An open list is left alone while it says the same.
  const text = (all) => [...all].map((option) => option.value + option.text).join();
  if (text(select.options) !== text(options)) select.replaceChildren(...options);
  $("no-groups").hidden = options.length > 0;
  $("choice").hidden = options.length === 0;
}

async function showGroup() {
  const id = $("group").value;
  const group = id ? await ask(`groups/${id}?limit=300`) : null;
  $("picture").hidden = group === null;
  if (group === null || group.id !== $("group").value) return;
  set("ring-text", drawRing($("ring"), group));
  fill("members", group.members.map((it) => [peer(it.peer_id), it.address, `${time(it.idle)} ago`]));
}

function lookIn(delay) {
  clearTimeout(timer);
  timer = setTimeout(look, delay);
}

/** Looks at all lists. */
async function look() {
  if (isLooking) return;
  [isLooking, hasChanged] = [true, false];
  try {
    const [groups, introductions, sessions, applications] = await Promise.all([
      ask("groups?limit=100"), ask("introductions?limit=200"),
      ask(`sessions?limit=${sessionRows}`), ask(`applications?limit=${ROWS}`),
    ]);
    if (groups) showGroups(groups);
    if (introductions) showIntroductions(introductions);
    if (sessions) showSessions(sessions);
    if (applications) showApplications(applications);
    await showGroup();
  } catch {
    // The events say that the server cannot be reached.
  }
  [isLooking, lookedAt] = [false, performance.now()];
  lookIn(hasChanged ? LOOK : SETTLE);
}

/** There may be something new to look at. */
function change() {
  hasChanged = true;
  if (!isLooking) lookIn(Math.max(0, lookedAt + LOOK - performance.now()));
}

function follow() {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
  events.addEventListener("report", change);
  events.addEventListener("open", change);
  events.addEventListener("error", () => {
    state("error", "The server cannot be reached");
    lastStatus = null;
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, RETRY);
  });
}

$("group").addEventListener("change", () => showGroup().catch(() => {}));
$("more").addEventListener("click", () => { sessionRows = Math.min(sessionRows + 100, 1000); change(); });
follow();
