import { expect, it } from "vitest";
import { traceSettingsOf } from "./trace-exporter.ts";

it.each<[string, Record<string, string>]>([
  ["authorization=Bearer%20secret", { authorization: "Bearer secret" }],
  [
    "authorization=Basic dXNlcjpwYXNzZWQ==, x-scope = a",
    { authorization: "Basic dXNlcjpwYXNzZWQ==", "x-scope": "a" },
  ],
  ["x-share=100%,nothing,=b,", { "x-share": "100%" }],
])("reads the headers %s", (text, headers) => {
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318",
    OTEL_EXPORTER_OTLP_HEADERS: text,
  };
  expect(traceSettingsOf(environment)?.headers).toEqual(headers);
});
