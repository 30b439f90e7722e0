import { GenerationStream, Refused, ask } from "/static/stream.js";

const $ = (id) => document.getElementById(id);
const key = () => sessionStorage.getItem("rejoinder-key") || "";
const view = { text: "", reasoning: "", calls: new Map(), tokens: 0, firstAt: 0, dirty: false };
let stream = null;
let generation = "";
let lastPrompt = "";
let cutAt = null;
let unproven = null; // the newest cut, until the arithmetic of the next event has judged it

// -- what is shown: text nodes only, once per frame ------------------------------------------------------------------

function draw() {
  view.dirty = false;
  const box = $("scroll");
  const pinned = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  $("text").textContent = view.text;
  $("reasoning-text").textContent = view.reasoning;
  $("reasoning").hidden = !view.reasoning;
  $("tokens").textContent = String(view.tokens);
  drawCalls();
  if (pinned) box.scrollTop = box.scrollHeight;
}

function changed() {
  if (view.dirty) return;
  view.dirty = true;
  requestAnimationFrame(draw);
}

function drawCalls() {
  const cards = [...view.calls.values()].map((call) => {
    const card = document.createElement("div");
    card.className = "call";
    const name = document.createElement("strong");
    name.textContent = `${call.name}${call.complete ? "" : " …"}`;
    const code = document.createElement("code");
    code.textContent = call.arguments;
    card.append(name, code);
    return card;
  });
  $("calls").replaceChildren(...cards);
}

function clear() {
  Object.assign(view, { text: "", reasoning: "", calls: new Map(), tokens: 0, firstAt: 0 });
  changed();
}

function state(word, live) {
  $("state").textContent = word;
  $("text").classList.toggle("live", live);
  for (const id of ["cut", "stop"]) $(id).disabled = !live;
}

function note(message) {
  $("note").textContent = message;
  $("note").hidden = !message;
}

function failure(message) {
  $("failure-text").textContent = message;
  $("failure").hidden = !message;
}

// -- what the log says -----------------------------------------------------------------------------------------------

function onDelta(event) {
  if (event.type === "text.delta" || event.type === "refusal.delta") view.text += event.text;
  else if (event.type === "reasoning.delta") view.reasoning += event.text;
  else view.calls.get(event.call_id).arguments += event.arguments;
  view.tokens += event.merged || 1;
  view.firstAt ||= performance.now();
}

function onEvent(event, id) {
  if (id) $("last").textContent = id;
  if (id && unproven) {
    unproven.textContent = ", 0 events lost";
    unproven = null;
  }
  if (event.type.endsWith(".delta")) onDelta(event);
  else if (event.type === "tool_call.started") view.calls.set(event.call_id, { name: event.name, arguments: "" });
  else if (event.type === "tool_call.completed") Object.assign(view.calls.get(event.call_id), { arguments: event.arguments, complete: true });
  else if (event.type === "generation.started") onStarted(event);
  else if (event.type === "generation.retrying") state(`the provider refused, asking again in ${event.delay_s} s`, true);
  else if (event.type === "stream.reset") {
    clear();
    note("The position was not in the log any more: here is the whole answer again.");
  } else if (/^generation\.(completed|failed|cancelled)$/.test(event.type)) onEnd(event);
  changed();
}

function onStarted(event) {
  if (event.mode === "restart" && view.text) note(`The worker was lost: attempt ${event.attempt} starts over.`);
  if (event.mode === "restart") clear();
  state(event.attempt > 1 ? `streaming, attempt ${event.attempt}` : "streaming", true);
  recent();
}

function onEnd(event) {
  const words = { "generation.completed": "complete", "generation.failed": "failed", "generation.cancelled": "stopped" };
  state(words[event.type], false);
  if (event.usage?.output_tokens) view.tokens = event.usage.output_tokens;
  if (event.timing?.ttft_ms != null) $("ttft").textContent = `${event.timing.ttft_ms} ms`;
  if (event.timing?.tokens_per_second) $("rate").textContent = event.timing.tokens_per_second.toFixed(1);
  if (event.type === "generation.failed") failure(`${event.error.code}: ${event.error.message}`);
  $("send").disabled = false;
  recent();
}

function onCut(id, node) {
  cutAt = cutAt || { id, node, at: performance.now() };
  $("node").textContent = "rejoining …";
}

