import { BitNet } from "bitnet.ts";

const find = (id) => document.getElementById(id);
const state = find("state");

// Any GGUF by address, "hf:owner/name", or a File from an <input type="file">.
const tiny = new URL("bitnet.ts/models/tiny.gguf", import.meta.url);
const model = await BitNet.load(tiny, {
  onProgress: (fraction) => {
    state.textContent = `Loading ${Math.round(fraction * 100)} %`;
  },
});
state.textContent = `${model.info.name} on ${model.info.backend}`;

find("ask").onsubmit = async (event) => {
  event.preventDefault();
  const text = find("text");
  text.textContent = "";
  const generation = model.generate(find("prompt").value, { maxTokens: 24, seed: 1 });
  for await (const piece of generation) text.textContent += piece.text;
  const { timings } = await generation.result;
  state.textContent = `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`;
};
