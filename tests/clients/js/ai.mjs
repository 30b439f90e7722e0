import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, jsonSchema, streamText, tool } from "ai";
import { again, described, left, TOOL } from "./left.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const run = (model, args) => again(args, (headers) => runOnce(model, args, headers));

async function runOnce(model, { prompt, tools }, headers) {
  const got = left();
  const weather = tool({ description: TOOL.description, inputSchema: jsonSchema(TOOL.parameters) });
  const { fullStream } = streamText({
    model,
    prompt,
    headers,
    ...(tools ? { tools: { [TOOL.name]: weather } } : {}),
    onError: () => undefined,
  });
  try {
    for await (const part of fullStream) {
      if (part.type === "text-delta") got.text += part.text;
      else if (part.type === "reasoning-delta") got.reasoning += part.text;
      else if (part.type === "tool-call")
        got.tools.push({ name: part.toolName, arguments: JSON.stringify(part.input) });
      else if (part.type === "error") {
        got.error = described(part.error);
        got.broke = APICallError.isInstance(part.error);
      } else if (part.type === "finish") {
        got.finish = part.finishReason;
        got.usage = { input: part.totalUsage.inputTokens ?? null, output: part.totalUsage.outputTokens ?? null };
      }
    }
  } catch (error) {
    got.error = described(error);
    got.broke = APICallError.isInstance(error);
  }
  return got;
}

export const responses = (args) =>
  run(createOpenAI({ baseURL: `${args.base}/v1`, apiKey: args.key })(args.model), args);

export const chat = (args) =>
  run(createOpenAI({ baseURL: `${args.base}/v1`, apiKey: args.key }).chat(args.model), args);

export const messages = (args) =>
  run(createAnthropic({ baseURL: `${args.base}/v1`, apiKey: args.key })(args.model), args);
