/** Questions from held-out seeds with what counts as a right answer, by the bars that the default model must reach. */
import { contextQuestion, storyRequest } from "./chats.ts";
import { Draw } from "./draw.ts";
import {
  arithmeticQuestion,
  copyQuestion,
  factQuestion,
  isAdmission,
  memory,
  outsideQuestion,
  type Question,
} from "./questions.ts";
import { checkStory } from "./story.ts";

export interface Probe {
  messages: { role: string; content: string }[];
  /** What is wrong with an answer; empty when nothing is. */
  check(answer: string): string[];
}

export type ProbeKind = keyof typeof bars;

/** Share of right answers that the default model is to reach. */
export const bars = {
  facts: 0.99,
  arithmetic: 0.95,
  context: 0.9,
  copying: 0.95,
  unknown: 0.9,
  stories: 0.9,
} as const;

const probeSeed = 0x9e0be;

export function probe(kind: ProbeKind, index: number): Probe {
  const draw = new Draw(probeSeed + Object.keys(bars).indexOf(kind), index, true);
  switch (kind) {
    case "facts":
      return exact(factQuestion(draw));
    case "arithmetic":
      return exact(arithmeticQuestion(draw));
    case "copying":
      return copied(copyQuestion(draw));
    case "context":
      return index % 2 === 0 ? exact(contextQuestion(draw)) : remembered(draw);
    case "unknown": {
      const { ask } = outsideQuestion(draw);
      return {
        messages: [{ role: "user", content: ask }],
        check: (answer) => (isAdmission(answer) ? [] : ["it does not admit ignorance"]),
      };
    }
    case "stories": {
      const { ask, given } = storyRequest(draw);
      return { messages: [{ role: "user", content: ask }], check: (answer) => checkStory(answer, given) };
    }
  }
}

function exact({ ask, answer }: Question): Probe {
  return {
    messages: [{ role: "user", content: ask }],
    check: (found) => (found.trim() === answer ? [] : [`expected ${answer}`]),
  };
}

/** A word may be said back with a capital, as a sentence begins, or as it was given. */
function copied({ ask, answer }: Question): Probe {
  const asGiven = answer.slice(0, 1).toLowerCase() + answer.slice(1);
  const { messages, check } = exact({ ask, answer });
  return { messages, check: (found) => (found.trim() === asGiven ? [] : check(found)) };
}

function remembered(draw: Draw): Probe {
  const { tell, reply, ask, answer } = memory(draw);
  const messages = [
    { role: "user", content: tell },
    { role: "assistant", content: reply },
    { role: "user", content: ask },
  ];
  return { messages, check: (found) => (found.trim() === answer ? [] : [`expected ${answer}`]) };
}
