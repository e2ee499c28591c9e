/**
 * Sends spans to a collector of OpenTelemetry, by HTTP and in JSON, a few seconds after they have ended. A collector that is away loses
 * spans, never requests: so many wait, the rest is dropped.
 */
import type { Span } from "./trace-spans.ts";

export interface TraceSettings {
  /** Where the collector takes traces, such as "http://127.0.0.1:4318/v1/traces". */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
}

const flushMs = 2000;
const timeoutMs = 5000;
const maxWaiting = 2048;
const maxSent = 512;

export class TraceExporter {
  readonly #settings: TraceSettings;
  readonly #version: string;
  readonly #log: (line: string) => void;
  readonly #timer: NodeJS.Timeout;
  #waiting: Span[] = [];
  #sending: Promise<void> | null = null;
  #hasFailed = false;

  constructor(settings: TraceSettings, version: string, log: (line: string) => void) {
    this.#settings = settings;
    this.#version = version;
    this.#log = log;
    this.#timer = setInterval(() => void this.flush(), flushMs);
    this.#timer.unref();
  }

  add(spans: readonly Span[]): void {
    if (this.#waiting.length + spans.length <= maxWaiting) this.#waiting.push(...spans);
  }

  /** Sends what waits. */
  flush(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
    });
    return this.#sending;
  }

  /** Sends what waits, and then nothing more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const spans = this.#waiting.splice(0, maxSent);
      const problem = await this.#send(spans);
      if (problem !== null && !this.#hasFailed)
        this.#log(`traces: the collector does not take them (${problem})`);
      this.#hasFailed = problem !== null;
      if (problem !== null) return;
    }
  }

  async #send(spans: readonly Span[]): Promise<string | null> {
    const { url, headers, serviceName } = this.#settings;
    const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
    const attributes = [text("service.name", serviceName), text("service.version", this.#version)];
    const scopeSpans = [{ scope: { name: "bitnet.ts", version: this.#version }, spans }];
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ resourceSpans: [{ resource: { attributes }, scopeSpans }] }),
        signal: AbortSignal.timeout(timeoutMs),
        redirect: "error",
      });
      await response.body?.cancel();
      return response.ok ? null : `status ${response.status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

/**
 * OpenTelemetry's own environment variables.
 * @returns null where no endpoint is set.
 */
export function traceSettingsOf(
  environment: Readonly<Record<string, string | undefined>>,
): TraceSettings | null {
  const own = environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  const base = environment.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url = own || (base ? `${base.replace(/\/$/, "")}/v1/traces` : "");
  if (url === "" || environment.OTEL_SDK_DISABLED === "true" || !URL.canParse(url)) return null;
  const headers =
    environment.OTEL_EXPORTER_OTLP_TRACES_HEADERS ?? environment.OTEL_EXPORTER_OTLP_HEADERS ?? "";
  return {
    url,
    headers: headersOf(headers),
    serviceName: environment.OTEL_SERVICE_NAME || "bitnet",
  };
}

/** Pairs as "name=value,name=value". Values are percent-encoded, and may hold further signs of equality, as those in base64 do. */
function headersOf(text: string): Record<string, string> {
  const pairs = text.split(",").flatMap((pair) => {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(at, 0)).trim();
    return name === "" ? [] : [[name, decoded(pair.slice(at + 1).trim())] as const];
  });
  return Object.fromEntries(pairs);
}

/** What is not percent-encoded is taken as it is. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
