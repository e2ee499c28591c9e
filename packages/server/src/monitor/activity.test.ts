import { expect, test } from "vitest";
import { Activity, type EndedRequest } from "./activity.ts";

test("what fails by the server's fault counts as failed, what is not supported does not", () => {
  const activity = new Activity({ request: () => {}, answer: () => {}, gap: () => {} });
  const ended: Omit<EndedRequest, "status"> = {
    ...{ route: "/api/push", ms: 1, isAnswer: true, isBackground: false, id: "1", method: "POST" },
    ...{ traceparent: undefined, endedAt: 0, errorCode: null, answers: [] },
  };
  for (const status of [200, 400, 429, 501]) activity.request({ ...ended, status });
  expect(activity.totals).toMatchObject({ requests: 4, failed: 0 });
  for (const status of [500, 502, 503, 504]) activity.request({ ...ended, status });
  expect(activity.totals).toMatchObject({ requests: 8, failed: 4 });
});
