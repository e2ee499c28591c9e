/**
 * Stories as small simulations: who, with what, where, what went wrong, who helped. The same state renders the text, answers questions
 * about it, and checks a text that a model wrote.
 */
import type { Draw } from "./draw.ts";
import { type Plot, plots } from "./plots.ts";
import type { Question } from "./questions.ts";
import {
  anyName,
  anyThing,
  article,
  beings,
  capital,
  colours,
  hidingPlaces,
  names,
  places,
} from "./world.ts";

export interface StoryState {
  hero: string;
  friend: string;
  thing: string;
  colour: string;
  place: string;
  hidden: string;
  plot: string;
  /** What the hero is; a child unless the story is asked to be about somebody else. */
  being: string;
}

const openings = [
  "Once upon a time, there was a {little|kind|young} BEING called HERO.",
  "There once was a {little|brave|small} BEING named HERO.",
];

/** For a hero of whom only the name counts. */
const plainOpenings = [
  ...openings,
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
    being: given.being ?? (draw.chance(0.3) ? draw.pick(beings) : "child"),
  };
}

function fill(text: string, state: StoryState): string {
  const withArticle = text.replaceAll("a COLOUR", article(state.colour));
  return withArticle
    .replaceAll("BEING", state.being)
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
    ? [plot.beats[0] ?? "", plot.beats[1] ?? "", plot.beats.at(-1) ?? ""]
    : [draw.pick(state.being === "child" ? plainOpenings : openings), ...plot.beats];
  return [...beats, plot.ending].map((beat) => fill(draw.say(beat), state)).join(" ");
}

function plotOf({ plot }: StoryState): Plot {
  const found = plots.find(({ name }) => name === plot);
  if (found === undefined) throw new Error(`no plot is called ${plot}`);
  return found;
}

/** Questions that the text answers. */
export function storyQuestion(draw: Draw, state: StoryState): Question {
  const { hero, friend, thing, colour, place, hidden, being } = state;
  const { trouble, finder, goes } = plotOf(state);
  const options: Question[] = [
    { ask: `What colour was the ${thing}?`, answer: `The ${thing} was ${colour}.` },
    {
      ask: draw.say("{Who was the story about|Who is the hero of the story|Who is it about}?"),
      answer: `The story was about ${hero}.`,
    },
    { ask: `Who was ${hero}'s friend?`, answer: `${hero}'s friend was ${friend}.` },
    {
      ask: draw.say("{What happened|What went wrong|What was the problem}?"),
      answer: capital(`${fill(trouble, state)}.`),
    },
  ];
  if (finder !== undefined)
    options.push(
      { ask: `Where was the ${thing}?`, answer: `The ${thing} was ${hidden}.` },
      { ask: `Who found the ${thing}?`, answer: `${finder === "HERO" ? hero : friend} found the ${thing}.` },
    );
  if (goes) options.push({ ask: `Where did ${hero} go?`, answer: `${hero} went to ${place}.` });
  if (being !== "child") options.push({ ask: `What was ${hero}?`, answer: `${hero} was ${article(being)}.` });
  return draw.pick(options);
}

/** What is wrong with a story that a model wrote for a prompt that named these things; empty when nothing is. */
export function checkStory(text: string, asked: Partial<StoryState>): string[] {
  const problems: string[] = [];
  for (const [what, name] of [
    ["hero", asked.hero],
    ["thing", asked.thing],
    ["being", asked.being],
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
