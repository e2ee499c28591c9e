/** The log in pino's lines of JSON: one for each request that comes and ends, under its id. Holds no prompts, answers, keys or queries. */
import pino, { type DestinationStream, type Logger } from "pino";

interface Asked {
  method?: string;
  url?: string;
  ip?: string;
}

export function createRequestLog(stream: DestinationStream): Logger {
  return pino(
    {
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: {
        req: ({ method, url, ip }: Asked) => ({ method, path: url?.split("?")[0], address: ip }),
        err: ({ name, message }: Error) => ({ name, message: message.slice(0, 500) }),
      },
    },
    stream,
  );
}
