/**
 * Stories as small simulations: who, with what, where, what went wrong, who helped. The same state renders the text, answers questions
 * about it, and checks a text that a model wrote.
 */
import type { Draw } from "./draw.ts";
import type { Question } from "./questions.ts";
import { anyName, anyThing, article, capital, colours, hidingPlaces, names, places } from "./world.ts";

export interface StoryState {
  hero: string;
  friend: string;
  thing: string;
  colour: string;
  place: string;
  hidden: string;
  plot: PlotName;
  feeling: string;
}

type PlotName = (typeof plots)[number]["name"];

/** HERO, FRIEND, THING, COLOUR, PLACE, HIDDEN are filled in; one alternative of each {…} is taken. */
const plots = [
  {
    name: "lost",
    trouble: "the COLOUR THING was lost",
    beats: [
      "{One day|One morning|One sunny day}, HERO went to PLACE with {the COLOUR THING|a COLOUR THING}.",
      "{But then|Suddenly|Soon}, the THING was {gone|lost}. {HERO looked and looked.|HERO could not find it.|HERO began to cry.}",
      'FRIEND {came to help|saw it and came|wanted to help}. "{Do not cry|Do not worry|I will help you}," said FRIEND.',
      "FRIEND {looked HIDDEN|searched HIDDEN}. {There was the THING!|The THING was there!|And there it was!}",
      "HERO {was so happy|was happy again|smiled} and {hugged FRIEND|thanked FRIEND|said thank you}.",
    ],
    ending: "They {played|walked home|laughed} together. The end.",
    finder: "FRIEND",
  },
  {
    name: "shared",
    trouble: "FRIEND had no THING",
    beats: [
      "HERO had a COLOUR THING and {loved it very much|took it to PLACE|was proud of it}.",
      "{At|In} PLACE, HERO met FRIEND. FRIEND {had no THING|was sad and had nothing to play with|looked at the THING}.".replace(
        "{At|In} PLACE",
        "One day in PLACE",
      ),
      'HERO {thought for a while|wanted to be kind|had an idea}. "{We can share it|You can play too|Let us share}," said HERO.',
      "FRIEND {smiled|was very happy|jumped with joy}. {They took turns|They played all day|They had so much fun}.",
    ],
    ending: "{From that day on|After that}, HERO and FRIEND were {good friends|best friends}. The end.",
    finder: "HERO",
  },
  {
    name: "broken",
    trouble: "the COLOUR THING broke",
    beats: [
      "HERO made a COLOUR THING {for FRIEND|as a present for FRIEND}.",
      "{On the way to PLACE|In PLACE}, HERO fell and the THING broke. HERO was {sad|very sad}.",
      'FRIEND said, "{I am not angry|It is all right|We can mend it}." {They found some glue.|They took some string.|They sat down together.}',
      "{Soon|After a while|Before long}, the THING was {as good as new|whole again|even better than before}.",
    ],
    ending: "HERO {learned that friends help|was glad to have a friend} . The end.".replace(" .", "."),
    finder: "FRIEND",
  },
  {
    name: "found",
    trouble: "somebody had lost a COLOUR THING",
    beats: [
      "HERO was walking {in PLACE|through PLACE} {one day|one morning|when the sun was low}.",
      'HERO found a COLOUR THING HIDDEN. "{Whose is this|Who lost this}?" HERO asked.',
      "{FRIEND was looking for it|It belonged to FRIEND}. FRIEND had looked {everywhere|all day long}.",
      'HERO gave the THING to FRIEND. "{Thank you|You are so kind}," said FRIEND.',
    ],
    ending: "HERO {felt warm inside|was happy all day|went home with a smile}. The end.",
    finder: "HERO",
  },
  {
    name: "storm",
    trouble: "a storm came",
    beats: [
      "HERO and FRIEND went to PLACE with a COLOUR THING.",
      "{Dark clouds came.|The wind began to blow.|It began to rain.} {They were afraid.|FRIEND was afraid.}",
      'HERO said, "{Hold my hand|Stay close to me|Let us run}." They hid HIDDEN until {the sun came back|the storm was over}.',
      'FRIEND said, "{You are brave|Now I am not afraid}," and {HERO smiled|they laughed}.',
    ],
    ending: "{They went home with the THING.|They were safe and dry at last.} The end.",
    finder: "HERO",
  },
] as const;

