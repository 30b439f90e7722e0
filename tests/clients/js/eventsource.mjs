import { EventSource } from "eventsource";
import { TOOL } from "./left.mjs";
import { KINDS, left, submission, take } from "./native.mjs";

// Submit, then follow; the header comes in by the package's own `fetch` option.
export async function events(args) {
  const got = left();
  const headers = { Authorization: `Bearer ${args.key}` };
  const made = await fetch(`${args.base}/v1/generations`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: submission(args, TOOL),
  });
  if (!made.ok) throw new Error(`${made.status} ${await made.text()}`);
  const record = await made.json();
  got.id = record.id;
  const source = new EventSource(`${args.base}/v1/generations/${record.id}/events`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
  });
  return await new Promise((resolve) => {
    for (const kind of KINDS)
      source.addEventListener(kind, (event) => {
        if (!take(got, kind, JSON.parse(event.data))) return;
        source.close();
        resolve(got);
      });
    source.onerror = (error) => {
      if (source.readyState !== EventSource.CLOSED) {
        got.resumed += 1;
        return;
      }
      got.error = { type: "closed", message: String(error.message ?? error.code) };
      resolve(got);
    };
  });
}
