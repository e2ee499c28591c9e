/**
 * From a chat model's reply to the program in it. Source: EvalPlus' instruction and sanitiser: the longest code that parses, of which imports, the
 * function that was asked for and what it needs stay.
 */
import { runPython, type Sandbox } from "./python.ts";

/** What an instructed model is asked: EvalPlus' words and the signature with its docstring. */
export function askForProgram(prompt: string): string {
  return (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n" +
    `\`\`\`python\n${prompt.trim()}\n\`\`\``
  );
}

/** Lines of text outside fences in which code is looked for: every range of them is parsed. */
const mostLines = 150;

/** Blocks between fences, the last of which need not end; without any fence the whole reply. */
function blocksOf(reply: string): string[] {
  const blocks = [...reply.matchAll(/^[ \t]*```[^\n`]*\n([\s\S]*?)(?:^[ \t]*```|$(?![\s\S]))/gm)].map(
    ([, code = ""]) => code,
  );
  return blocks.length > 0 ? blocks : [reply];
}

/**
 * The program, or a text that defines nothing where there is none. Nothing of the reply is run.
 * @param entry Name of the function that was asked for.
 */
export async function programIn(reply: string, entry: string, sandbox: Sandbox): Promise<string> {
  const blocks = blocksOf(reply.replaceAll("\r\n", "\n"));
  const request = JSON.stringify({ blocks, entry, mostLines });
  const limits = { seconds: 20, memoryBytes: 2 ** 30 };
  const { status, output } = await runPython(sandbox, sanitiser, `${request}\n`, limits);
  const [, found] = /^found (.*)$/m.exec(output) ?? [];
  return status === 0 && found !== undefined ? (JSON.parse(found) as string) : "";
}

/** Prints JSON in ASCII on a line of its own. */
const sanitiser = `import ast, json, sys
request = json.loads(sys.stdin.readline())
entry = request["entry"]
def parsed(code):
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
def longest(text):
    lines = text.split("\\n")
    if parsed(text) is not None:
        return text
    lines = lines[:request["mostLines"]]
    best, most = "", 0
    for i in range(len(lines)):
        for j in range(len(lines), i, -1):
            count = sum(1 for line in lines[i:j] if line.strip())
            if count <= most:
                break
            code = "\\n".join(lines[i:j])
            if parsed(code) is not None:
                best, most = code, count
                break
    return best
def names(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
codes = [longest(block) for block in request["blocks"]]
def weight(code):
    tree = parsed(code)
    has = tree is not None and any(entry in names(node) for node in tree.body)
    return (has, sum(1 for line in code.split("\\n") if line.strip()))
code = max(codes, key=weight)
tree = parsed(code) or ast.parse("")
needed, open_names = set(), [entry]
while open_names:
    name = open_names.pop()
    if name in needed:
        continue
    needed.add(name)
    for node in tree.body:
        if name in names(node):
            open_names += [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
lines = code.split("\\n")
kept = []
for node in tree.body:
    if isinstance(node, (ast.Import, ast.ImportFrom)) or any(name in needed for name in names(node)):
        first = min([node.lineno] + [each.lineno for each in getattr(node, "decorator_list", [])])
        kept += lines[first - 1:node.end_lineno]
print("found " + json.dumps("\\n".join(kept) + "\\n"))
`;
