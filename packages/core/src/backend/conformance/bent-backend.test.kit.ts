/** A backend that answers almost right, for tests of those who judge backends. */
import type { Backend } from "../backend.ts";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import type { StepResult } from "../step.ts";
import { conformanceCases } from "./index.ts";

/** The reference with every result passed through `bend`. */
export function bentBackend(bend: (result: StepResult) => void): Backend {
  const backend = createReferenceBackend();
  return {
    ...backend,
    async load(program, options) {
      const executable = await backend.load(program, options);
      const run = executable.run.bind(executable);
      executable.run = async (step) => {
        const result = await run(step);
        bend(result);
        return result;
      };
      return executable;
    },
  };
}

/** Made once: most of a test's time would go into making them. */
const cases = conformanceCases();

export function caseNamed(name: string) {
  const found = cases.find((testCase) => testCase.name === name);
  if (!found) throw new Error(`no case "${name}"`);
  return found;
}
