/** The end of the requests of a server that takes no new ones. Knows nothing of connections. */
import { ServeError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Serving } from "./serving.ts";

/** Waits for those that run or wait, and cuts off the rest when time is up. */
export async function endExchanges(
  { admission, settings }: Pick<Serving, "admission" | "settings">,
  exchanges: ReadonlySet<Exchange>,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeIsUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, settings.drainMs);
  });
  try {
    await Promise.race([admission.idle(), timeIsUp]);
    for (const exchange of exchanges) exchange.abort(new ServeError("DRAINING", "the server has ended"));
  } finally {
    clearTimeout(timer);
  }
}
