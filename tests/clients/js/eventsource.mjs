import { EventSource } from "eventsource";
import { TOOL } from "./left.mjs";
import { follow, left, submission } from "./native.mjs";

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
  return await follow(got, source);
}
