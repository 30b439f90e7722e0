// What applications do beside reading one answer: leave, come back, go on from an answer, and use tools.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { isStepCount, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";
import { left, TOOL } from "./left.mjs";

const openai = ({ base, key }) => new OpenAI({ baseURL: `${base}/v1`, apiKey: key });
const asked = ({ model, prompt }) => ({ model, messages: [{ role: "user", content: prompt }] });
const provider = (make, { base, key }) => make({ baseURL: `${base}/v1`, apiKey: key });

// The application has seen enough, and goes: `break` closes the connection.
export async function openaiLeaves(args) {
  const got = left();
  for await (const chunk of await openai(args).chat.completions.create({ ...asked(args), stream: true })) {
    got.text += chunk.choices[0]?.delta.content ?? "";
    if (got.text) break;
  }
  return got;
}

export async function anthropicLeaves(args) {
  const got = left();
  const client = new Anthropic({ baseURL: args.base, apiKey: args.key });
  const stream = await client.messages.create({ ...asked(args), max_tokens: 4096, stream: true });
  for await (const event of stream) {
    got.text += event.delta?.text ?? "";
    if (got.text) break;
  }
  return got;
}

export async function aiLeaves(args) {
  const got = left();
  const stop = new AbortController();
  const model = provider(createOpenAI, args)(args.model);
  for await (const text of streamText({ model, prompt: args.prompt, abortSignal: stop.signal }).textStream) {
    got.text += text;
    stop.abort();
  }
  return got;
}

// A question, and one more that goes on from its answer.
export async function openaiChains(args) {
  const client = openai(args);
  const first = await client.responses.create({ model: args.model, input: args.prompt });
  const second = await client.responses.create({
    model: args.model,
    input: "And then?",
    previous_response_id: first.id,
  });
  return { ...left(), id: second.previous_response_id, text: second.output_text, finish: second.status };
}

// In the background: looked at, then read from the event behind the last one that was seen.
export async function openaiInTheBackground(args) {
  const got = left();
  const client = openai(args);
  const made = await client.responses.create({ model: args.model, input: args.prompt, background: true });
  got.id = made.id;
  let at;
  const read = async (most) => {
    const place = at === undefined ? {} : { starting_after: at };
    for await (const event of await client.responses.retrieve(made.id, { stream: true, ...place })) {
      at = event.sequence_number;
      if (event.type === "response.output_text.delta") got.text += event.delta;
      if (got.text.length >= most) break;
    }
  };
  await read(1);
  await read(Infinity);
  const whole = await client.responses.retrieve(made.id);
  return { ...got, finish: whole.status, reasoning: whole.output_text === got.text ? "" : whole.output_text };
}

const usesTools = (model, args) =>
  (async () => {
    const got = left();
    const weather = tool({
      description: TOOL.description,
      inputSchema: jsonSchema(TOOL.parameters),
      execute: async ({ city }) => `sunny in ${city}`,
    });
    const { fullStream } = streamText({
      model,
      prompt: args.prompt,
      tools: { [TOOL.name]: weather },
      stopWhen: isStepCount(2),
    });
    for await (const part of fullStream) {
      if (part.type === "text-delta") got.text += part.text;
      else if (part.type === "tool-call") got.tools.push({ name: part.toolName, arguments: JSON.stringify(part.input) });
      else if (part.type === "finish") got.finish = part.finishReason;
      else if (part.type === "error") throw part.error;
    }
    return got;
  })();

export const aiResponsesTools = (args) => usesTools(provider(createOpenAI, args)(args.model), args);
export const aiChatTools = (args) => usesTools(provider(createOpenAI, args).chat(args.model), args);
export const aiMessagesTools = (args) => usesTools(provider(createAnthropic, args)(args.model), args);
