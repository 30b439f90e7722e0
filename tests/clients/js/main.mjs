// Runs clients: a line of JSON in, {id, client, args}; a line out, {id, left} or {id, wrong}. All at once, if asked.
import { createInterface } from "node:readline";
import * as ai from "./ai.mjs";
import * as anthropic from "./anthropic.mjs";
import * as eventsource from "./eventsource.mjs";
import * as journeys from "./journeys.mjs";
import * as openai from "./openai.mjs";

const CLIENTS = {
  "openai-js-chat": openai.chat,
  "openai-js-chat-helper": openai.chatHelper,
  "openai-js-responses": openai.responses,
  "openai-js-responses-helper": openai.responsesHelper,
  "anthropic-js": anthropic.messages,
  "anthropic-js-helper": anthropic.helper,
  "ai-openai-chat": ai.chat,
  "ai-openai-responses": ai.responses,
  "ai-anthropic": ai.messages,
  eventsource: eventsource.events,
  ...journeys,
};

async function answer(line) {
  const { id, client, args } = JSON.parse(line);
  try {
    return { id, left: await CLIENTS[client](args) };
  } catch (error) {
    return { id, wrong: String(error?.stack ?? error) };
  }
}

for (const kind of ["uncaughtException", "unhandledRejection"])
  process.on(kind, (error) => console.log(JSON.stringify({ id: null, wrong: `${kind}: ${error?.stack ?? error}` })));

for await (const line of createInterface({ input: process.stdin }))
  answer(line).then((result) => console.log(JSON.stringify(result)));
