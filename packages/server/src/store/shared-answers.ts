/** Answers that clients may refer to, kept in Redis for a day so that any server finds them. Those that are too large stay where they are. */
import { createHash } from "node:crypto";
import type { SharedAnswers, StoredAnswer } from "../answer-store.ts";
import { isObject } from "../fields.ts";
import type { RedisLink } from "./redis.ts";

const maxCharacters = 1 << 20;
const keptSeconds = 24 * 3600;

export function createSharedAnswers(link: RedisLink): SharedAnswers {
  return {
    keep(answer) {
      const text = JSON.stringify(answer);
      if (text.length > maxCharacters) return false;
      void link.ask(async (redis) => {
        const writes = redis.multi().set(answerKey(answer.id, answer.tenant), text, "EX", keptSeconds);
        for (const item of answer.response.output)
          writes.set(itemKey(item.id, answer.tenant), answer.id, "EX", keptSeconds);
        await writes.exec();
      });
      return true;
    },
    async fetch(id, tenant) {
      const text = await link.ask(async (redis) => {
        const owner = await redis.get(itemKey(id, tenant));
        return redis.get(answerKey(owner ?? id, tenant));
      });
      return typeof text === "string" ? parseAnswer(text) : text;
    },
    delete(answer) {
      const items = answer.response.output.map((item) => itemKey(item.id, answer.tenant));
      void link.ask((redis) => redis.del(answerKey(answer.id, answer.tenant), ...items));
    },
  };
}

/** Null for what no server has written. */
export function parseAnswer(text: string): StoredAnswer | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value) || !isObject(value.response)) return null;
  const { id, tenant, response, items, input } = value;
  const isGood =
    [id, tenant].every((each) => typeof each === "string") &&
    [items, input, response.output].every(Array.isArray) &&
    (response.output as unknown[]).every(
      (item) => isObject(item) && typeof item.id === "string" && typeof item.type === "string",
    );
  return isGood ? (value as unknown as StoredAnswer) : null;
}

/** Ids come from clients and may be of any length. */
function digest(id: string, tenant: string): string {
  return createHash("sha256").update(`${tenant}\n${id}`).digest("hex").slice(0, 40);
}
const answerKey = (id: string, tenant: string) => `answer:${digest(id, tenant)}`;
const itemKey = (id: string, tenant: string) => `item:${digest(id, tenant)}`;
