import Anthropic from "@anthropic-ai/sdk";
import { again, described, left, TOOL } from "./left.mjs";

function request({ model, prompt, tools }) {
  const { parameters, ...named } = TOOL;
  return {
    model,
    max_tokens: 4096,
    messages: [{ role: "user", content: prompt }],
    ...(tools ? { tools: [{ ...named, input_schema: parameters }] } : {}),
  };
}

function client({ base, key }) {
  return new Anthropic({ baseURL: base, apiKey: key, maxRetries: 2 });
}

function broken(error) {
  const inBand = error instanceof Anthropic.APIError && !(error instanceof Anthropic.APIConnectionError);
  return !inBand;
}

// The plain stream: events as they come.
export const messages = (args) => again(args, (headers) => messagesOnce(args, headers));

async function messagesOnce(args, headers) {
  const got = left();
  const tools = new Map();
  try {
    for await (const event of await client(args).messages.create({ ...request(args), stream: true }, { headers })) {
      if (event.type === "message_start") {
        got.id = event.message.id;
        got.usage = { input: event.message.usage.input_tokens, output: event.message.usage.output_tokens };
      } else if (event.type === "content_block_start" && event.content_block.type === "tool_use") {
        tools.set(event.index, { name: event.content_block.name, arguments: "" });
      } else if (event.type === "content_block_delta") {
        got.text += event.delta.text ?? "";
        got.reasoning += event.delta.thinking ?? "";
        if (event.delta.type === "input_json_delta") tools.get(event.index).arguments += event.delta.partial_json;
      } else if (event.type === "message_delta") {
        got.finish = event.delta.stop_reason;
        got.usage.output = event.usage.output_tokens;
      }
    }
  } catch (error) {
    got.error = described(error);
    got.broke = broken(error);
  }
  got.tools = [...tools.values()];
  return got;
}

// The helper, which builds the whole message up.
export const helper = (args) => again(args, (headers) => helperOnce(args, headers));

async function helperOnce(args, headers) {
  const got = left();
  const stream = client(args).messages.stream(request(args), { headers });
  stream.on("text", (delta) => (got.text += delta));
  stream.on("thinking", (delta) => (got.reasoning += delta));
  try {
    const whole = await stream.finalMessage();
    got.id = whole.id;
    got.finish = whole.stop_reason;
    got.usage = { input: whole.usage.input_tokens, output: whole.usage.output_tokens };
    got.tools = whole.content
      .filter((block) => block.type === "tool_use")
      .map(({ name, input }) => ({ name, arguments: JSON.stringify(input) }));
  } catch (error) {
    got.error = described(error);
    got.broke = broken(error);
  }
  return got;
}
