// The clients that need a browser, on one page: window.run(client, args) -> what it was left with.
import { useChat } from "@ai-sdk/react";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } from "ai";
import { createElement, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { TOOL } from "./left.mjs";
import { follow, left, submission, take } from "./native.mjs";

const TRANSPORTS = { "usechat-default": DefaultChatTransport, "usechat-workflow": WorkflowChatTransport };

function Chat({ client, chat, args, kept }) {
  const transport = new TRANSPORTS[client]({
    api: "/v1/ui/chat",
    headers: { Authorization: `Bearer ${args.key}` },
    body: body(args),
    ...(client === "usechat-workflow" ? prepared(args) : {}),
  });
  const state = useChat({
    id: chat,
    messages: kept ?? [],
    resume: true,
    transport,
    onFinish: (end) => (window.ended = end),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
  });
  useEffect(() => {
    window.chat = state;
    if (window.statuses.at(-1) !== state.status) window.statuses.push(state.status);
  });
  return null;
}

function body({ model, tools }) {
  return { model, ...(tools ? { tools: [{ type: "function", function: TOOL }] } : {}) };
}

// This transport has no option for headers or a body: what it sends is said by two functions.
function prepared(args) {
  const headers = { Authorization: `Bearer ${args.key}` };
  return {
    prepareSendMessagesRequest: ({ id, messages }) => ({ headers, body: { id, messages, ...body(args) } }),
    prepareReconnectToStreamRequest: () => ({ headers }),
  };
}

// Puts useChat on the page. With `args.chat` it takes up that chat: a reload in the middle of an answer; `kept`: what
// the application has of it.
window.mount = (client, args, kept) => {
  const chat = args.chat ?? crypto.randomUUID();
  window.chat = undefined;
  window.ended = undefined;
  window.statuses = [];
  const root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(createElement(Chat, { client, chat, args, kept }));
  return chat;
};

window.send = (prompt) => {
  window.ended = undefined;
  void window.chat.sendMessage({ text: prompt });
};

// The page runs the tools that the answer asks for; with the last result the next question goes out by itself.
window.runTools = () => {
  window.ended = undefined;
  for (const { type, toolName, toolCallId, input } of window.chat.messages.at(-1).parts.filter(isCall))
    void window.chat.addToolOutput({ tool: toolName ?? type.slice(5), toolCallId, output: `sunny in ${input.city}` });
};

function isCall({ type }) {
  return type === "dynamic-tool" || type.startsWith("tool-");
}

// What the person sees now.
window.look = () => {
  const { messages, status, error } = window.chat;
  const got = { ...left(), finish: status, error: error ? { type: error.name, message: error.message } : null };
  for (const part of messages.filter(({ role }) => role === "assistant").flatMap(({ parts }) => parts)) {
    if (part.type === "text") got.text += part.text;
    else if (part.type === "reasoning") got.reasoning += part.text;
    else if (isCall(part))
      got.tools.push({ name: part.toolName ?? part.type.slice(5), arguments: JSON.stringify(part.input ?? null) });
  }
  const answers = messages.filter(({ role }) => role === "assistant").length;
  return { ...got, answers, reason: window.ended?.finishReason ?? null };
};

// POSTs, and POSTs again after a cut: the key makes it the same generation, the header says from where.
window.fetchEventSource = async (args) => {
  const got = left();
  const stop = new AbortController();
  let opened = 0;
  let last = "";
  // The package takes an id for read as soon as its line is in, also where the rest of the event is lost. This is exact.
  const exact = (url, init) => fetch(url, { ...init, headers: { ...init.headers, "last-event-id": last } });
  try {
    await fetchEventSource("/v1/generations", {
      method: "POST",
      headers: {
        Authorization: `Bearer ${args.key}`,
        "Content-Type": "application/json",
        "Idempotency-Key": crypto.randomUUID(),
        Accept: "text/event-stream",
      },
      body: submission(args, TOOL),
      signal: stop.signal,
      ...(args.resume ? { fetch: exact } : {}),
      openWhenHidden: true,
      onopen: async (response) => {
        if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
        opened += 1;
      },
      onmessage: ({ id, event, data }) => {
        if (event) take(got, event, JSON.parse(data));
        last = id || last;
      },
      onerror: (error) => {
        if (/^\d{3} /.test(error.message)) throw error;
      },
    });
  } catch (error) {
    got.error = { type: error.name, message: error.message };
  }
  return { ...got, resumed: Math.max(0, opened - 1) };
};

// The browser's own EventSource, which sends no key: who stands before the service adds it.
window.eventSource = async (args) => {
  const got = left();
  const made = await fetch("/v1/generations", {
    method: "POST",
    headers: { Authorization: `Bearer ${args.key}`, "Content-Type": "application/json" },
    body: submission(args, TOOL),
  });
  if (!made.ok) throw new Error(`${made.status} ${await made.text()}`);
  const { id, links } = await made.json();
  got.id = id;
  return await follow(got, new EventSource(links.events));
};
