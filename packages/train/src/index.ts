/** @bitnet.ts/train: trains 1-bit language models. */
export { type MergeReport, mergeAdapter } from "./adapter/merge-adapter.ts";
export { saveGgufAdapter, savePeftAdapter } from "./adapter/save-adapter.ts";
export { cutExample, type EncodedExample, type Example, encodeExample } from "./data/example.ts";
export { type FileExamples, type FileOptions, openExamples } from "./data/file-examples.ts";
export { type LineFile, lineFile } from "./data/line-files.ts";
export { packDocuments } from "./data/pack.ts";
export { exampleOf, parseExample, type TextMode } from "./data/parse-example.ts";
export { exportGguf } from "./export/export-gguf.ts";
export { exportHf } from "./export/export-hf.ts";
export { writeJson, writeWhole } from "./export/write-file.ts";
export { type BaseModel, openBase } from "./finetune/base-model.ts";
export { type OpenFinetune, openFinetune } from "./finetune/open-finetune.ts";
export { type SavedModel, saveModel } from "./finetune/save-model.ts";
export { type FinetuneSettings, finetuneDefaults, finetuneSettings } from "./finetune/settings.ts";
export { Executor, type MicroBatch } from "./graph/executor.ts";
export { countParameters, countTrainable } from "./graph/graph.ts";
export {
  type LoraShape,
  type LoraTarget,
  loraTargets,
  recordTransformer,
  type TransformerShape,
} from "./graph/transformer.ts";
export type { Kernels, WeightForm } from "./kernels/kernels.ts";
export { type NativeKernelOptions, nativeKernels } from "./kernels/native-kernels.ts";
export { referenceKernels } from "./kernels/reference/reference-kernels.ts";
export { type OpenRun, openRun } from "./recipe/open-run.ts";
export { parseRecipe, type Recipe } from "./recipe/recipe.ts";
export type { RecipeSource } from "./recipe/recipe-source.ts";
export { shrinkRecipe } from "./recipe/shrink-recipe.ts";
export { tokenizerGguf, tokenizerJson } from "./tokenizer/tokenizer-files.ts";
export { type BpeVocabulary, PieceCounter, trainBpe } from "./tokenizer/train-bpe.ts";
export { drawLog } from "./train/draw-log.ts";
export { initialise } from "./train/initialise.ts";
export { type LogEntry, readLog } from "./train/log.ts";
export { defaultOptimizer, Optimizer } from "./train/optimizer.ts";
export { plotLog, watchPage } from "./train/plot.ts";
export { Trainer } from "./train/trainer.ts";
