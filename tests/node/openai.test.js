// The official OpenAI SDK for Node works against the gateway unchanged (GW1).

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.GATEWAY}/v1`, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "hello there" }];
const SAID = "Echo from mock: hello there";

test("a whole answer says what it took and who gave it", async () => {
  const { data, response } = await client.chat.completions.create({ model: "chat", messages }).withResponse();
  assert.equal(data.choices[0].message.content, SAID);
  assert.equal(data.usage.completion_tokens, 5);
  assert.equal(response.headers.get("x-mainstay-provider"), "chat");
  assert.equal(data._request_id, response.headers.get("x-request-id"));
});

test("a stream arrives piece by piece and complete", async () => {
  const words = [];
  for await (const chunk of await client.chat.completions.create({ model: "chat", messages, stream: true })) {
    words.push(chunk.choices[0].delta.content);
  }
  assert.equal(words.join(""), SAID);
  assert.equal(words.filter(Boolean).length, 5);
});

test("a stream that breaks off throws and keeps what came before", async () => {
  const words = [];
  await assert.rejects(
    async () => {
      for await (const chunk of await client.chat.completions.create({ model: "cut", messages, stream: true })) {
        words.push(chunk.choices[0].delta.content);
      }
    },
    (error) => error instanceof OpenAI.APIError && error.code === "truncated", // RS6
  );
  assert.equal(words.join(""), "Echo from ");
});

test("a tool call arrives with its arguments", async () => {
  const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
  const asked = { model: "chat", messages, tools, tool_choice: "required" };
  const call = (await client.chat.completions.create(asked)).choices[0].message.tool_calls[0];
  assert.deepEqual(JSON.parse(call.function.arguments), { text: "hello there" });
  const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
});

test("responses and embeddings arrive", async () => {
  const response = await client.responses.create({ model: "chat", input: "hello there" });
  assert.equal(response.output_text, SAID);
  const streamed = await client.responses.stream({ model: "chat", input: "hello there" }).finalResponse();
  assert.equal(streamed.output_text, SAID);
  const input = ["hi", "hello there"];
  const { data } = await client.embeddings.create({ model: "chat", input, encoding_format: "float" });
  assert.deepEqual(data.map((one) => one.embedding[0]), [2, 11]);
});

test("the models are the chains", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("chat"), names);
});

const CLASSES = {
  "bad-request": OpenAI.BadRequestError,
  "bad-key": OpenAI.AuthenticationError,
  "no-such-model": OpenAI.NotFoundError,
  "rate-limited": OpenAI.RateLimitError,
  broken: OpenAI.InternalServerError,
};

for (const [model, kind] of Object.entries(CLASSES)) {
  for (const stream of [false, true]) {
    test(`${model} is a ${kind.name} (stream: ${stream})`, async () => {
      await assert.rejects(client.chat.completions.create({ model, messages, stream }), (error) => {
        return error instanceof kind && Boolean(error.requestID && error.type);
      });
    });
  }
}
