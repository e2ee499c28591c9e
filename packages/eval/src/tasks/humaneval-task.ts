/**
 * HumanEval and HumanEval+: a function's body for its signature and docstring, or a program that a chat model is asked for; judged by running it
 * (code/python.ts). Items of the
 * extended set are handed to Python as they stand in the file, whose numbers do not survive JavaScript.
 */
import { askForProgram, programIn } from "../code/chat-program.ts";
import { bodyStops, programOf } from "../code/completion.ts";
import { hasModule, runPython, type Sandbox } from "../code/python.ts";
import { textField } from "./records.ts";
import type { AnswerTask, Draws } from "./task.ts";
import type { TaskRecord } from "./task-record.ts";

const memoryBytes = 4 * 2 ** 30;
/** Of a body, and of a reply, which explains itself. */
const [bodyTokens, chatTokens] = [512, 1024];
const success = "bitnet-eval: passed";

/**
 * @param given Or why there is none: then the task is skipped, and never scored 0.
 * @param options.chat Ask for the program in words, and take it from the reply.
 * @param options.isPlus More inputs an item: as lists, or as a test like the base set's (the Hub's copy, whose tests need numpy).
 */
export function humanEvalTask(
  records: readonly TaskRecord[],
  given: Sandbox | string,
  { isPlus, chat, draws }: { isPlus: boolean; chat: boolean; draws?: Draws },
): AnswerTask {
  const sandbox = typeof given === "string" ? given : (missingModule(given, records) ?? given);
  const items = records.map((record) => {
    const prompt = textField(record, "prompt");
    return {
      id: textField(record, "task_id"),
      request: chat
        ? { prompt: [{ role: "user", content: askForProgram(prompt) }], stop: [], maxTokens: chatTokens }
        : { prompt, stop: bodyStops, maxTokens: bodyTokens },
      judge: async (answer: string) => {
        if (typeof sandbox === "string") return { pass_at_1: false };
        const program = chat
          ? await programIn(answer, textField(record, "entry_point"), sandbox)
          : programOf(prompt, answer);
        return { pass_at_1: await passes(sandbox, record, program, isPlus) };
      },
    };
  });
  return {
    kind: "answer",
    name: isPlus ? "humaneval_plus" : "humaneval",
    settings: {
      ...(chat
        ? { shots: 0, chat, maxTokens: chatTokens, form: "instruction, program of the reply" }
        : { shots: 0, chat, maxTokens: bodyTokens, form: "base completion" }),
      ...(draws === undefined ? {} : { draws: draws.count, temperature: draws.temperature }),
      ...(typeof sandbox === "string"
        ? {}
        : { ownRoot: sandbox.hasOwnRoot, namespaces: sandbox.hasNamespaces }),
    },
    ...(draws === undefined ? {} : { draws }),
    mainMetric: "pass_at_1",
    chance: 0,
    published: isPlus && draws === undefined ? 0.384 : null,
    ...(typeof sandbox === "string" ? { skipped: sandbox } : {}),
    items,
  };
}

function missingModule(sandbox: Sandbox, records: readonly TaskRecord[]): string | null {
  const needsNumpy = records.some(
    ({ fields: { test, plus_input } }) =>
      plus_input === undefined && typeof test === "string" && /^import numpy\b/m.test(test),
  );
  return needsNumpy && !hasModule(sandbox, "numpy") ? "the tests of these items need Python's numpy" : null;
}

async function passes(
  sandbox: Sandbox,
  record: TaskRecord,
  program: string,
  isPlus: boolean,
): Promise<boolean> {
  const nonce = crypto.randomUUID();
  const limits = isPlus ? { seconds: 60, memoryBytes } : { seconds: 3, memoryBytes };
  const asLists = record.fields.plus_input !== undefined;
  const source = asLists
    ? plusJudge
    : `${program}\n${textField(record, "test")}\ncheck(${textField(record, "entry_point")})\nprint(${JSON.stringify(`${success} ${nonce}`)})\n`;
  const input = asLists ? `${JSON.stringify({ program, nonce, success })}\n${record.line}\n` : "";
  const { status, output } = await runPython(sandbox, source, input, limits);
  return status === 0 && output.includes(`${success} ${nonce}`);
}

/**
 * The expected values come from the canonical solution; each input has max(4 s, 4 × its time). Equality, or nearness for floats; zeros
 * of polynomials are judged by the polynomial.
 */
const plusJudge = `import json, math, signal, sys, time, copy
request = json.loads(sys.stdin.readline())
item = json.loads(sys.stdin.readline())
name, atol = item["entry_point"], item.get("atol", 0)
def load(source):
    scope = {"__name__": "solution"}
    exec(compile(source, "solution", "exec"), scope)
    return scope[name]
reference = load(item["prompt"] + item["canonical_solution"])
solution = load(request["program"])
def stop(*_):
    raise TimeoutError()
signal.signal(signal.SIGALRM, stop)
def has_floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(y, float) for y in x))
def close(a, b, tolerance):
    if isinstance(b, (list, tuple)):
        return type(a) == type(b) and len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b))
    return abs(a - b) <= tolerance + 1e-7 * abs(b)
def same(found, expected):
    if found == expected:
        return True
    if atol == 0 and not has_floats(expected):
        return False
    return close(found, expected, atol if atol != 0 else 1e-6)
for inputs in list(item["base_input"]) + list(item["plus_input"]):
    start = time.monotonic()
    expected = reference(*copy.deepcopy(inputs))
    signal.setitimer(signal.ITIMER_REAL, max(4, 4 * (time.monotonic() - start)))
    found = solution(*copy.deepcopy(inputs))
    signal.setitimer(signal.ITIMER_REAL, 0)
    if name == "find_zero":
        value = sum(c * math.pow(found, i) for i, c in enumerate(inputs[0]))
        assert abs(value) <= max(atol, 1e-6), inputs
    else:
        assert same(found, expected), inputs
print(request["success"], request["nonce"])
`;
