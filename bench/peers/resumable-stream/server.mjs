// The resumable-stream package as its README uses it, served as SSE over node:http.
//
//   node server.mjs        REDIS_URL names the server; one line of JSON on stdout says which ports it listens on; it
//                          ends with its standard input.
//
//   GET /streams/ID              the stream, as resumableStream() has it: the first reader gets it directly, the
//   GET /streams/ID?resumeAt=N   others by way of Redis; N characters are skipped, as in the README's example
//
// The package keeps an answer in the memory of the process that makes it, so tokens come into this process, over one
// local connection, as a provider's would: lines "ID TOKEN"; "settle" is answered with an empty line.
import { createServer } from "node:http";
import { createServer as createFeed } from "node:net";
import { createResumableStreamContext } from "resumable-stream";

const context = createResumableStreamContext({ waitUntil: null });
const sources = new Map();
const starting = new Set();

function source(id) {
  let found = sources.get(id);
  if (found === undefined) {
    found = {};
    found.stream = new ReadableStream({ start: (controller) => void (found.controller = controller) });
    sources.set(id, found);
  }
  return found;
}

// A stream that gets tokens before it has a reader: its producer runs, and nobody reads it directly.
async function produceUnread(id) {
  const stream = await context.createNewResumableStream(id, () => source(id).stream);
  await stream.cancel();
}

async function read(id, resumeAt, response) {
  const stream = await context.resumableStream(id, () => source(id).stream, resumeAt);
  if (!stream) {
    response.writeHead(422).end();
    return;
  }
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.flushHeaders();
  const reader = stream.getReader();
  response.on("close", () => reader.cancel().catch(() => {}));
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!response.write(part.value)) await new Promise((go) => response.once("drain", go).once("close", go));
  }
  response.end();
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const resumeAt = url.searchParams.get("resumeAt");
  read(url.pathname.slice("/streams/".length), resumeAt ? Number(resumeAt) : undefined, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});

async function settle(socket) {
  await Promise.all(starting);
  starting.clear();
  setImmediate(() => socket.write("\n"));
}

function take(line, socket) {
  if (line === "settle") {
    settle(socket);
    return;
  }
  const space = line.indexOf(" ");
  const id = line.slice(0, space);
  if (!sources.has(id)) starting.add(produceUnread(id));
  source(id).controller.enqueue(`data: ${line.slice(space + 1)}\n\n`);
}

const feed = createFeed((socket) => {
  let kept = "";
  socket.setEncoding("utf8").setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (text) => {
    const lines = (kept + text).split("\n");
    kept = lines.pop();
    for (const line of lines) take(line, socket);
  });
});

server.listen(0, "127.0.0.1", 16384, () => {
  feed.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify({ port: server.address().port, feed_port: feed.address().port }));
  });
});
process.stdin.resume().on("end", () => process.exit(0));
