/** OpenAI's lists: a page of records after a cursor, newest first unless asked otherwise. */
import { invalid } from "../errors.ts";
import type { Exchange } from "../exchange.ts";

interface Page<T> {
  /** All ids, oldest first. */
  readonly ids: readonly string[];
  readonly find: (id: string) => Promise<T | null>;
  readonly accepts?: (record: T) => boolean;
  readonly show: (record: T) => Promise<object> | object;
}

export async function sendList<T extends { id: string }>(exchange: Exchange, page: Page<T>): Promise<void> {
  const query = exchange.request.query as Record<string, unknown>;
  const order = readOrder(query.order);
  const limit = readLimit(query.limit);
  const ids = order === "asc" ? page.ids : page.ids.toReversed();
  const found: T[] = [];
  for (const id of afterCursor(ids, query.after)) {
    const record = await page.find(id);
    if (record !== null && (page.accepts?.(record) ?? true)) found.push(record);
    if (found.length > limit) break;
  }
  const shown = found.slice(0, limit);
  exchange.sendJson({
    object: "list",
    data: await Promise.all(shown.map(page.show)),
    ...(shown.length === 0 ? {} : { first_id: shown[0]?.id, last_id: shown.at(-1)?.id }),
    has_more: found.length > limit,
  });
}

function afterCursor(ids: readonly string[], after: unknown): readonly string[] {
  if (after === undefined) return ids;
  const at = ids.indexOf(String(after));
  if (at < 0) throw invalid("after", "the id of an entry of this list");
  return ids.slice(at + 1);
}

function readLimit(value: unknown): number {
  const limit = value === undefined ? 20 : Number(value);
  if (Number.isInteger(limit) && limit >= 1 && limit <= 10_000) return Math.min(limit, 100);
  throw invalid("limit", "a whole number from 1 up");
}

function readOrder(value: unknown): "asc" | "desc" {
  if (value === undefined || value === "desc") return "desc";
  if (value === "asc") return "asc";
  throw invalid("order", "asc or desc");
}
