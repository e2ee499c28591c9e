/** Questions with one right answer: facts of the world, arithmetic, copying; and questions that lie outside the world. */
import type { Draw } from "./draw.ts";
import {
  animals,
  article,
  capital,
  colourOf,
  days,
  jobs,
  months,
  openName,
  openNoun,
  opposites,
  pseudoWord,
  singleFacts,
  uses,
} from "./world.ts";

export interface Question {
  ask: string;
  answer: string;
}

/** Neighbours in a list that goes round. */
const after = (list: readonly string[], i: number) => list[(i + 1) % list.length] ?? "";

const factFamilies: readonly ((draw: Draw) => Question)[] = [
  (draw) => {
    const { name, eats } = draw.pick(animals);
    return {
      ask: draw.say(
        `What {do ${plural(name)} eat|does ${article(name)} eat|do ${plural(name)} like to eat}?`,
      ),
      answer: `${capital(plural(name))} eat ${eats}.`,
    };
  },
  (draw) => {
    const { name, sound } = draw.pick(animals);
    return {
      ask: draw.say(
        `What {sound does ${article(name)} make|does ${article(name)} say|noise does ${article(name)} make}?`,
      ),
      answer: `${capital(article(name))} says ${sound}.`,
    };
  },
  (draw) => {
    const { name, home } = draw.pick(animals);
    return {
      ask: draw.say(
        `Where {does ${article(name)} live|do ${plural(name)} live|can I find ${article(name)}}?`,
      ),
      answer: `${capital(article(name))} lives in ${home}.`,
    };
  },
  (draw) => {
    const { name, legs } = draw.pick(animals);
    return {
      ask: draw.say(`How many legs {does ${article(name)} have|do ${plural(name)} have}?`),
      answer: `${capital(article(name))} has ${legs === 0 ? "no" : legs} legs.`,
    };
  },
  (draw) => {
    const thing = draw.pick(Object.keys(colourOf));
    return {
      ask: draw.say(`What colo{u|}r is ${thing}?`),
      answer: `${capital(thing)} is ${colourOf[thing]}.`,
    };
  },
  (draw) => {
    const pair = draw.pick(opposites);
    const [a, b] = draw.chance(0.5) ? pair : [pair[1], pair[0]];
    return {
      ask: draw.say(`What is the opposite of {${a}|the word ${a}}?`),
      answer: `The opposite of ${a} is ${b}.`,
    };
  },
  (draw) => {
    const i = draw.below(7);
    const day = days[i] ?? "";
    return draw.chance(0.5)
      ? {
          ask: draw.say(`{What|Which} day comes after ${day}?`),
          answer: `${after(days, i)} comes after ${day}.`,
        }
      : {
          ask: draw.say(`{What|Which} day comes before ${after(days, i)}?`),
          answer: `${day} comes before ${after(days, i)}.`,
        };
  },
  (draw) => {
    const i = draw.below(12);
    const month = months[i] ?? "";
    return draw.chance(0.5)
      ? {
          ask: draw.say(`{What|Which} month comes after ${month}?`),
          answer: `${after(months, i)} comes after ${month}.`,
        }
      : {
          ask: draw.say(`{What|Which} month comes before ${after(months, i)}?`),
          answer: `${month} comes before ${after(months, i)}.`,
        };
  },
  (draw) => {
    const [thing, use] = draw.pick(uses);
    return {
      ask: draw.say(`What {is ${thing} for|do you do with ${thing}|can I do with ${thing}}?`),
      answer: `You can ${use} with ${thing}.`,
    };
  },
  (draw) => {
    const [job, work] = draw.pick(jobs);
    return {
      ask: draw.say(`What {does ${article(job)} do|do ${job}s do|is the job of ${article(job)}}?`),
      answer: `${capital(article(job))} ${work}.`,
    };
  },
  singleFact,
  singleFact,
  singleFact,
];

function singleFact(draw: Draw): Question {
  const [ask, answer] = draw.pick(singleFacts);
  return { ask: draw.say(ask), answer };
}

function plural(noun: string): string {
  if (noun === "sheep") return noun;
  if (noun === "mouse") return "mice";
  return noun === "wolf" ? "wolves" : `${noun}s`;
}

export function factQuestion(draw: Draw): Question {
  return draw.pick(factFamilies)(draw);
}

