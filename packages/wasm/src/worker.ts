/** The worker in a browser. */
import { serve } from "./coordinator.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

interface Scope {
  postMessage(message: FromWorker, transfer: ArrayBuffer[]): void;
  onmessage: ((event: { data: ToWorker }) => void) | null;
}

const scope = globalThis as unknown as Scope;
const handle = serve({ post: (message, transfer) => scope.postMessage(message, transfer) });
scope.onmessage = ({ data }) => handle(data);
