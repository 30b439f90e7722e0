// Follows one generation over whatever happens to its connections: fetch, resume by Last-Event-ID, back-off with full
// jitter, and a check by arithmetic that nothing is missing. PROTOCOL.md, READ and SSE clauses.

const TERMINAL = new Set(["generation.completed", "generation.failed", "generation.cancelled"]);
const MAX_PAUSE_MS = 10_000;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `HTTP ${status}`);
    this.status = status;
    this.code = problem?.code ?? "unknown";
  }
}

export async function ask(path, options = {}, key = "") {
  const headers = { ...(options.headers || {}) };
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { ...options, headers });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
  return response;
}

// Bytes in at any split, events out (WHATWG HTML 9.2.6).
export class EventParser {
  constructor() {
    this.decoder = new TextDecoder();
    this.rest = "";
    this.id = "";
    this.retry = null;
    this.data = [];
    this.type = "";
  }

  feed(bytes) {
    this.rest += this.decoder.decode(bytes, { stream: true });
    const events = [];
    let at;
    while ((at = this.rest.search(/\r\n|\n|\r(?!$)/)) >= 0) {
      const line = this.rest.slice(0, at);
      this.rest = this.rest.slice(at + (this.rest.startsWith("\r\n", at) ? 2 : 1));
      if (line === "") this.dispatch(events);
      else this.take(line);
    }
    return events;
  }

  dispatch(events) {
    if (this.data.length) events.push({ id: this.id, type: this.type || "message", data: this.data.join("\n") });
    this.data = [];
    this.type = "";
  }

  take(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.type = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }
}

export class GenerationStream {
  // on: { event(event, id), connected(node), cut(id, node), lost(message), refused(error) }
  constructor(id, on, key = "") {
    this.path = `/v1/generations/${encodeURIComponent(id)}/events`;
    this.on = on;
    this.key = key;
    this.lastId = "";
    this.seq = 0;
    this.node = "";
    this.closed = false;
    this.retryMs = 1000;
    this.abort = null;
  }

  close() {
    this.closed = true;
    this.abort?.abort();
  }

  // Drop the connection as a tunnel or a proxy would; it comes back by itself.
  cut() {
    this.abort?.abort();
  }

  async run() {
    let failures = 0;
    while (!this.closed) {
      const before = this.lastId;
      try {
        await this.connect();
      } catch (error) {
        if (error instanceof Refused && error.status < 500 && error.status !== 429) {
          this.closed = true;
          this.on.refused(error);
        }
      }
      if (this.closed) return;
      this.on.cut(this.lastId, this.node);
      failures = this.lastId === before ? failures + 1 : 0;
      const ceiling = Math.min(MAX_PAUSE_MS, this.retryMs * 2 ** failures);
      await new Promise((resolve) => setTimeout(resolve, ceiling * (0.25 + 0.75 * Math.random())));
    }
  }

  async connect() {
    this.abort = new AbortController();
    const headers = { Accept: "text/event-stream" };
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    const response = await ask(this.path, { headers, signal: this.abort.signal, cache: "no-store" }, this.key);
    if (response.status === 204) {
      this.closed = true;
      return;
    }
    this.node = response.headers.get("X-Rejoinder-Node") || "";
    this.on.connected(this.node);
    const parser = new EventParser();
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const frame of parser.feed(value)) this.take(frame);
      this.retryMs = parser.retry ?? this.retryMs;
      if (this.closed) return void reader.cancel();
    }
  }

  take(frame) {
    const event = JSON.parse(frame.data);
    const wireOnly = frame.type.startsWith("stream.");
    if (frame.type === "stream.reset") {
      this.seq = 0;
      this.lastId = "";
    }
    if (!wireOnly) {
      const seq = Number(frame.id.split("-")[1]);
      const expected = this.seq + (event.merged || 1);
      if (seq <= this.seq) return;
      if (seq !== expected) this.on.lost(`expected entry ${expected}, got ${seq}`);
      this.seq = seq;
      this.lastId = frame.id;
    }
    this.on.event(event, wireOnly ? null : frame.id);
    if (TERMINAL.has(frame.type)) this.closed = true;
  }
}