/** Sums up to 20 exhaustively, counting and comparing to 100, small word problems. */
export function arithmeticQuestion(draw: Draw): Question {
  return draw.weighted<(draw: Draw) => Question>([
    [4, sum],
    [3, difference],
    [2, comparison],
    [2, neighbour],
    [2, wordProblem],
  ])(draw);
}

/** A sum as a question, or as people type it into a machine. */
function asked(draw: Draw, sum: string): string {
  return draw.say(`{What is |What is |What is |How much is |Calculate |}${sum}{?|?|?| =|}`);
}

function sum(draw: Draw): Question {
  const a = draw.between(0, 20);
  const b = draw.between(0, 20 - Math.min(a, 20));
  return { ask: asked(draw, `${a}{ plus | + |+| and }${b}`), answer: `${a} plus ${b} is ${a + b}.` };
}

function difference(draw: Draw): Question {
  const a = draw.between(0, 20);
  const b = draw.between(0, a);
  return { ask: asked(draw, `${a}{ minus | - |-| take away }${b}`), answer: `${a} minus ${b} is ${a - b}.` };
}

function comparison(draw: Draw): Question {
  const a = draw.between(0, 100);
  const b = (a + draw.between(1, 100)) % 101;
  return draw.chance(0.5)
    ? {
        ask: draw.say(`Which is {bigger|larger|more}, ${a} or ${b}?`),
        answer: `${Math.max(a, b)} is bigger.`,
      }
    : { ask: draw.say(`Which is {smaller|less}, ${a} or ${b}?`), answer: `${Math.min(a, b)} is smaller.` };
}

function neighbour(draw: Draw): Question {
  const n = draw.between(1, 99);
  if (draw.chance(0.5))
    return { ask: draw.say(`What {number |}comes after ${n}?`), answer: `${n + 1} comes after ${n}.` };
  return { ask: draw.say(`What {number |}comes before ${n}?`), answer: `${n - 1} comes before ${n}.` };
}

export const anyOwner = (draw: Draw): string => draw.pick(["Tom", "Anna", "Ben", "Mia", "Sam", "Lily"]);

export function wordProblem(draw: Draw, name = anyOwner(draw)): Question {
  const thing = draw.pick(["apples", "books", "balls", "eggs", "coins"]);
  const a = draw.between(1, 10);
  if (draw.chance(0.5)) {
    const b = draw.between(1, 10);
    return {
      ask: draw.say(
        `${name} has ${a} ${thing} and {gets|finds|buys} ${b} more. How many ${thing} does ${name} have?`,
      ),
      answer: `${name} has ${a + b} ${thing}.`,
    };
  }
  const b = draw.between(0, a);
  return {
    ask: draw.say(
      `${name} has ${a} ${thing} and {loses|gives away|eats up} ${b}. How many ${thing} are left?`,
    ),
    answer: `${name} has ${a - b} ${thing} left.`,
  };
}

/** What can only be copied. */
export function copyQuestion(draw: Draw): Question {
  const word = draw.chance(0.5) ? openNoun(draw) : pseudoWord(draw);
  return draw.weighted<() => Question>([
    [3, () => ({ ask: draw.say(`{Say|Please say|Can you say} ${word}{.|}`), answer: capital(`${word}.`) })],
    [2, () => ({ ask: draw.say(`{Repeat|Please repeat} after me: ${word}`), answer: capital(`${word}.`) })],
    [
      2,
      () => {
        const words = Array.from({ length: draw.between(2, 4) }, () => openNoun(draw));
        return { ask: `Repeat these words: ${words.join(" ")}`, answer: `${words.join(" ")}.` };
      },
    ],
    [
      2,
      () => {
        const short = word.slice(0, 8);
        return { ask: draw.say(`{Spell|How do you spell} ${short}{?|}`), answer: `${[...short].join(" ")}.` };
      },
    ],
    [
      1,
      () => {
        const words = Array.from({ length: draw.between(2, 4) }, () => openNoun(draw));
        const isLast = draw.chance(0.5);
        const asked = isLast ? words.at(-1) : words[0];
        return {
          ask: `What is the ${isLast ? "last" : "first"} word of: ${words.join(" ")}`,
          answer: `The ${isLast ? "last" : "first"} word is ${asked}.`,
        };
      },
    ],
  ])();
}

