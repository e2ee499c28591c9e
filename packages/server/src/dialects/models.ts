/** The list of models: one object per model that OpenAI's and Anthropic's clients both read. */
import type { Exchange } from "../exchange.ts";
import type { LoadedModel } from "../models.ts";

export async function listModels(exchange: Exchange): Promise<void> {
  const { serving } = exchange;
  const data = serving.models.names.map((name) => describeModel(name, exchange));
  exchange.sendJson({
    object: "list",
    data,
    has_more: false,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  });
}

export async function getModel(exchange: Exchange): Promise<void> {
  const { id } = exchange.request.params as { id?: string; "*"?: string };
  const name = id ?? (exchange.request.params as { "*"?: string })["*"] ?? "";
  exchange.serving.models.resolve(name);
  exchange.sendJson(describeModel(name, exchange));
}

function describeModel(name: string, { serving }: Exchange) {
  const own = serving.models.resolve(name);
  const entry: LoadedModel | undefined = serving.models.list.find((each) => each.name === own);
  const context = entry?.model?.info.contextLength ?? null;
  const created = serving.startedAt;
  return {
    id: name,
    object: "model",
    created: Math.floor(created.getTime() / 1000),
    owned_by: "bitnet.ts",
    ...(serving.models.adapter(name) === undefined ? {} : { parent: own }),
    type: "model",
    display_name: name,
    created_at: created.toISOString(),
    capabilities: null,
    deprecated_at: null,
    lifecycle: "active",
    line: null,
    retires_at: null,
    max_input_tokens: context,
    max_tokens: context === null ? null : Math.min(context, serving.settings.maxOutputTokens),
  };
}
