"use strict";

const video = $("video");

/** The last state from the program. */
let status = null;
/** The film that was chosen of several; null while it is the first. */
let chosen = null;
/** True once the film was given to the video element. */
let hasFilm = false;
/** What plays it, if the browser does not by itself. */
let remuxed = null;
/** What the page itself has to say, before the program's message: {level, text}. */
let own = null;

// ---- numbers as text ----

const percent = (part) => `${Math.floor(part * 100)} %`;

function clock(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.floor(seconds), pad = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

// ---- the state ----

const current = () => chosen ?? status?.film;

const length = () => Number.isFinite(video.duration) ? video.duration : current()?.duration ?? NaN;

function show(next) {
  status = next;
  const { held, network, traffic, speed } = status;
  const film = current();
  if (film.name) {
    set("name", film.name);
    document.title = `${film.name} – rtmfp watch`;
  }
  set("held", percent(held.fraction));
  set("size", held.size === null ? bytes(held.bytes) : `${bytes(held.bytes)} of ${bytes(held.size)}`);
  set("down", held.is_complete ? "complete" : `${bytes(traffic.down)}/s`);
  showSpeed(held, speed);
  set("up", `${bytes(traffic.up)}/s`);
  const carries = !network.up_link ? "" :
    `, link ${network.is_up_full ? "" : "≥ "}${bytes(network.up_link)}/s`;
  set("uploaded", `${bytes(traffic.uploaded)} so far${carries}`);
  set("neighbors", String(network.neighbors));
  const provider = { true: "the provider is one", false: "the provider has left" };
  set("provider", provider[network.provider] ?? `${network.members} known`);
  set("peers", bytes(traffic.from_peers));
  set("source", source(traffic));
  set("saved", traffic.saved === null ? "–" : percent(traffic.saved));
  if (film.path) {
    $("players").hidden = false;
    const address = new URL(film.path, location.href).href;
    if ($("address").value !== address) $("address").value = address;
  }
  if (status.files > 1) list();
  begin(film);
  notify();
  draw();
}

let isListed = false;

/** Lists the films of a share of several, once. */
async function list() {
  if (isListed) return;
  isListed = true;
  const films = await (await fetch("/api/files")).json();
  $("files").append(...films.map(([index, { name, size }]) => {
    const option = new Option(`${name} (${bytes(size)})`, index);
    option.selected = index === current().index;
    return option;
  }));
  $("choice").hidden = films.length < 2;
}

$("files").addEventListener("change", async () => {
  const index = $("files").value;
  say("waiting", "Looking into the film");
  const answer = await fetch(`/api/films/${index}`);
  if ($("files").value !== index) return;
  if (!answer.ok) return say("warning", await answer.text());
  remuxed?.stop();
  [remuxed, hasFilm, own] = [null, false, null];
  chosen = await answer.json();
  if (chosen.player.kind === "none") {
    video.removeAttribute("src");
    video.load();
    say("warning", `The browser cannot play this film: ${chosen.player.reason}. ${ELSEWHERE}`);
  }
  show(status);
});

/** What did not come from peers. Whoever has a web server may do without a provider. */
function source({ from_provider, from_origin }) {
  const provider = `${bytes(from_provider)} from the provider`;
  if (from_origin === 0) return provider;
  const origin = `${bytes(from_origin)} from the web server`;
  return from_provider === 0 ? origin : `${provider}, ${origin}`;
}

function showSpeed(held, speed) {
  const enough = held.is_complete ? "" : { true: "yes", false: "no" }[speed.is_enough] ?? "";
  $("speed").dataset.enough = enough;
  const needed = speed.needed === null ? "" : `needs ${bytes(speed.needed)}/s`;
  const words = { yes: "fast enough", no: "slower than it plays", "": "" }[enough];
  set("speed", [needed, words].filter(Boolean).join(", "));
}

function notify() {
  const message = own ?? status?.message ?? { level: "waiting", text: "Connecting", details: [] };
  $("notice").dataset.level = message.level;
  $("notice").hidden = !message.text;
  set("text", message.text);
  set("veil", message.text || "Opening the film");
  const details = message.details ?? [];
  $("why").hidden = details.length === 0;
  set("details", details.join("\n"));
  $("stage").toggleAttribute("data-empty", video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA);
}

// ---- the bar ----

function draw() {
  const canvas = $("parts"), scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const paint = canvas.getContext("2d");
  paint.fillStyle = color("--missing");
  paint.fillRect(0, 0, width, height);
  const parts = status?.held.parts ?? [];
  // The bar is the film, which may be one of several in the share. A playlist is of all of them.
  const { name = "", offset = 0, size = null } = current() ?? {}, share = status?.held.size;
  const [begin, span] = share > 0 && size > 0 && !/\.m3u8$/i.test(name) ? [offset / share, size / share] : [0, 1];
  const at = (index) => Math.floor((index / parts.length - begin) / span * width);
  paint.fillStyle = color("--accent");
  parts.forEach((part, index) => {
    if (part === 0) return;
    const from = at(index), to = at(index + 1);
    // A part of which some is here is as high as that.
    const high = Math.max(2, Math.round(part * height));
    paint.fillRect(from, height - high, to - from, high);
  });
  const whole = length();
  if (whole > 0) {
    const here = Math.round(Math.min(1, video.currentTime / whole) * width);
    paint.fillStyle = color("--ground");
    paint.fillRect(here - 3 * scale, 0, 6 * scale, height);
    paint.fillStyle = color("--ink");
    paint.fillRect(here - scale, 0, 2 * scale, height);
  }
  set("time", clock(video.currentTime));
  set("length", clock(whole));
  const label = `${percent(status?.held.fraction ?? 0)} of the film is here; playing at ${clock(video.currentTime)} of ${clock(whole)}`;
  if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
}

$("bar").addEventListener("click", (event) => {
  const box = $("bar").getBoundingClientRect(), whole = length();
  if (whole > 0) video.currentTime = (event.clientX - box.left) / box.width * whole;
});

// ---- playing ----

const ELSEWHERE = "Open its address, below, in ffplay, mpv or VLC.";

function begin(film) {
  if (hasFilm || film.player.kind === "unknown" || film.player.kind === "none") return;
  hasFilm = true;
  if (film.player.kind === "native") {
    video.src = film.path;
  } else {
    const type = film.player.media_type;
    if (!window.MediaSource?.isTypeSupported(type)) {
      say("warning", `This browser does not play the sound or the pictures of this film (${type}). ${ELSEWHERE}`);
      return;
    }
    remuxed = new Remuxed(type, film);
  }
  // Browsers may want a click first, as there is sound.
  video.play().catch(() => {});
}

function say(level, text) {
  own = text ? { level, text } : null;
  notify();
}

video.addEventListener("error", () => {
  const { code } = video.error;
  if (code === MediaError.MEDIA_ERR_NETWORK) return again();
  say("warning", `This browser cannot play the film: it does not know its codec, or the film is damaged. ${ELSEWHERE}`);
});

/** Reads on where the connection was lost. */
function again() {
  const { currentTime, paused } = video;
  video.load();
  video.currentTime = currentTime;
  if (!paused) video.play().catch(() => {});
}

for (const name of ["timeupdate", "seeking", "durationchange", "loadeddata", "emptied"]) {
  video.addEventListener(name, () => { draw(); notify(); });
}
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

/** Plays pieces of MP4 that the program makes of an FLV. */
class Remuxed {
  /** Seconds that are read ahead, and those that are kept behind. */
  static AHEAD = 40;
  static BEHIND = 30;

  constructor(type, { duration, index }) {
    this.index = index;
    this.source = new MediaSource();
    this.reading = new AbortController();
    this.source.addEventListener("sourceopen", () => {
      this.buffer = this.source.addSourceBuffer(type);
      if (duration) this.source.duration = duration;
      this.read(0);
    }, { once: true });
    this.whole = new AbortController();
    video.addEventListener("seeking", () => {
      if (this.buffer && !this.holds(video.currentTime)) this.read(video.currentTime);
    }, { signal: this.whole.signal });
    video.src = URL.createObjectURL(this.source);
  }

  /** Another film is played. */
  stop() {
    this.whole.abort();
    this.reading.abort();
  }

  holds(time) {
    const { buffered } = this.buffer;
    for (let n = 0; n < buffered.length; n += 1) {
      if (buffered.start(n) <= time + 0.1 && time < buffered.end(n)) return true;
    }
    return false;
  }

  /** Reads from a time on. What was read before is dropped, so that there is no gap behind it. */
  async read(from) {
    this.reading.abort();
    const reading = this.reading = new AbortController();
    try {
      await this.idle();
      if (reading.signal.aborted) return;
      if (this.source.readyState === "open") this.buffer.abort();
      this.buffer.remove(0, Infinity);
      await this.idle();
      const response = await fetch(`/remuxed?file=${this.index}&from=${from}`, { signal: reading.signal });
      if (!response.ok) throw new Error(await response.text());
      const pieces = response.body.getReader();
      for (;;) {
        await this.room(reading.signal);
        const { done, value } = await pieces.read();
        if (done) break;
        await this.append(value, reading.signal);
        this.enter(from);
      }
      await this.idle();
      if (!reading.signal.aborted && this.source.readyState === "open") this.source.endOfStream();
    } catch (error) {
      // Another place is read, or the program has ended: the events say so.
      if (reading.signal.aborted || error instanceof TypeError) return;
      say("warning", `The film cannot be played on: ${error.message}`);
    }
  }

  /** The first frame may be a little after the place that was looked for. */
  enter(from) {
    const { buffered } = this.buffer, time = video.currentTime;
    if (buffered.length > 0 && !this.holds(time) && Math.abs(time - from) < 1 && buffered.start(0) > time) {
      video.currentTime = buffered.start(0);
    }
  }

  async append(piece, signal) {
    for (;;) {
      await this.idle();
      if (signal.aborted) throw new DOMException("", "AbortError");
      const { buffered } = this.buffer;
      if (buffered.length > 0 && buffered.start(0) < video.currentTime - 2 * Remuxed.BEHIND) {
        this.buffer.remove(0, video.currentTime - Remuxed.BEHIND);
        await this.idle();
      }
      try {
        this.buffer.appendBuffer(piece);
        return;
      } catch (error) {
        if (error.name !== "QuotaExceededError") throw error;
        // The browser keeps no more: play some of it first.
        if (video.currentTime > 5) this.buffer.remove(0, video.currentTime - 5);
        await once(video, ["timeupdate", "seeking"], signal);
      }
    }
  }

  async idle() {
    while (this.buffer.updating) await once(this.buffer, ["updateend"]);
  }

  /** Waits until the film is played so far that more is needed. */
  async room(signal) {
    const ahead = () => {
      const { buffered } = video;
      return buffered.length === 0 ? 0 : buffered.end(buffered.length - 1) - video.currentTime;
    };
    while (!signal.aborted && ahead() > Remuxed.AHEAD) await once(video, ["timeupdate", "seeking"], signal);
  }
}

/** Waits for the first of some events. */
function once(target, names, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    names.forEach((name) => target.addEventListener(name, () => { ended.abort(); resolve(); }, { signal: ended.signal }));
    signal?.addEventListener("abort", () => { ended.abort(); reject(new DOMException("", "AbortError")); }, { signal: ended.signal });
  });
}

// ---- the program ----

$("copy").addEventListener("click", async () => {
  $("address").select();
  try {
    await navigator.clipboard.writeText($("address").value);
    set("copy", "Copied");
  } catch {
    // Not from every address: it is selected, to be copied by hand.
  }
});

const events = new EventSource("/events");
events.addEventListener("message", (event) => {
  if (own?.isOfTheConnection) own = null;
  show(JSON.parse(event.data));
});
events.addEventListener("error", () => {
  if (status?.message.level === "error") return;
  own = {
    level: "error",
    isOfTheConnection: true,
    text: "The program that fetches the film has ended; its terminal says why. Start rtmfp watch again: this page goes on by itself.",
  };
  notify();
});
notify();
draw();
