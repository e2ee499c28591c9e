/** OpenAI's responses, by its published client, against the real process. */
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let server: ServerProcess;
let client: OpenAI;
beforeAll(async () => {
  server = await startServerProcess();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => server?.end());

const base = { model: "tiny", max_output_tokens: 6, temperature: 0 };

test("a whole response, kept and found again", async () => {
  const response = await client.responses.create({ ...base, input: "Hello", instructions: "Be brief" });
  checkWire("openai-responses", "Response", response);
  expect(response).toMatchObject({
    status: "incomplete",
    incomplete_details: { reason: "max_output_tokens" },
  });
  expect(response.output_text).not.toBe("");
  const again = await client.responses.retrieve(response.id);
  expect(again.output_text).toBe(response.output_text);
  expect((await client.responses.inputItems.list(response.id)).data.length).toBe(1);
  await client.responses.delete(response.id);
  await expect(client.responses.retrieve(response.id)).rejects.toMatchObject({ status: 404 });
  const unkept = await client.responses.create({ ...base, input: "Hello", store: false });
  await expect(client.responses.retrieve(unkept.id)).rejects.toMatchObject({ status: 404 });
});

test("a streamed one: every event, in order, and what the client makes of it", async () => {
  const events = await readEvents(
    await server.post("/v1/responses", { ...base, input: "Hello", stream: true }),
  );
  for (const event of events) checkWire("openai-responses", "ResponseStreamEvent", event);
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
  const types = events.map(({ type }) => String(type).replace("response.", ""));
  expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
    ..."created in_progress output_item.added content_part.added output_text.delta output_text.done".split(
      " ",
    ),
    ..."content_part.done output_item.done incomplete".split(" "),
  ]);
  const whole = await client.responses.create({ ...base, input: "Hello" });
  const final = await client.responses.stream({ ...base, input: "Hello" }).finalResponse();
  expect(final.output_text).toBe(whole.output_text);
});

test("second turns: by id, by reference, and by the items themselves", async () => {
  const first = await client.responses.create({ ...base, input: "Hello" });
  const [item] = first.output;
  const byId = await client.responses.create({ ...base, input: "More", previous_response_id: first.id });
  const turn = { role: "user" as const, content: "More" };
  const byReference = await client.responses.create({
    ...base,
    input: [{ role: "user", content: "Hello" }, { type: "item_reference", id: item?.id ?? "" }, turn],
  });
  const byItems = await client.responses.create({
    ...base,
    input: [
      { role: "user", content: [{ type: "input_text", text: "Hello" }] },
      ...first.output.map((each) => each as OpenAI.Responses.ResponseInputItem),
      turn,
    ],
  });
  expect(byReference.usage?.input_tokens).toBe(byId.usage?.input_tokens);
  expect(byItems.output_text).toBe(byId.output_text);
  expect(byReference.output_text).toBe(byId.output_text);
  for (const input of [[{ type: "item_reference", id: "msg_x" }]] as OpenAI.Responses.ResponseInput[])
    await expect(client.responses.create({ ...base, input })).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining("store: false"),
    });
  await expect(
    client.responses.create({ ...base, input: "x", previous_response_id: "resp_x" }),
  ).rejects.toMatchObject({ status: 404 });
});

test("calls of tools, and JSON by schema", async () => {
  const parameters = { type: "object", properties: { c: { enum: ["Rome", "Oslo"] } }, required: ["c"] };
  const request = {
    model: "tiny",
    input: "Hi",
    tools: [{ type: "function" as const, name: "w", parameters, strict: true }],
    tool_choice: "required" as const,
    parallel_tool_calls: false,
  };
  const events = await readEvents(await server.post("/v1/responses", { ...request, stream: true }));
  for (const event of events) checkWire("openai-responses", "ResponseStreamEvent", event);
  const response = await client.responses.create(request);
  checkWire("openai-responses", "Response", response);
  const [call] = response.output;
  if (call?.type !== "function_call") throw new Error("no call");
  expect(call.name).toBe("w");
  expect(["Rome", "Oslo"]).toContain((JSON.parse(call.arguments) as { c: string }).c);
  const text = { format: { type: "json_schema" as const, name: "x", schema: parameters } };
  const formed = await client.responses.create({ model: "tiny", input: "Hi", text });
  expect(["Rome", "Oslo"]).toContain((JSON.parse(formed.output_text) as { c: string }).c);
});
