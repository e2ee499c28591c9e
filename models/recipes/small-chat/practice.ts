/** Practice in what a small model finds hard: copying, remembering and calculating, many times over and typed in many ways. */
import type { ChatMessage } from "@bitnet.ts/core";
import type { Draw } from "./draw.ts";
import { newName, newNoun } from "./new-words.ts";
import { anyOwner, factQuestion, outsideQuestion, type Question, wordProblem } from "./questions.ts";
import { drawStory, type StoryState, storyQuestion, tellStory } from "./story.ts";
import { talkTurn } from "./talk.ts";
import { mistyped } from "./typing.ts";
import {
  animals,
  article,
  beings,
  colours,
  names,
  openName,
  openNoun,
  places,
  pseudoWord,
  things,
} from "./world.ts";

/** A question with the words of it that are to be taken over as they are. */
export interface Exercise extends Question {
  kept: readonly string[];
}

/** Something told, and the question for it. */
interface Told {
  tell: Exercise;
  ask: Exercise;
}

/** How people type: every second message carelessly, words that are to be copied as they are. */
function casual(draw: Draw, text: string, kept: readonly string[]): string {
  if (draw.chance(0.45)) return text;
  let out = text;
  if (draw.chance(0.75))
    out = out
      .split(" ")
      .map((word) => (kept.some((each) => word.includes(each)) ? word : word.toLowerCase()))
      .join(" ");
  if (draw.chance(0.5)) out = out.replace(/^(what|who|where|how|when) is\b/i, draw.pick(["$1s", "$1's"]));
  if (draw.chance(0.5)) out = out.replace(/[.?!]+$/, "");
  if (draw.chance(0.06)) out = `${out} ${draw.pick(["pls", "please", "plz"])}`;
  if (draw.chance(0.08)) out = `${draw.pick(["hi", "hey", "hello", "ok", "so", "and"])} ${out}`;
  return draw.chance(0.08) ? mistyped(draw, out, kept) : out;
}

