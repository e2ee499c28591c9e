/** Vitest's order of test files, but that the longest begin first. */
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { longest } from "./run-plan.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = longest.indexOf(relative(root, moduleId).replaceAll(sep, "/"));
      return at < 0 ? longest.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}
