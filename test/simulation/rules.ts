/** What must hold always, and what must hold in the end. */

import { generateAlone } from "#core/generate/fake-executable.test.kit.ts";
import { parseGenerateOptions } from "#core/generate/parse-options.ts";
import { eosId, logitsOf, poison, vocabSize } from "./backend.ts";
import type { Visit, World } from "./simulate.ts";

/** Asked whenever nothing can happen without time passing. */
export function checkQuiet(world: World): void {
  const { admission, scheduler, backend, plan, visits } = world;
  const inState = (wanted: Visit["state"], isBackground: boolean) =>
    visits.filter(({ state, plan: { isBackground: is } }) => state === wanted && is === isBackground);
  const [running, asking] = [inState("running", false), inState("asking", false)];
  const [behind, patient] = [inState("running", true), inState("asking", true)];
  const { running: nRunning, queued, queuedBytes, queuedTokens, background } = admission.stats;
  if (running.length > plan.server.parallel)
    world.violate(`${running.length} requests run at once, ${plan.server.parallel} may`);
  if (nRunning !== running.length)
    world.violate(`admission counts ${nRunning} running, there are ${running.length}`);
  if (background !== behind.length)
    world.violate(`admission counts ${background} in the background, there are ${behind.length}`);
  if (background > plan.server.parallel)
    world.violate(`${background} run in the background, ${plan.server.parallel} may run in all`);
  if (patient.length > 0 && nRunning + background + queued === 0)
    world.violate("work in the background waits although nothing runs");
  if (queued !== asking.length)
    world.violate(`admission counts ${queued} waiting, there are ${asking.length}`);
  const bytes = asking.reduce((sum, visit) => sum + visit.plan.bytes, 0);
  if (queuedBytes !== bytes)
    world.violate(`admission counts ${queuedBytes} bytes waiting, there are ${bytes}`);
  if (queuedTokens > 0 !== queued > 0)
    world.violate(`admission counts ${queuedTokens} tokens of ${queued} waiting`);
  if (queued > plan.server.maxQueued) world.violate(`${queued} requests wait, ${plan.server.maxQueued} may`);
  if (queued > 0 && nRunning < plan.server.parallel) world.violate("a request waits although there is room");
  if (
    world.drainingSince !== null &&
    !world.isDrained &&
    running.length + asking.length + behind.length === 0
  )
    world.violate("the end is waited for although nothing runs");
  for (const early of asking) judgeTurns(world, early);
  world.entered = [];
  const stats = scheduler.stats();
  const { preemptions, rowsSkipped } = stats;
  Object.assign(world.reached, {
    preemptions,
    rowsSkipped,
    paused: Math.max(world.reached.paused, stats.paused),
  });
  if (!backend.isBusy && stats.running + stats.waiting > 0)
    world.violate(`nothing runs, although ${stats.running} texts run and ${stats.waiting} wait`);
  const nBehind = [...running, ...behind].filter(({ socket }) => socket.isBehind).length;
  if (stats.paused > 0 && nBehind === 0) world.violate("a text is paused although every reader is ready");
  const { pagesInUse, pagesCached, pagesFree } = stats;
  if (pagesInUse < 0 || pagesInUse + pagesCached + pagesFree !== plan.backend.nPages)
    world.violate(
      `of ${plan.backend.nPages} pages, ${pagesInUse} are used, ${pagesCached} cached, ${pagesFree} free`,
    );
}

/** Asked when nothing will ever happen again. */
export async function checkEnd(world: World): Promise<void> {
  const { scheduler, backend, plan, visits } = world;
  for (const visit of visits) checkVisit(world, visit);
  checkOrder(world);
  checkSharing(world);
  const { running, waiting, paused, pagesInUse } = scheduler.stats();
  if (running + waiting + paused > 0)
    world.violate(`in the end ${running} texts run, ${waiting} wait, ${paused} are paused`);
  if (pagesInUse > 0) world.violate(`${pagesInUse} pages are used by nobody`);
  scheduler.clearCache();
  const { pagesFree } = scheduler.stats();
  if (pagesFree !== plan.backend.nPages)
    world.violate(`${plan.backend.nPages - pagesFree} pages cannot be freed`);
  if (backend.nTouched > 0) world.violate(`the memory of ${backend.nTouched} pages was not given back`);
  await scheduler.dispose();
}

function checkVisit(world: World, visit: Visit): void {
  const { socket, index, failure, state } = visit;
  for (const violation of socket.violations) world.violate(`r${index}: ${violation}`);
  if (state !== "ended") {
    world.violate(`r${index} is lost: ${state}`);
    return;
  }
  const isAnswered = socket.nEnds === 1;
  if (!isAnswered && !socket.destroyed) world.violate(`r${index} has got no answer`);
  if (failure !== null) checkFailure(world, visit, failure.code);
  checkText(world, visit);
}

