/** The thread in a browser, a worker. */
import * as imported from "@mlc-ai/web-xgrammar";
import { serveGrammars } from "./serve-grammars.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

interface Scope {
  /** The package says that it is ECMAScript modules, but is a script that leaves its names here where there is no CommonJS. */
  xgrammar?: typeof imported;
  postMessage(message: FromWorker, transfer: ArrayBuffer[]): void;
  onmessage: ((event: { data: ToWorker }) => void) | null;
}

const scope = globalThis as unknown as Scope;
const handle = serveGrammars(
  () => scope.xgrammar ?? imported,
  (message, transfer = []) => scope.postMessage(message, transfer),
);
scope.onmessage = ({ data }) => handle(data);
