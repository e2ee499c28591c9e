import { expect, test } from "vitest";
import type { BitNetError } from "../base/errors.ts";
import { refuseUnread } from "./unread-tensors.ts";

const read = new Set(["blk.0.attn_q.weight", "output_norm.weight"]);

function failure(names: readonly string[]): BitNetError {
  try {
    refuseUnread(names, read);
  } catch (error) {
    return error as BitNetError;
  }
  throw new Error("expected a failure");
}

test("what was read, and what says nothing, passes", () => {
  refuseUnread([...read, "model.layers.3.self_attn.rotary_emb.inv_freq"], read);
});

test.each(["blk.0.attn_q.bias", "blk.0.attn_q_norm.weight", "rope_freqs.weight", "x.inv_freq.weight"])(
  "%s is refused by name",
  (name) => {
    const { code, message, details } = failure([...read, name]);
    expect(code).toBe("MODEL_INVALID");
    expect(message).toContain(JSON.stringify(name));
    expect(details).toMatchObject({ tensors: [name], count: 1 });
  },
);

test("the list stays short", () => {
  const { message } = failure(Array.from({ length: 100_000 }, (_, i) => `${i}${"x".repeat(1000)}`));
  expect(message).toContain("and 99992 more");
  expect(message.length).toBeLessThan(1000);
});