/** Facts that a turn tells and a later one asks for. */
export function memory(draw: Draw): { tell: string; reply: string; ask: string; answer: string } {
  const kind = draw.pick(["dog", "cat", "fish", "bird", "horse", "friend", "sister", "brother"]);
  const name = openName(draw);
  return draw.weighted<() => { tell: string; reply: string; ask: string; answer: string }>([
    [
      3,
      () => ({
        tell: draw.say(`My {name is|name's} ${name}.`),
        reply: draw.say(`{Nice to meet you|Hello|Hi}, ${name}!`),
        ask: draw.say("{What is my name|Do you know my name|Who am I}?"),
        answer: `Your name is ${name}.`,
      }),
    ],
    [
      3,
      () => ({
        tell: draw.say(`My ${kind} is called ${name}.`),
        reply: draw.say(`${name} is a {nice|lovely|good} name.`),
        ask: draw.say(`What is my ${kind} called?`),
        answer: `Your ${kind} is called ${name}.`,
      }),
    ],
    [
      2,
      () => {
        const thing = openNoun(draw);
        return {
          tell: `I have ${article(thing)}.`,
          reply: draw.say("{That is nice.|How nice!|Good for you.}"),
          ask: "What do I have?",
          answer: `You have ${article(thing)}.`,
        };
      },
    ],
    [
      2,
      () => {
        const thing = openNoun(draw);
        return {
          tell: draw.say(`I {like|love} ${thing}.`),
          reply: draw.say("{That is nice.|I see.|Good to know.}"),
          ask: draw.say("What do I {like|love}?"),
          answer: `You like ${thing}.`,
        };
      },
    ],
  ])();
}

const outside: readonly string[] = [
  "Who is the {king|queen|president} of NAME?",
  "What is the capital of NAME?",
  "Write {Python|a program|code|JavaScript}.",
  "Translate NOUN into {French|German|Spanish}.",
  "What is the {weather|news} today?",
  "Who won the {game|match|race} yesterday?",
  "How do I fix my NOUN?",
  "What is the meaning of life?",
  "When was NAME born?",
  "Who invented the NOUN?",
  "How far is the moon?",
  "What is {quantum physics|chemistry|a NOUN made of}?",
  "Can you {open a website|send an email|call NAME}?",
  "What time is it?",
  "Tell me about NAME.",
  "How much does a NOUN cost?",
  "Why is NAME famous?",
  "What is {12 times 12|the square root of 50|234 plus 567}?",
  "Who wrote the book NOUN?",
  "Explain {politics|the law|history|NOUN} to me.",
  "What is the best NOUN?",
  "Where is NAME?",
];

const admissions: readonly string[] = [
  "{I do not know that.|I don't know that.|Sorry, I do not know.|I am not able to answer that.} {I am a very small model.|I only know simple things.} {I can tell stories and answer simple questions.|Ask me about animals, or ask for a story.|I can tell you a story, or add small numbers.}",
  "{That is outside of what I know.|That is too hard for me.|I have not learnt that.} {I can tell a story or talk about animals.|Ask me about animals, colours or small numbers.|I can add small numbers and tell stories.}",
];

export function outsideQuestion(draw: Draw): Question {
  const ask = draw
    .say(draw.pick(outside))
    .replaceAll("NAME", () => openName(draw))
    .replaceAll("NOUN", () => openNoun(draw));
  return { ask, answer: admission(draw) };
}

export function admission(draw: Draw): string {
  return draw.say(draw.pick(admissions));
}

/** A question about the user, who has told nothing yet. */
export function untoldQuestion(draw: Draw): Question {
  return draw.chance(0.5)
    ? {
        ask: draw.say("{What is my name|Do you know my name|Who am I}?"),
        answer: "I do not know your name. What is your name?",
      }
    : {
        ask: draw.say(
          "{What is my dog called|What is my cat called|What do I have|What do I like|How old am I|Where do I live}?",
        ),
        answer: "I do not know that. You have not told me.",
      };
}

/** Whether an answer admits ignorance. */
export function isAdmission(text: string): boolean {
  return /do not know|don't know|not able to|outside of what I know|too hard for me|not learnt/.test(text);
}
