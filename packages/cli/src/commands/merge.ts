/** `bitnet merge`: an adapter into its base, with a measurement of what that costs; written only when the cost is accepted. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNetError, checkBase, openAdapter, openModelFiles } from "@bitnet.ts/core";
import type { EncodedExample, MergeReport } from "@bitnet.ts/train";
import type { Command } from "commander";
import { formatCount } from "../format.ts";
import { openRoot } from "../open-root.ts";
import { jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { chooseKernels, type Library } from "../training.ts";
import { localData } from "../training-data.ts";
import { parseInteger } from "../values.ts";

interface MergeFlags {
  data: string;
  output?: string;
  acceptLoss?: boolean;
  maxLength: number;
  maxSamples: number;
  embedding: "f16" | "f32";
  threads?: number;
  reference?: boolean;
  json?: boolean;
}

export function registerMerge(program: Command, session: Session): void {
  program
    .command("merge")
    .description(
      "what merging an adapter into its ternary base would cost, and the merged model if that is accepted",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, hf:owner/name, or a short name")
    .argument("<adapter>", "PEFT folder or GGUF adapter")
    .addOption(
      option(
        "--data <source>",
        "examples to measure the cost on, as for finetune, or a text",
      ).makeOptionMandatory(),
    )
    .addOption(option("-o, --output <folder>", "gets the merged model, with --accept-loss"))
    .addOption(
      option("--accept-loss", "write the merged model although it is not the model with the adapter"),
    )
    .addOption(
      option("--max-samples <n>", "measure on so many examples at most")
        .argParser(parseInteger(1))
        .default(64),
    )
    .addOption(
      option("--max-length <n>", "tokens of an example; longer ones are cut")
        .argParser(parseInteger(1))
        .default(512),
    )
    .addOption(
      option("--embedding <type>", "type of the embedding in the GGUF file")
        .choices(["f16", "f32"])
        .default("f16"),
    )
    .addOption(
      option("-t, --threads <n>", "compute threads (default: the cores available)").argParser(
        parseInteger(1, 256),
      ),
    )
    .addOption(option("--reference", "compute with the slow reference kernels"))
    .addOption(jsonOption("the report"))
    .action((model: string, adapter: string, flags: MergeFlags) => merge(model, adapter, flags, session));
}

async function merge(model: string, path: string, flags: MergeFlags, session: Session): Promise<void> {
  const library = await import("@bitnet.ts/train");
  const kernels = chooseKernels(library, flags, session);
  const base = await library.openBase(
    await openModelFiles(await openRoot(model, session)),
    model,
    flags.maxLength,
  );
  try {
    const adapter = await openAdapter(await openRoot(path, session), base.config);
    try {
      checkBase(adapter, base.fingerprint, model);
      const documents = await readDocuments(library, base, flags, session);
      const { executor, report } = await library.mergeAdapter(base, adapter, documents, kernels);
      if (flags.output !== undefined && !flags.acceptLoss) {
        session.note(`bitnet: ${describe(report)}`);
        throw new BitNetError(
          "INVALID_ARGUMENT",
          `${path}: not merged, because a ternary base cannot hold the sum (a divergence of ${report.divergence.toPrecision(3)} nats a token); ` +
            "keep the side path (--adapter), which loses nothing, or give --accept-loss",
          { details: { ...report } },
        );
      }
      const saved =
        flags.output === undefined
          ? null
          : await library.saveModel(flags.output, executor, base, flags.embedding);
      const files =
        saved === null ? [] : [saved.gguf, ...(saved.huggingFace === null ? [] : [saved.huggingFace])];
      await session.write(
        flags.json
          ? `${JSON.stringify({ ...report, files })}\n`
          : `${describe(report)}${files.length > 0 ? `\n${files.join(" and ")}` : ""}\n`,
      );
    } finally {
      await adapter.close();
    }
  } finally {
    await base.close();
    kernels.dispose();
  }
}

async function readDocuments(
  library: Library,
  { tokenizer, template, shape }: Awaited<ReturnType<Library["openBase"]>>,
  { data, maxSamples }: MergeFlags,
  session: Session,
): Promise<EncodedExample[]> {
  const documents: EncodedExample[] = [];
  let left = maxSamples;
  const folder = mkdtempSync(join(tmpdir(), "bitnet-merge-"));
  try {
    for (const [index, path] of (await localData(data, session)).entries()) {
      if (left === 0) break;
      const { path: readable, placeOf } = await library.lineFile(path, folder, index);
      const file = library.openExamples(readable, {
        // Without a template there are no conversations to make of texts.
        ...{
          textMode: template instanceof BitNetError ? "text" : "split",
          maxSamples: left,
          name: path,
          placeOf,
        },
      });
      try {
        for (let i = 0; i < file.count; i++) {
          const encoded = library.encodeExample(file.at(i), { tokenizer, template, otherWeight: 0 });
          documents.push(...library.cutExample(encoded, shape.contextLength));
        }
        left -= file.count;
      } finally {
        file.close();
      }
    }
    return documents;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function describe({ nTrits, nChanged, lossBase, lossAdapter, lossMerged, divergence }: MergeReport): string {
  return (
    `merging changes ${formatCount(nChanged)} of ${formatCount(nTrits)} trits (${((100 * nChanged) / nTrits).toFixed(3)} %); ` +
    `loss: base ${lossBase.toFixed(4)}, with the adapter ${lossAdapter.toFixed(4)}, merged ${lossMerged.toFixed(4)}; ` +
    `divergence of the merged model from the one with the adapter: ${divergence.toPrecision(3)} nats a token`
  );
}