function onConnected(node) {
  $("node").textContent = node || "–";
  if (!cutAt) return;
  const seconds = ((performance.now() - cutAt.at) / 1000).toFixed(1);
  const item = document.createElement("li");
  const verdict = document.createElement("span");
  const where = document.createElement("small");
  where.textContent = `after ${cutAt.id || "the start"}`;
  item.append(`cut on ${cutAt.node}, rejoined on ${node} in ${seconds} s`, verdict, where);
  unproven = verdict;
  $("cuts").querySelector(".empty")?.remove();
  $("cuts").prepend(item);
  $("rejoined").textContent = String(Number($("rejoined").textContent) + 1);
  cutAt = null;
}

// -- what the reader does --------------------------------------------------------------------------------------------

function follow(id) {
  stream?.close();
  generation = id;
  location.hash = id;
  cutAt = null;
  clear();
  note("");
  failure("");
  for (const [name, value] of Object.entries({ rejoined: "0", rate: "–", ttft: "–", node: "–", last: "–" })) $(name).textContent = value;
  $("empty").hidden = true;
  $("send").disabled = true;
  state("waiting", true);
  const lost = (message) => {
    note(`A gap: ${message}. This should never be; please report it.`);
    unproven = null;
  };
  stream = new GenerationStream(id, { event: onEvent, connected: onConnected, cut: onCut, lost, refused: onRefused }, key());
  stream.run();
}

function onRefused(error) {
  state("idle", false);
  $("send").disabled = false;
  $("key-label").hidden = !(error instanceof Refused && error.status === 401) && !key();
  failure(error.status === 401 ? "This service wants an API key: put it in below and try again." : `${error.code}: ${error.message}`);
}

async function submit(prompt) {
  lastPrompt = prompt;
  const model = $("model").value;
  const body = { model, input: prompt };
  if (model.startsWith("demo/")) body.provider_options = { tokens: Number($("length").value), rate: 40 };
  const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
  try {
    const response = await ask("/v1/generations", { method: "POST", headers, body: JSON.stringify(body) }, key());
    follow((await response.json()).id);
    recent();
  } catch (error) {
    $("empty").hidden = true;
    onRefused(error instanceof Refused ? error : new Refused(0, { detail: "the service can't be reached", code: "unreachable" }));
  }
}

async function recent() {
  const page = await ask("/v1/generations?limit=8", {}, key()).then((r) => r.json()).catch(() => null);
  if (!page?.data.length) return;
  const items = page.data.map((record) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${record.id}`;
    link.textContent = record.id;
    const about = document.createElement("small");
    about.textContent = `${record.status} · ${record.model}`;
    link.append(about);
    item.append(link);
    return item;
  });
  $("recent").replaceChildren(...items);
}

async function models() {
  const names = await ask("/v1/models", {}, key()).then((r) => r.json()).then((list) => list.data.map((m) => m.id)).catch((error) => {
    if (error instanceof Refused) onRefused(error);
    return ["demo/demo-1"];
  });
  $("model").replaceChildren(...names.map((name) => new Option(name, name)));
  $("length-label").hidden = !$("model").value.startsWith("demo/");
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const prompt = $("prompt").value.trim();
  if (prompt && !$("send").disabled) submit(prompt);
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("form").requestSubmit();
  }
});
$("cut").addEventListener("click", () => stream?.cut());
$("stop").addEventListener("click", () => ask(`/v1/generations/${generation}/cancel`, { method: "POST" }, key()).catch(onRefused));
$("retry").addEventListener("click", () => lastPrompt && submit(lastPrompt));
$("model").addEventListener("change", () => ($("length-label").hidden = !$("model").value.startsWith("demo/")));
$("key").addEventListener("change", () => {
  sessionStorage.setItem("rejoinder-key", $("key").value);
  failure("");
  models();
  recent();
});
addEventListener("hashchange", () => location.hash.slice(1) && location.hash.slice(1) !== generation && follow(location.hash.slice(1)));
setInterval(() => {
  if (view.firstAt && $("text").classList.contains("live")) {
    $("rate").textContent = (view.tokens / Math.max((performance.now() - view.firstAt) / 1000, 0.2)).toFixed(1);
  }
}, 500);

models();
recent();
if (location.hash.length > 1) follow(location.hash.slice(1));
