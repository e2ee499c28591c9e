/**
 * Refuses files with tensors that no operation reads: a bias, a norm or frequencies that are left out change every answer, silently.
 * Names that are known to say nothing are let pass.
 */
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";

/** Tensors that an error lists. */
const maxListed = 8;

const harmless: readonly RegExp[] = [
  /^dense_[23]\.weight$/, // change embeddings (embedding-modules.ts)
  /(^|\.)rotary_emb\.inv_freq$/, // what old versions of transformers saved beside the configuration that it follows from
];

/**
 * @param read Names of the tensors that were read, or asked for what they say.
 * @throws BitNetError MODEL_INVALID naming the others.
 */
export function refuseUnread(names: Iterable<string>, read: ReadonlySet<string>): void {
  const unread: string[] = [];
  for (const name of names)
    if (!read.has(name) && !harmless.some((pattern) => pattern.test(name))) unread.push(name);
  if (unread.length === 0) return;
  const listed = unread.slice(0, maxListed).map(showTensor);
  const more = unread.length > listed.length ? ` and ${unread.length - listed.length} more` : "";
  throw new BitNetError(
    "MODEL_INVALID",
    `the model file holds tensors that this architecture has no use for: ${listed.join(", ")}${more}; leaving them out would change what the model says, so it is another architecture, or the file is wrong`,
    { details: { tensors: unread.slice(0, maxListed), count: unread.length } },
  );
}

/** Names of tensors may be long. */
function showTensor(name: string): string {
  return name.length <= 100 ? JSON.stringify(name) : showValue(name);
}
