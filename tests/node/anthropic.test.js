// The official Anthropic SDK for Node works against the gateway unchanged (GW1).

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.env.GATEWAY, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "hello there" }];
const SAID = "Echo from mock: hello there";
const ask = (model, more = {}) => ({ model, max_tokens: 100, messages, ...more });

test("a whole message says what it took and who gave it", async () => {
  const { data, response } = await client.messages.create(ask("claude")).withResponse();
  assert.equal(data.content[0].text, SAID);
  assert.equal(data.usage.output_tokens, 5);
  assert.equal(response.headers.get("x-mainstay-provider"), "claude");
  assert.equal(data._request_id, response.headers.get("request-id"));
});

test("a stream arrives piece by piece and complete", async () => {
  const words = [];
  const stream = client.messages.stream(ask("claude")).on("text", (text) => words.push(text));
  const message = await stream.finalMessage();
  assert.equal(words.length, 5);
  assert.equal(words.join(""), SAID);
  assert.equal(message.stop_reason, "end_turn");
});

for (const [model, code] of [["claude-cut", "truncated"], ["claude-error", "server_error"]]) {
  test(`${model} throws and keeps what came before`, async () => {
    const words = [];
    await assert.rejects(
      async () => {
        for await (const event of await client.messages.create(ask(model, { stream: true }))) {
          if (event.type === "content_block_delta") words.push(event.delta.text);
        }
      },
      (error) => error instanceof Anthropic.APIError && error.errorCode === code, // RS6
    );
    assert.equal(words.join(""), "Echo from ");
  });
}

test("a tool call arrives whole and streamed", async () => {
  const tools = [{ name: "weather", input_schema: { type: "object" } }];
  const asked = ask("claude", { tools, tool_choice: { type: "any" } });
  for (const message of [await client.messages.create(asked), await client.messages.stream(asked).finalMessage()]) {
    assert.equal(message.stop_reason, "tool_use");
    assert.deepEqual(message.content[0].input, { text: "hello there" });
  }
});

test("the models are the chains", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("claude"), names);
  assert.equal((await client.models.retrieve("claude")).display_name, "claude");
});

const CLASSES = {
  400: Anthropic.BadRequestError,
  401: Anthropic.AuthenticationError,
  403: Anthropic.PermissionDeniedError,
  404: Anthropic.NotFoundError,
  429: Anthropic.RateLimitError,
  500: Anthropic.InternalServerError,
  413: Anthropic.APIError,
  529: Anthropic.APIError,
};

for (const [status, kind] of Object.entries(CLASSES)) {
  for (const stream of [false, true]) {
    test(`${status} is a ${kind.name} (stream: ${stream})`, async () => {
      await assert.rejects(client.messages.create(ask(`claude-${status}`, { stream })), (error) => {
        return error instanceof kind && error.status === Number(status) && Boolean(error.requestID && error.type);
      });
    });
  }
}