export class Conversation {
  readonly messages: ChatMessage[] = [];
  readonly #draw: Draw;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  say({ ask, answer, kept }: Exercise): void {
    this.messages.push(
      { role: "user", content: casual(this.#draw, ask, kept) },
      { role: "assistant", content: answer },
    );
  }
}

export const plain = ({ ask, answer }: Question): Exercise => ({
  ask,
  answer,
  // The first word of a question has a capital whatever it is; of a sum that is told as a story it is a name.
  kept: ask.match(/\b[A-Z][a-z]+\b/g)?.slice(/^[A-Z][a-z]+ has /.test(ask) ? 0 : 1) ?? [],
});

function newWords(draw: Draw, count: number): string[] {
  return Array.from({ length: count }, () => (draw.chance(0.12) ? newName(draw) : newNoun(draw)));
}

export function copyExercise(draw: Draw): Exercise {
  const [word = ""] = newWords(draw, 1);
  return draw.weighted<() => Exercise>([
    [
      3,
      () => ({
        ask: draw.say(`{Say|Please say|Can you say|Say the word|Write|Now say} ${word}{.|}`),
        answer: `${word}.`,
        kept: [word],
      }),
    ],
    [
      3,
      () => {
        const words = newWords(draw, draw.pick([1, 1, 1, 2, 3]));
        return {
          ask: draw.say(
            `{Repeat|Please repeat|Repeat this|Can you repeat} {after me|after me|this}: ${words.join(" ")}`,
          ),
          answer: `${words.join(" ")}.`,
          kept: words,
        };
      },
    ],
    [
      5,
      () => {
        const words = newWords(draw, draw.between(2, 6));
        return {
          ask: draw.say(
            `{Repeat these words|Repeat these words|Say these words|Copy these words}: ${words.join(" ")}`,
          ),
          answer: `${words.join(" ")}.`,
          kept: words,
        };
      },
    ],
    [
      4,
      () => {
        const short = word.slice(0, 9).toLowerCase();
        return {
          ask: draw.say(`{Spell|How do you spell|Can you spell|Please spell} ${short}{?|}`),
          answer: `${[...short].join(" ")}.`,
          kept: [short],
        };
      },
    ],
    [
      3,
      () => {
        const words = newWords(draw, draw.between(2, 5));
        const isLast = draw.chance(0.5);
        const place = isLast ? "last" : "first";
        return {
          ask: draw.say(`{What is|What is|Tell me|Say} the ${place} word of: ${words.join(" ")}`),
          answer: `The ${place} word is ${isLast ? words.at(-1) : words[0]}.`,
          kept: words,
        };
      },
    ],
  ])();
}

const anyNameOf = (draw: Draw) => (draw.chance(0.65) ? newName(draw) : draw.pick(names));
const anyThingOf = (draw: Draw) => (draw.chance(0.55) ? newNoun(draw) : draw.pick(things));

/** A fact about somebody and the question about it, at times with another fact beside it that is not asked for. */
export function contextExercise(draw: Draw): Exercise {
  const name = anyNameOf(draw);
  const other = anyNameOf(draw);
  const [thing, otherThing] = [anyThingOf(draw), anyThingOf(draw)];
  const [colour, otherColour] = [draw.pick(colours), draw.pick(colours)];
  const [place, otherPlace] = [draw.pick(places), draw.pick(places)];
  const isLone = draw.chance(0.6) || other === name || thing === otherThing;
  const both = (first: string, second: string) =>
    isLone ? first : draw.chance(0.5) ? `${first} ${second}` : `${second} ${first}`;
  const kept = [name, thing, ...(isLone ? [] : [other, otherThing])];
  const owns = both(
    `${name} has ${article(colour)} ${thing}.`,
    `${other} has ${article(otherColour)} ${otherThing}.`,
  );
  return draw.pick<() => Exercise>([
    () => ({
      ask: `${owns} What does ${name} have?`,
      answer: `${name} has ${article(colour)} ${thing}.`,
      kept,
    }),
    () => ({ ask: `${owns} What colour is the ${thing}?`, answer: `The ${thing} is ${colour}.`, kept }),
    () => ({
      ask: `${both(`${name} is in ${place} with ${article(thing)}.`, `${other} is in ${otherPlace}.`)} Where is ${name}?`,
      answer: `${name} is in ${place}.`,
      kept,
    }),
    () => ({
      ask: `${both(`The ${thing} belongs to ${name}.`, `The ${otherThing} belongs to ${other}.`)} Whose ${thing} is it?`,
      answer: `It is ${name}'s ${thing}.`,
      kept,
    }),
    () => ({
      ask: draw.say(`${owns} {Who has the ${thing}|Who has ${article(colour)} ${thing}}?`),
      answer: `${name} has the ${thing}.`,
      kept,
    }),
  ])();
}

const kinds = ["dog", "cat", "fish", "bird", "horse", "friend", "sister", "brother"] as const;
const likings = "{That is nice.|I see.|Good to know.|How nice!}";

/** What somebody tells of himself; `kind` keeps two such apart. */
function drawTold(draw: Draw, kind: string): Told {
  const told = (tell: string, reply: string, ask: string, answer: string, kept: string[]): Told => ({
    tell: { ask: draw.say(tell), answer: draw.say(reply), kept },
    ask: { ask: draw.say(ask), answer, kept: [] },
  });
  const [name, thing] = [newName(draw), newNoun(draw)];
  switch (kind) {
    case "name":
      return told(
        `{My name is|My name is|My name's|I am called|I am|I'm|Call me|Hello, I am|Hi, my name is} ${name}.`,
        `{Nice to meet you|Hello|Hi}, ${name}!`,
        "{What is my name|What is my name|Do you know my name|Who am I|Do you remember my name|Say my name}?",
        `Your name is ${name}.`,
        [name],
      );
    case "thing":
      return told(
        `{I have|I have|I have got|I bought|Look, I have} ${article(thing)}.`,
        "{That is nice.|How nice!|Good for you.}",
        "{What do I have|What do I have|Do you know what I have}?",
        `You have ${article(thing)}.`,
        [thing],
      );
    case "liking":
      return told(
        `{I like|I love|I really like|I like} ${thing}.`,
        likings,
        "{What do I like|What do I love|Do you know what I like}?",
        `You like ${thing}.`,
        [thing],
      );
    case "age": {
      const age = draw.between(3, 99);
      return told(
        `{I am|I am|I'm} ${age}{ years old|}.`,
        likings,
        "{How old am I|Do you know how old I am}?",
        `You are ${age} years old.`,
        [],
      );
    }
    case "home":
      return told(
        `{I live in|I live in|I am from|I come from} ${name}.`,
        likings,
        "{Where do I live|Where am I from|Do you know where I live}?",
        `You live in ${name}.`,
        [name],
      );
    default:
      return told(
        `{My ${kind} is called|My ${kind} is called|My ${kind}'s name is|I have a ${kind} called} ${name}.`,
        `${name} is a {nice|lovely|good} name.`,
        `{What is my ${kind} called|What is my ${kind} called|What is the name of my ${kind}|What is my ${kind}'s name}?`,
        `Your ${kind} is called ${name}.`,
        [name],
      );
  }
}

const drawKind = (draw: Draw): string =>
  draw.weighted<string>([
    [4, "name"],
    [3, draw.pick(kinds)],
    [3, "thing"],
    [3, "liking"],
    [1, "age"],
    [1, "home"],
  ]);

/** One or two things told, and each asked for later. */
export function tellAndAsk(
  draw: Draw,
  conversation: Conversation,
  aside: () => void,
  mostAsides: number,
): void {
  const first = drawKind(draw);
  const second = drawKind(draw);
  const told = [drawTold(draw, first)];
  if (second !== first && draw.chance(0.4)) told.push(drawTold(draw, second));
  for (const { tell } of told) conversation.say(tell);
  for (let left = draw.below(mostAsides + 1); left > 0; left--) aside();
  if (draw.chance(0.5)) told.reverse();
  for (const { ask } of told) conversation.say(ask);
}

function sumAsked(draw: Draw, sum: string): string {
  return draw.say(
    `{What is |What is |What is |How much is |Calculate |Work out |Tell me |Solve |Can you do |Do you know |||}${sum}{?|?|?|| =|=}`,
  );
}

export function sumExercise(draw: Draw): Question {
  return draw.weighted<() => Question>([
    [
      4,
      () => {
        const a = draw.between(0, 20);
        const b = draw.between(0, 20 - a);
        return {
          ask: draw.chance(0.85)
            ? sumAsked(draw, `${a}{ plus | + |+|+| and | added to }${b}`)
            : draw.say(`{Add ${a} and ${b}|What is the sum of ${a} and ${b}|Add ${b} to ${a}}.`),
          answer: `${a} plus ${b} is ${a + b}.`,
        };
      },
    ],
    [
      4,
      () => {
        const a = draw.between(0, 20);
        const b = draw.between(0, a);
        return {
          ask: draw.chance(0.85)
            ? sumAsked(draw, `${a}{ minus | - |-|-| take away | less }${b}`)
            : draw.say(`{Take ${b} from ${a}|Subtract ${b} from ${a}|What is ${a} without ${b}}.`),
          answer: `${a} minus ${b} is ${a - b}.`,
        };
      },
    ],
    [
      3,
      () => {
        const a = draw.between(0, 100);
        // Near ones are harder, and so more frequent than by chance.
        const b = draw.chance(0.5)
          ? (a + draw.between(1, 100)) % 101
          : a < 90
            ? a + draw.between(1, 9)
            : a - draw.between(1, 9);
        const [first, second] = draw.chance(0.5) ? [a, b] : [b, a];
        return draw.chance(0.5)
          ? {
              ask: draw.say(
                `{Which is|Which is|What is|Which number is} {bigger|larger|more}, ${first} or ${second}?`,
              ),
              answer: `${Math.max(a, b)} is bigger.`,
            }
          : {
              ask: draw.say(
                `{Which is|Which is|What is|Which number is} {smaller|less}, ${first} or ${second}?`,
              ),
              answer: `${Math.min(a, b)} is smaller.`,
            };
      },
    ],
    [1, () => neighbour(draw)],
    [2, () => newOwnersProblem(draw)],
  ])();
}

function neighbour(draw: Draw): Question {
  const n = draw.between(1, 99);
  return draw.chance(0.5)
    ? { ask: draw.say(`What {number |}comes after ${n}?`), answer: `${n + 1} comes after ${n}.` }
    : { ask: draw.say(`What {number |}comes before ${n}?`), answer: `${n - 1} comes before ${n}.` };
}

const newOwnersProblem = (draw: Draw): Question =>
  wordProblem(draw, draw.chance(0.3) ? newName(draw) : anyOwner(draw));

function asked(draw: Draw, most: number, exercise: (draw: Draw) => Exercise): ChatMessage[] {
  const conversation = new Conversation(draw);
  for (let left = draw.between(1, most); left > 0; left--) conversation.say(exercise(draw));
  return conversation.messages;
}

/** Words to say, repeat and spell. */
export const copying = (draw: Draw) => asked(draw, 3, copyExercise);

/** Words to spell: what letters a token is made of can only be learnt token by token. */
export const spelling = (draw: Draw) =>
  asked(draw, 5, () => {
    const whole = draw.weighted<() => string>([
      [3, () => openNoun(draw)],
      [1, () => openName(draw)],
      [1, () => pseudoWord(draw)],
      [1, () => draw.pick([...things, ...colours, ...animals.map(({ name }) => name)])],
      [4, () => newNoun(draw)],
    ])();
    const word = whole.slice(0, draw.chance(0.3) ? draw.between(2, 5) : 8).toLowerCase();
    return {
      ask: draw.say(`{Spell|How do you spell|Can you spell|Please spell} ${word}{?|}`),
      answer: `${[...word].join(" ")}.`,
      kept: [word],
    };
  });

/** Sums, comparisons, counting. */
export const sums = (draw: Draw) => asked(draw, 4, (each) => plain(sumExercise(each)));

/** The number after and before, and sums told as stories, which come late. */
export const counting = (draw: Draw) =>
  asked(draw, 4, (each) => plain(each.chance(0.5) ? neighbour(each) : newOwnersProblem(each)));

/** What was said in the question itself, or some turns before. */
export function recall(draw: Draw): ChatMessage[] {
  if (draw.chance(0.45)) return asked(draw, 2, contextExercise);
  const conversation = new Conversation(draw);
  tellAndAsk(draw, conversation, () => conversation.say(plain(talkTurn(draw))), 1);
  return conversation.messages;
}

/** Stories about whom and what the user names, be it a new word. */
export function tale(draw: Draw): ChatMessage[] {
  const conversation = new Conversation(draw);
  tellTale(draw, conversation, 3);
  return conversation.messages;
}

export function tellTale(draw: Draw, conversation: Conversation, mostQuestions: number): void {
  const given: Partial<StoryState> = {};
  if (draw.chance(0.5)) given.hero = anyNameOf(draw);
  if (draw.chance(0.45)) given.being = draw.pick(beings);
  if (given.hero === undefined && given.being === undefined ? draw.chance(0.85) : draw.chance(0.4))
    given.thing = anyThingOf(draw);
  const being = given.being === undefined ? undefined : article(given.being);
  const who =
    being === undefined
      ? given.hero
      : given.hero === undefined
        ? being
        : `${being} ${draw.pick(["called", "named"])} ${given.hero}`;
  const about = [who, given.thing === undefined ? undefined : article(given.thing)].filter(
    (part) => part !== undefined,
  );
  const state = drawStory(draw, given);
  const request = draw.say(
    "{Tell me a story|Tell me a story|Can you tell me a story|I want to hear a story|Please tell me a story|Write a story|A story|Do you know a story|Could you tell me a short story}",
  );
  const kept = [given.hero, given.thing].filter((word) => word !== undefined);
  conversation.say({
    ask:
      about.length === 0
        ? `${request}.`
        : `${request} ${draw.pick(["about", "about", "about", "with"])} ${about.join(" and ")}.`,
    answer: tellStory(draw, state),
    kept,
  });
  for (let left = draw.below(mostQuestions + 1); left > 0; left--)
    conversation.say({ ...storyQuestion(draw, state), kept: [state.hero, state.friend, state.thing] });
}

/** A longer conversation about everything, as a newcomer leads it. */
export function conversation(draw: Draw): ChatMessage[] {
  const talk = new Conversation(draw);
  const small: readonly (readonly [number, () => void])[] = [
    [5, () => talk.say(plain(talkTurn(draw)))],
    [4, () => talk.say(plain(factQuestion(draw)))],
    [3, () => talk.say(plain(sumExercise(draw)))],
    [2, () => talk.say(plain(outsideQuestion(draw)))],
    [2, () => talk.say(copyExercise(draw))],
    [1, () => talk.say(contextExercise(draw))],
  ];
  const aside = () => draw.weighted(small)();
  const pieces: readonly (readonly [number, () => void])[] = [
    [8, aside],
    [4, () => tellAndAsk(draw, talk, aside, 2)],
    [1, () => tellTale(draw, talk, 1)],
  ];
  for (let left = draw.between(2, 6); left > 0; left--) draw.weighted(pieces)();
  return talk.messages;
}