/** Every failure has a cause that was planned. */
function checkFailure(world: World, visit: Visit, code: string): void {
  const { plan, index, enteredAt, endedAt, socket } = visit;
  const during = (time: number) => time >= enteredAt && time <= endedAt;
  const causes: Record<string, boolean> = {
    DRAINING: world.drainingSince !== null,
    TIMEOUT: endedAt - enteredAt >= world.plan.server.timeoutMs,
    ABORTED: socket.destroyed,
    QUEUE_FULL: true, // judged when it happened
    RATE_LIMIT_EXCEEDED: true,
    INVALID_INPUT:
      (world.ledgers[plan.client]?.limits.tokensPerMinute ?? Number.POSITIVE_INFINITY) < tokensOf(visit),
    GENERATION_ERROR: plan.prompt.includes(poison) || world.backend.faults.some(during),
    OUT_OF_MEMORY: world.backend.faults.some(during),
  };
  if (causes[code] !== true) world.violate(`r${index} has failed without a cause: ${visit.failure}`);
}

function tokensOf({ plan }: Visit): number {
  return plan.n * (plan.prompt.length + plan.options.maxTokens);
}

/** What the text must be, whatever else runs. */
function textOf(world: World, visit: Visit, choice: number): number[] {
  visit.expected[choice] ??= computeText(world, visit, choice);
  return visit.expected[choice];
}

function computeText(world: World, { plan }: Visit, choice: number): number[] {
  const settings = parseGenerateOptions({ ...plan.options, choice }, vocabSize);
  const { contextLength } = world.scheduler;
  return generateAlone(plan.prompt, settings, { vocabSize, contextLength, eosId, logitsOf });
}

function checkText(world: World, visit: Visit): void {
  const { plan, socket, failure, index } = visit;
  if (visit.generations.length === 0 || plan.prompt.includes(poison)) return;
  const expected = Array.from({ length: plan.n }, (_, choice) => textOf(world, visit, choice));
  const isWhole = failure === null && socket.writableFinished;
  const got = plan.isStream
    ? readStream(socket.received, plan.n)
    : isWhole
      ? (JSON.parse(socket.received) as number[][])
      : [];
  got.forEach((ids, choice) => {
    const wanted = expected[choice] ?? [];
    const compared = isWhole ? wanted : wanted.slice(0, ids.length);
    if (String(ids) !== String(compared))
      world.violate(`r${index}, answer ${choice}: ${ids} instead of ${wanted}`);
  });
  if (isWhole && plan.isStream && !socket.received.endsWith("data: [DONE]\n\n"))
    world.violate(`r${index}: its stream has no end`);
}

function readStream(text: string, n: number): number[][] {
  const answers: number[][] = Array.from({ length: n }, () => []);
  for (const frame of text.split("\n\n")) {
    if (!frame.startsWith("data: [")) continue;
    const value = frame === "data: [DONE]" ? null : (JSON.parse(frame.slice(6)) as [number, number]);
    if (value !== null) answers[value[0]]?.push(value[1]);
  }
  return answers;
}

/** Texts begin in the order in which they were asked for; those in the background let others go first. */
function checkOrder(world: World): void {
  const begun = world.visits
    .flatMap(({ index, plan, generations }) => {
      const isBackground = "isBackground" in plan && plan.isBackground === true;
      return generations.map((generation) => ({ index, isBackground, ...generation }));
    })
    .flatMap((each) =>
      each.result === null ? [] : [{ ...each, admitted: each.started + each.result.timings.queuedMs }],
    );
  const overtakes = (early: (typeof begun)[number], late: (typeof begun)[number]) =>
    early.order < late.order &&
    (late.isBackground || !early.isBackground) &&
    early.admitted > late.admitted &&
    (late.result?.ids.length ?? 0) > 0;
  for (const early of begun)
    for (const late of begun)
      if (overtakes(early, late))
        world.violate(
          `a text of r${late.index} was begun before one of r${early.index}, which was there first`,
        );
}

/** Nobody is given what only others have computed. */
function checkSharing(world: World): void {
  const texts = world.visits.flatMap((visit) =>
    visit.generations.map(({ result, choice, order }) => ({
      ...{ result, order, visit, tenant: visit.plan.client },
      tokens: [...visit.plan.prompt, ...textOf(world, visit, choice)],
    })),
  );
  for (const { result, visit, tenant, order } of texts) {
    if (result === null || result.cachedTokens === 0) continue;
    const others = texts.filter((other) => other.tenant === tenant && other.order !== order);
    const longest = Math.max(0, ...others.map((other) => commonLength(visit.plan.prompt, other.tokens)));
    if (result.cachedTokens > longest)
      world.violate(
        `r${visit.index} took ${result.cachedTokens} rows from the cache, its tenant had ${longest}`,
      );
  }
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** A client's requests come in their order, and whoever waits sees another client have one turn more than its own at most. */
function judgeTurns(world: World, early: Visit): void {
  for (const { index, order, plan } of world.entered) {
    if (plan.isBackground) continue;
    const isOwn = plan.client === early.plan.client;
    if (isOwn && order > early.order) world.violate(`r${index} has overtaken r${early.index}`);
    if (isOwn || order > early.order) early.turns.set(plan.client, (early.turns.get(plan.client) ?? 0) + 1);
  }
  const own = early.turns.get(early.plan.client) ?? 0;
  for (const [client, turns] of early.turns)
    if (client !== early.plan.client && turns > own + 1)
      world.violate(
        `client ${client} has had ${turns} turns while r${early.index} waits, its own has had ${own}`,
      );
}
