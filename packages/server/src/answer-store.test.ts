/** Kept answers: whose they are, how many there are, and who gives way. */
import { expect, test } from "vitest";
import { AnswerStore, type StoredAnswer } from "./answer-store.ts";

function answer(tenant: string, id: string, characters = 10): StoredAnswer {
  const output = [{ id: `item-${id}`, type: "message" }];
  return { id, tenant, response: { output }, items: ["x".repeat(characters)], input: [] };
}

test("an answer is its tenant's alone, with its items", () => {
  const store = new AnswerStore();
  store.keep(answer("a", "1"));
  expect(store.find("1", "a")?.id).toBe("1");
  expect(store.find("1", "b")).toBe(undefined);
  expect(store.findItem("item-1", "a")?.type).toBe("message");
  expect(store.findItem("item-1", "b")).toBe(undefined);
  expect(store.delete("1", "b")).toBe(false);
  expect(store.delete("1", "a")).toBe(true);
  expect(store.find("1", "a")).toBe(undefined);
});

test("many answers of one tenant drive out its own oldest, not those of others", () => {
  const store = new AnswerStore();
  for (let i = 0; i < 5; i++) store.keep(answer("quiet", `q${i}`));
  for (let i = 0; i < 3000; i++) store.keep(answer("loud", `l${i}`));
  for (let i = 0; i < 5; i++) expect(store.find(`q${i}`, "quiet")?.id).toBe(`q${i}`);
  expect(store.find("l2004", "loud")).toBe(undefined);
  expect(store.find("l2005", "loud")?.id).toBe("l2005");
});

test("large answers count by their size, and the same id twice counts once", () => {
  const store = new AnswerStore();
  store.keep(answer("quiet", "q"));
  const million = 2 ** 20;
  for (let i = 0; i < 40; i++) store.keep(answer("loud", `l${i}`, million));
  expect(store.find("q", "quiet")?.id).toBe("q");
  expect(store.find("l0", "loud")).toBe(undefined);
  expect(store.find("l39", "loud")?.id).toBe("l39");
  for (let i = 0; i < 100; i++) store.keep(answer("loud", "l39", million));
  expect(store.find("l30", "loud")?.id).toBe("l30");
});
