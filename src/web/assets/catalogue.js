"use strict";

function say(level, text) {
  $("notice").dataset.level = level;
  $("notice").hidden = !text;
  $("text").textContent = text;
}

async function choose(id) {
  say("waiting", "Opening it");
  try {
    const answer = await fetch(`/catalogue/choose/${id}`, { method: "POST" });
    if (answer.ok) return location.assign("/");
    say("warning", await answer.text());
  } catch {
    say("error", "The program that browses the catalogue has ended.");
  }
}

/** The items on the page by the identity of their entries. */
const items = new Map();

function item(entry) {
  const button = document.createElement("button");
  button.type = "button";
  const name = document.createElement("span"), size = document.createElement("span");
  name.textContent = entry.name;
  size.textContent = entry.size === null ? "" : bytes(entry.size);
  size.className = "size";
  button.append(name, size);
  button.addEventListener("click", () => choose(entry.id));
  const made = document.createElement("li");
  made.append(button);
  return made;
}

/** Items that stay are not made anew, so that the focus stays, too. */
function show({ name, entries, is_complete }) {
  if (name) {
    $("name").textContent = name;
    document.title = `${name} – rtmfp watch`;
  }
  const ids = new Set(entries.map(({ id }) => id));
  for (const [id, old] of items) {
    if (ids.has(id)) continue;
    old.remove();
    items.delete(id);
  }
  entries.forEach((entry, index) => {
    const list = $("entries");
    if (!items.has(entry.id)) items.set(entry.id, item(entry));
    const wanted = items.get(entry.id);
    if (list.children[index] !== wanted) list.insertBefore(wanted, list.children[index] ?? null);
  });
  if (entries.length > 0) return say("fine", is_complete ? "" : "There are more, which will come in a minute.");
  if (is_complete) return say("waiting", "There is nothing in the catalogue now.");
  say("waiting", "Looking for the publisher of the catalogue. What it shares appears here by itself.");
}

const events = new EventSource("/catalogue/events");
events.onmessage = ({ data }) => show(JSON.parse(data));
events.onerror = () => say("error", "The program that browses the catalogue has ended. Start it again, and the page goes on.");
