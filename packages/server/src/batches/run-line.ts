/** Answers a line of a batch by the route that would answer it for a client. */
import type { FastifyInstance } from "fastify";
import { errorBody, type ServeCode, ServeError } from "../errors.ts";
import { type InnerClients, innerHeader } from "./inner-clients.ts";
import type { RunLine } from "./line-queue.ts";

/** They say nothing about the line. */
const passing: ReadonlySet<ServeCode> = new Set<ServeCode>([
  "QUEUE_FULL",
  "LOADING",
  "DRAINING",
  "ABORTED",
  "OUT_OF_MEMORY",
  "RATE_LIMIT_EXCEEDED",
]);

export function createRunLine(app: FastifyInstance, inner: InnerClients): RunLine {
  return async ({ endpoint, body, tenant, signal }) => {
    if (body.stream === true) {
      const error = new ServeError("INVALID_INPUT", "stream: answers of a batch are not streamed", {
        param: "stream",
      });
      return { status: error.status, requestId: "", body: errorBody("openai", error, "") };
    }
    const { token, leave } = inner.enter(tenant, signal);
    try {
      const response = await app.inject({
        method: "POST",
        url: endpoint,
        headers: { "content-type": "application/json", host: "localhost", [innerHeader]: token },
        payload: JSON.stringify(body),
      });
      const code = response.headers["x-bitnet-code"] as ServeCode | undefined;
      if (signal.aborted || (code !== undefined && passing.has(code))) return "again";
      if (code === "TIMEOUT")
        return { code: "request_timeout", message: "This request took longer than the server allows." };
      return {
        status: response.statusCode,
        requestId: String(response.headers["x-request-id"] ?? ""),
        body: JSON.parse(response.body) as unknown,
      };
    } finally {
      leave();
    }
  };
}
