/**
 * `bitnet inspect`: what is in a model file, whether or not it can be run: metadata, tensors, packings, and with --weights how the
 * ternary weights are distributed. The facts are gathered in ../model-report.ts; here they are printed.
 */
import { type I2sLayout, openModelFiles } from "@bitnet.ts/core";
import type { Command } from "commander";
import { formatBytes, formatCount, formatTable, plural, printable } from "../format.ts";
import { modelSource, namingSource } from "../load-model.ts";
import { type ModelReport, reportModel, type TensorReport } from "../model-report.ts";
import { openRoot } from "../open-root.ts";
import { i2sLayoutOption, jsonOption, modelOption, option } from "../options.ts";
import type { Session } from "../session.ts";

interface InspectFlags {
  model?: string;
  weights?: boolean;
  i2sLayout: I2sLayout;
  json?: boolean;
}

export function registerInspect(program: Command, session: Session): void {
  program
    .command("inspect")
    .description("show what is in a model file, whether or not it can be run")
    .argument("[model]", "GGUF file, Hugging Face folder, or URL of either (default: as -m)")
    .addOption(modelOption())
    .addOption(option("--weights", "count the weights of every ternary tensor by value"))
    .addOption(i2sLayoutOption())
    .addOption(jsonOption("everything"))
    .action((model: string | undefined, flags: InspectFlags) =>
      inspect(modelSource(model === undefined ? flags : { model }), flags, session),
    );
}

async function inspect(source: string, flags: InspectFlags, session: Session): Promise<void> {
  const report = await readReport(source, flags, session);
  if (flags.json) await session.write(`${JSON.stringify(report, null, 2)}\n`);
  else for (const section of sections(report)) await session.write(`${section}\n\n`);
  const corrupt = report.tensors.filter(({ weights }) => (weights?.invalid ?? 0) > 0);
  if (corrupt.length > 0) {
    session.note(
      `bitnet: ${source}: ${plural(corrupt.length, "tensor")} with code 3, which no valid file contains: the file is corrupt or its layout is another one (--i2s-layout)`,
    );
  }
}

async function readReport(source: string, flags: InspectFlags, session: Session): Promise<ModelReport> {
  try {
    const files = await openModelFiles(await openRoot(source, session), {
      i2sLayout: flags.i2sLayout,
    });
    try {
      return await reportModel(files, source, {
        countsWeights: flags.weights === true,
        signal: session.signal,
      });
    } finally {
      await files.close();
    }
  } catch (error) {
    throw namingSource(error, source);
  }
}

function* sections(report: ModelReport): Generator<string> {
  yield summary(report);
  const metadata = Object.entries(report.metadata).map(([key, value]) => [printable(key), shown(value)]);
  yield `Metadata\n${formatTable(metadata)}`;
  yield `Tensors\n${formatTable(report.tensors.map(tensorRow))}`;
  const types = report.types.map(({ type, tensors, bytes, reason }) => [
    type,
    plural(tensors, "tensor"),
    formatBytes(bytes),
    reason === undefined ? "" : `not read: ${reason}`,
  ]);
  yield `Types\n${formatTable(types)}`;
}

function summary({ model, format, architecture, parameters, bytes, problems }: ModelReport): string {
  return formatTable([
    ["Model", model],
    ["Format", format],
    ["Architecture", architecture === null ? "(none)" : printable(architecture)],
    ["Parameters", formatCount(parameters)],
    ["Tensor data", formatBytes(bytes)],
    ...problems.map((problem) => ["Cannot run", printable(problem)]),
  ]);
}

const shownCharacters = 100;

function shown(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const short = text.length > shownCharacters ? `${text.slice(0, shownCharacters)}…` : text;
  return printable(short);
}

function tensorRow({ name, shape, type, bytes, weights }: TensorReport): string[] {
  const row = [printable(name), type, shape.join(" × "), formatBytes(bytes)];
  if (weights !== undefined) {
    const total = weights.minus + weights.zero + weights.plus + weights.invalid;
    const share = (n: number) => `${((100 * n) / Math.max(1, total)).toFixed(1)} %`;
    row.push(`−1 ${share(weights.minus)}`, `0 ${share(weights.zero)}`, `+1 ${share(weights.plus)}`);
    if (weights.invalid > 0) row.push(`CORRUPT: ${formatCount(weights.invalid)} of code 3`);
  }
  return row;
}
