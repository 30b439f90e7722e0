import OpenAI from "openai";
import { again, described, left, TOOL } from "./left.mjs";

const MOST_RESUMES = 20;

function client({ base, key }) {
  return new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 2 });
}

function chatRequest({ model, prompt, tools }) {
  return {
    model,
    messages: [{ role: "user", content: prompt }],
    stream: true,
    stream_options: { include_usage: true },
    ...(tools ? { tools: [{ type: "function", function: TOOL }] } : {}),
  };
}

function responsesRequest({ model, prompt, tools }) {
  return { model, input: prompt, ...(tools ? { tools: [{ type: "function", strict: false, ...TOOL }] } : {}) };
}

function chatUsage(usage) {
  return usage ? { input: usage.prompt_tokens, output: usage.completion_tokens } : null;
}

function broken(error) {
  return error instanceof OpenAI.APIConnectionError || !(error instanceof OpenAI.APIError);
}

// The plain stream: chunks as they come.
export const chat = (args) => again(args, (headers) => chatOnce(args, headers));

async function chatOnce(args, headers) {
  const got = left();
  const tools = [];
  try {
    for await (const chunk of await client(args).chat.completions.create(chatRequest(args), { headers })) {
      got.id = chunk.id;
      got.usage = chatUsage(chunk.usage) ?? got.usage;
      const choice = chunk.choices[0];
      if (!choice) continue;
      got.text += choice.delta.content ?? "";
      got.reasoning += choice.delta.reasoning_content ?? "";
      got.finish = choice.finish_reason ?? got.finish;
      for (const call of choice.delta.tool_calls ?? []) {
        const known = (tools[call.index] ??= { name: "", arguments: "" });
        known.name += call.function?.name ?? "";
        known.arguments += call.function?.arguments ?? "";
      }
    }
  } catch (error) {
    got.error = described(error);
    got.broke = broken(error);
  }
  return { ...got, tools };
}

// The helper, which builds the whole completion up.
export const chatHelper = (args) => again(args, (headers) => chatHelperOnce(args, headers));

async function chatHelperOnce(args, headers) {
  const got = left();
  const stream = client(args).chat.completions.stream(chatRequest(args), { headers });
  stream.on("content", (delta) => (got.text += delta));
  try {
    const whole = await stream.finalChatCompletion();
    const { message, finish_reason: finish } = whole.choices[0];
    const tools = (message.tool_calls ?? []).map((call) => call.function);
    Object.assign(got, { id: whole.id, text: message.content ?? "", finish, usage: chatUsage(whole.usage) });
    got.tools = tools.map(({ name, arguments: text }) => ({ name, arguments: text }));
  } catch (error) {
    got.error = described(error);
    got.broke = broken(error);
  }
  return got;
}

function take(got, event) {
  switch (event.type) {
    case "response.created":
      got.id = event.response.id;
      break;
    case "response.output_text.delta":
      got.text += event.delta;
      break;
    case "response.reasoning_text.delta":
    case "response.reasoning_summary_text.delta":
      got.reasoning += event.delta;
      break;
    case "response.output_item.done":
      if (event.item.type === "function_call")
        got.tools.push({ name: event.item.name, arguments: event.item.arguments });
      break;
    case "response.completed":
    case "response.incomplete":
    case "response.failed":
      end(got, event.response);
      break;
  }
}

function end(got, response) {
  got.finish = response.status;
  got.usage = response.usage ? { input: response.usage.input_tokens, output: response.usage.output_tokens } : null;
  if (response.status === "failed") got.error = { type: "failed", message: response.error.message };
}

// The plain stream, gone on with `starting_after` wherever it breaks: the SDK's own call, no helper of ours.
export async function responses(args) {
  const openai = client(args);
  const got = left();
  const headers = args.resume ? { "Idempotency-Key": crypto.randomUUID() } : {};
  const ask = () => openai.responses.create({ ...responsesRequest(args), stream: true }, { headers });
  let at = -1;
  let stream = ask();
  for (;;) {
    try {
      for await (const event of await stream) {
        at = event.sequence_number;
        take(got, event);
      }
      return got;
    } catch (error) {
      if (!broken(error) || !args.resume || got.resumed === MOST_RESUMES) {
        got.error = described(error);
        return got;
      }
      got.resumed += 1;
      stream = got.id === null ? ask() : openai.responses.retrieve(got.id, { stream: true, starting_after: at });
    }
  }
}

// The helper, which builds the whole response up.
export const responsesHelper = (args) => again(args, (headers) => responsesHelperOnce(args, headers));

async function responsesHelperOnce(args, headers) {
  const got = left();
  const stream = client(args).responses.stream(responsesRequest(args), { headers });
  stream.on("event", (event) => take(got, event));
  try {
    const whole = await stream.finalResponse();
    got.id = whole.id;
    end(got, whole);
    if (whole.status === "completed") got.text = whole.output_text;
  } catch (error) {
    got.error = described(error);
    got.broke = broken(error);
  }
  return got;
}
