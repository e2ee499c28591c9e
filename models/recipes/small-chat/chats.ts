/** Conversations of several turns, put together from what the world offers. */
import type { ChatMessage } from "@bitnet.ts/core";
import type { Draw } from "./draw.ts";
import {
  arithmeticQuestion,
  copyQuestion,
  factQuestion,
  memory,
  outsideQuestion,
  type Question,
} from "./questions.ts";
import { drawStory, type StoryState, storyQuestion, tellStory } from "./story.ts";
import { talkTurn } from "./talk.ts";
import { typed } from "./typing.ts";
import { anyThing, article, beings, capital, openName } from "./world.ts";

export type Message = ChatMessage;

const systems = [
  "Be kind.",
  "You are a helpful assistant.",
  "Answer in one sentence.",
  "You are Trit, a small model.",
  "Speak simply.",
];

/** A whole conversation. */
export function chat(draw: Draw): Message[] {
  const messages: Message[] = draw.chance(0.1) ? [{ role: "system", content: draw.pick(systems) }] : [];
  const say = ({ ask, answer }: Question, protect: readonly string[] = []) => {
    messages.push(
      { role: "user", content: typed(draw, ask, protect) },
      { role: "assistant", content: answer },
    );
  };
  const asides: readonly (readonly [number, () => void])[] = [
    [4, () => say(factQuestion(draw))],
    [5, () => say(talkTurn(draw))],
    [2, () => say(outsideQuestion(draw))],
    [1, () => say(arithmeticQuestion(draw))],
  ];
  const aside = () => draw.weighted(asides)();
  const pieces: readonly (readonly [number, () => void])[] = [
    [5, aside],
    [3, () => storyTurns(draw, say)],
    [3, () => memoryTurns(draw, say, aside)],
  ];
  for (let left = draw.between(1, 3); left > 0; left--) {
    draw.weighted(pieces)();
    if (`${messages.at(-1)?.content}`.endsWith("story?") && draw.chance(0.6)) offeredStory(draw, say);
  }
  return messages;
}

type Say = (question: Question, protect?: readonly string[]) => void;

/** Something told, other talk, and the question whether it is remembered. */
function memoryTurns(draw: Draw, say: Say, aside: () => void): void {
  const { tell, reply, ask, answer } = memory(draw);
  const words = answer.replace(/\.$/, "").split(" ");
  say({ ask: tell, answer: reply }, words.slice(-1));
  for (let left = draw.below(3); left > 0; left--) aside();
  say({ ask, answer });
}

const requests = [
  "Tell me a story",
  "Can you tell me a story",
  "I want to hear a story",
  "Please tell me a story",
  "A story, please",
  "Write a story",
  "A story",
  "Do you know a story",
  "Could you tell me a short story",
];

/** A story on request, questions about it, and what people ask next. */
function storyTurns(draw: Draw, say: Say): void {
  const { ask, given } = storyRequest(draw);
  let state = drawStory(draw, given);
  say({ ask, answer: tellStory(draw, state) }, Object.values(given));
  for (let left = draw.below(4); left > 0; left--)
    say(storyQuestion(draw, state), [state.hero, state.friend]);
  if (!draw.chance(0.3)) return;
  const followUps: readonly (() => void)[] = [
    () => {
      state = drawStory(draw);
      say({
        ask: draw.say("{Tell another one|Another story|One more|Again, please}."),
        answer: tellStory(draw, state),
      });
    },
    () =>
      say({
        ask: draw.say("{Shorter|Make it shorter|A shorter one}, please."),
        answer: tellStory(draw, state, true),
      }),
    () => {
      const thing = anyThing(draw);
      state = drawStory(draw, { ...state, thing });
      say(
        {
          ask: draw.say(`{Now about|What about|And one about} ${article(thing)} instead.`),
          answer: tellStory(draw, state),
        },
        [thing],
      );
    },
  ];
  draw.pick(followUps)();
  say(storyQuestion(draw, state), [state.hero, state.friend]);
}

/** What people say when they are asked whether they would like a story. */
function offeredStory(draw: Draw, say: Say): void {
  if (draw.chance(0.2)) {
    say({ ask: draw.say("{No|No, thank you|Not now}."), answer: "All right. What would you like to know?" });
    return;
  }
  const state = drawStory(draw);
  say({
    ask: draw.say("{Yes|Yes, please|Sure|Okay|Please do|Yes, tell me one|Of course|I would like that}{.|!|}"),
    answer: tellStory(draw, state),
  });
  if (draw.chance(0.5)) say(storyQuestion(draw, state), [state.hero, state.friend]);
}

/** What a story is to be about. */
export function storyRequest(draw: Draw): { ask: string; given: Partial<StoryState> } {
  const request = draw.pick(requests);
  if (draw.chance(0.4)) return { ask: `${request}.`, given: {} };
  const given: Partial<StoryState> = {};
  const thing = anyThing(draw);
  const hero = drawStory(draw).hero;
  if (draw.chance(0.5)) given.hero = hero;
  if (draw.chance(0.35)) given.being = draw.pick(beings);
  if ((given.hero === undefined && given.being === undefined) || draw.chance(0.4)) given.thing = thing;
  const who =
    given.being === undefined
      ? given.hero
      : `${article(given.being)}${given.hero === undefined ? "" : draw.say(` {called|named} ${given.hero}`)}`;
  const about = [who, given.thing === undefined ? undefined : article(given.thing)].filter(
    (part) => part !== undefined,
  );
  return {
    ask: `${request} ${draw.pick(["about", "about", "about", "with"])} ${about.join(" and ")}.`,
    given,
  };
}

/** A story, or a little scene with questions, as one conversation. */
export function scene(draw: Draw): Message[] {
  const messages: Message[] = [];
  storyTurns(draw, ({ ask, answer }, protect) => {
    messages.push(
      { role: "user", content: typed(draw, ask, protect) },
      { role: "assistant", content: answer },
    );
  });
  return messages;
}

/** A fact in one turn and the question in the same. */
export function contextQuestion(draw: Draw): Question {
  const name = draw.chance(0.4) ? openName(draw) : drawStory(draw).hero;
  const { colour, place } = drawStory(draw);
  const thing = anyThing(draw);
  return draw.pick<Question>([
    {
      ask: `${name} has ${article(colour)} ${thing}. What does ${name} have?`,
      answer: `${name} has ${article(colour)} ${thing}.`,
    },
    {
      ask: `${name} has ${article(colour)} ${thing}. What colour is the ${thing}?`,
      answer: `The ${thing} is ${colour}.`,
    },
    {
      ask: `${name} is in ${place} with ${article(thing)}. Where is ${name}?`,
      answer: `${name} is in ${place}.`,
    },
    { ask: `The ${thing} belongs to ${name}. Whose ${thing} is it?`, answer: `It is ${name}'s ${thing}.` },
  ]);
}

export function single(draw: Draw, { ask, answer }: Question, protects: boolean): Message[] {
  // A question that is to be copied from is typed as it is.
  const content = protects ? ask : typed(draw, ask, ask.match(/\b[A-Z][a-z]+\b|\d+/g)?.slice(1) ?? []);
  return [
    { role: "user", content },
    { role: "assistant", content: answer },
  ];
}

export { arithmeticQuestion, capital, copyQuestion, factQuestion, outsideQuestion };
