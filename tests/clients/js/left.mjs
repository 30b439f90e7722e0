// What a client was left with: the same shape for every client, so that one test can judge them all.
export function left() {
  return { text: "", reasoning: "", tools: [], finish: null, usage: null, error: null, id: null, resumed: 0 };
}

export function described(error) {
  return { type: error?.constructor?.name ?? typeof error, message: String(error?.message ?? error) };
}

export const TOOL = {
  name: "get_weather",
  description: "The weather of a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const MOST_TRIES = 20;

// An application that asks again, with the same key, whenever the connection broke: `once(headers)` -> what it was
// left with; `broke(error)` -> whether it was the connection.
export async function again(args, once) {
  if (!args.resume) return await once({});
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  for (let resumed = 0; ; resumed += 1) {
    const got = await once(headers);
    if (!got.broke || resumed === MOST_TRIES) return { ...got, resumed };
  }
}