const openings = [
  "Once upon a time, there was {a child|a little child|a kind child} called HERO.",
  "There once was {a child|a little one} named HERO.",
  "HERO {lived near PLACE|lived in a little house|had a good friend called FRIEND}.",
];

export function drawStory(draw: Draw, given: Partial<StoryState> = {}): StoryState {
  const hero = given.hero ?? anyName(draw);
  return {
    hero,
    friend: given.friend ?? draw.pickOther(names, hero),
    thing: given.thing ?? anyThing(draw),
    colour: given.colour ?? draw.pick(colours),
    place: given.place ?? draw.pick(places),
    hidden: given.hidden ?? draw.pick(hidingPlaces),
    plot: given.plot ?? draw.pick(plots).name,
    feeling: "happy",
  };
}

function fill(text: string, state: StoryState): string {
  const withArticle = text.replaceAll("a COLOUR", article(state.colour));
  return withArticle
    .replaceAll("HERO", state.hero)
    .replaceAll("FRIEND", state.friend)
    .replaceAll("THING", state.thing)
    .replaceAll("COLOUR", state.colour)
    .replaceAll("PLACE", state.place)
    .replaceAll("HIDDEN", state.hidden);
}

export function tellStory(draw: Draw, state: StoryState, isShort = false): string {
  const plot = plotOf(state);
  const beats = isShort
    ? [plot.beats[0], plot.beats[1], plot.beats.at(-1) ?? ""]
    : [draw.pick(openings), ...plot.beats];
  return [...beats, plot.ending].map((beat) => fill(draw.say(beat), state)).join(" ");
}

function plotOf({ plot }: StoryState): (typeof plots)[number] {
  return plots.find(({ name }) => name === plot) ?? plots[0];
}

/** Questions that the text answers. */
export function storyQuestion(draw: Draw, state: StoryState): Question {
  const { hero, friend, thing, colour, place, hidden, plot } = state;
  const options: Question[] = [
    { ask: `What colour was the ${thing}?`, answer: `The ${thing} was ${colour}.` },
    {
      ask: draw.say("{Who was the story about|Who is the hero of the story}?"),
      answer: `The story was about ${hero}.`,
    },
    { ask: `Who was ${hero}'s friend?`, answer: `${hero}'s friend was ${friend}.` },
    {
      ask: draw.say("{What happened|What went wrong}?"),
      answer: capital(`${fill(plotOf(state).trouble, state)}.`),
    },
  ];
  if (plot === "lost")
    options.push(
      { ask: `Where was the ${thing}?`, answer: `The ${thing} was ${hidden}.` },
      { ask: `Who found the ${thing}?`, answer: `${friend} found the ${thing}.` },
    );
  if (plot === "found")
    options.push(
      { ask: `Who found the ${thing}?`, answer: `${hero} found the ${thing}.` },
      { ask: `Where was the ${thing}?`, answer: `The ${thing} was ${hidden}.` },
    );
  if (plot === "lost" || plot === "found")
    options.push({ ask: `Where did ${hero} go?`, answer: `${hero} went to ${place}.` });
  return draw.pick(options);
}

/** What is wrong with a story that a model wrote for a prompt that named these things; empty when nothing is. */
export function checkStory(text: string, asked: Partial<StoryState>): string[] {
  const problems: string[] = [];
  for (const [what, name] of [
    ["hero", asked.hero],
    ["thing", asked.thing],
  ] as const)
    if (name !== undefined && !text.toLowerCase().includes(name.toLowerCase()))
      problems.push(`the ${what} ${name} does not appear`);
  if (!/The end\.\s*$/.test(text)) problems.push("it does not end");
  const people = new Set(names.filter((name) => new RegExp(`\\b${name}\\b`).test(text)));
  if (people.size + (asked.hero !== undefined && !names.some((name) => name === asked.hero) ? 1 : 0) > 2)
    problems.push("more than two people appear");
  const sentences = text.split(/(?<=[.!?]"?)\s+/);
  if (new Set(sentences).size < sentences.length) problems.push("a sentence is repeated");
  if (asked.thing !== undefined) {
    const shades = new Set(colours.filter((colour) => text.includes(`${colour} ${asked.thing}`)));
    if (shades.size > 1) problems.push("the colour changes");
  }
  return problems;
}
