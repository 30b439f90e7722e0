import { described, left } from "./left.mjs";

export const KINDS = [
  "generation.created",
  "generation.started",
  "generation.retrying",
  "text.delta",
  "reasoning.delta",
  "tool_call.started",
  "tool_call.delta",
  "tool_call.completed",
  "generation.completed",
  "generation.failed",
  "generation.cancelled",
  "stream.reset",
];

export const ENDS = ["generation.completed", "generation.failed", "generation.cancelled"];

// What every reader of native events does with one; answers whether it was the last one.
export function take(got, type, event) {
  if (type === "stream.reset" || (type === "generation.started" && event.mode === "restart"))
    Object.assign(got, { text: "", reasoning: "", tools: [] });
  else if (type === "text.delta") got.text += event.text;
  else if (type === "reasoning.delta") got.reasoning += event.text;
  else if (type === "tool_call.completed") got.tools.push({ name: event.name, arguments: event.arguments });
  if (!ENDS.includes(type)) return false;
  const [, status] = type.split(".");
  got.finish = status === "completed" ? event.finish_reason : status;
  if (event.usage) got.usage = { input: event.usage.input_tokens, output: event.usage.output_tokens };
  if (status === "failed") got.error = { type: "failed", message: event.error.message };
  return true;
}

export function submission({ model, prompt, tools }, tool) {
  return JSON.stringify({
    model,
    input: prompt,
    ...(tools ? { tools: [{ type: "function", function: tool }] } : {}),
  });
}

// An EventSource, the browser's own or the package, from its first event to its last.
export const follow = (got, source) =>
  new Promise((resolve) => {
    for (const kind of KINDS)
      source.addEventListener(kind, (event) => {
        if (!take(got, kind, JSON.parse(event.data))) return;
        source.close();
        resolve(got);
      });
    source.onerror = (error) => {
      if (source.readyState !== source.CLOSED) {
        got.resumed += 1;
        return;
      }
      got.error = { type: "closed", message: String(error.message ?? error.code) };
      resolve(got);
    };
  });

export { described, left };
