// A small EventSource for Node, after the WHATWG rules: what browsers do, as far as our examples can tell the difference.
// It reconnects after a broken or ended body, sends Last-Event-ID, honours retry:, and gives up on any status but 200.

const DEFAULT_RETRY_MS = 3000;

class EventSource extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;

  constructor(url) {
    super();
    this.url = String(url);
    this.readyState = EventSource.CONNECTING;
    this.onopen = this.onmessage = this.onerror = null;
    this._retryMs = DEFAULT_RETRY_MS;
    this._lastEventId = "";
    this._abort = new AbortController();
    this._run();
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this._abort.abort();
  }

  async _run() {
    while (this.readyState !== EventSource.CLOSED) {
      this.readyState = EventSource.CONNECTING;
      try {
        await this._connect();
      } catch {
        // A network error: the same as the end of a body.
      }
      if (this.readyState === EventSource.CLOSED) return;
      this.readyState = EventSource.CONNECTING;
      this._fire(new Event("error"));
      await new Promise((resolve) => setTimeout(resolve, this._retryMs));
    }
  }

  async _connect() {
    const headers = { accept: "text/event-stream", "cache-control": "no-store" };
    if (this._lastEventId) headers["last-event-id"] = this._lastEventId;
    const response = await fetch(this.url, { headers, signal: this._abort.signal });
    const type = response.headers.get("content-type") ?? "";
    if (response.status !== 200 || !/^text\/event-stream\s*(;|$)/i.test(type)) {
      this.close();
      this._fire(new Event("error"));
      return;
    }
    this.readyState = EventSource.OPEN;
    this._fire(new Event("open"));
    await this._parse(response.body);
  }

  async _parse(body) {
    const decoder = new TextDecoder("utf-8");
    const block = { data: [], type: "", id: this._lastEventId };
    let text = "";
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      for (;;) {
        const end = /\r\n|\n|\r/.exec(text);
        // A lone CR at the very end may be the first half of a CRLF.
        if (!end || (end[0] === "\r" && end.index === text.length - 1)) break;
        const line = text.slice(0, end.index);
        text = text.slice(end.index + end[0].length);
        if (line === "") this._dispatch(block);
        else this._field(line, block);
        if (this.readyState === EventSource.CLOSED) return;
      }
    }
  }

  _field(line, block) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") block.type = value;
    else if (name === "data") block.data.push(value);
    else if (name === "id" && !value.includes("\0")) block.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this._retryMs = Number(value);
  }

  _dispatch(block) {
    this._lastEventId = block.id;
    const { data, type } = block;
    block.data = [];
    block.type = "";
    if (data.length === 0) return;
    this._fire(new MessageEvent(type || "message", { data: data.join("\n"), lastEventId: this._lastEventId }));
  }

  _fire(event) {
    if (this.readyState === EventSource.CLOSED && event.type !== "error") return;
    this.dispatchEvent(event);
    this[`on${event.type}`]?.(event);
  }
}

globalThis.EventSource = EventSource;
