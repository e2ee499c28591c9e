/** Answers to what never becomes a request, in the shape that clients read: that of the framework would lose its text in them. */
import type { Socket } from "node:net";

const answers: Readonly<Record<string, { status: string; message: string }>> = {
  HPE_HEADER_OVERFLOW: {
    status: "431 Request Header Fields Too Large",
    message: "the headers are larger than the 16 KiB that this server accepts",
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: "408 Request Timeout", message: "the request did not arrive in time" },
};
const malformed = { status: "400 Bad Request", message: "the request is not valid HTTP" };

/** Says what is wrong, and closes the connection. The body suits clients of OpenAI and of Anthropic. */
export function answerBrokenRequest({ code }: NodeJS.ErrnoException, socket: Socket): void {
  if (code === "ECONNRESET" || socket.destroyed) return;
  const { status, message } = answers[code ?? ""] ?? malformed;
  const error = { message, type: "invalid_request_error", param: null, code: "invalid_input" };
  const body = JSON.stringify({ type: "error", error });
  const head = [
    `HTTP/1.1 ${status}`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  if (socket.writable) socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
  else socket.destroy();
}
