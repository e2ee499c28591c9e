"use client";
import { BitNet } from "bitnet.ts";
import { useEffect, useRef, useState } from "react";

export default function Page() {
  const model = useRef(null);
  const [state, setState] = useState("Loading …");
  const [text, setText] = useState("");

  // Any GGUF by address, "hf:owner/name", or a File from an <input type="file">.
  useEffect(() => {
    const leaving = new AbortController();
    const onProgress = (fraction) => setState(`Loading ${Math.round(fraction * 100)} %`);
    BitNet.load("/tiny.gguf", { onProgress, signal: leaving.signal }).then(
      (loaded) => {
        model.current = loaded;
        setState(`${loaded.info.name} on ${loaded.info.backend}`);
      },
      (error) => leaving.signal.aborted || setState(String(error)),
    );
    return () => {
      leaving.abort();
      void model.current?.dispose();
      model.current = null;
    };
  }, []);

  async function goOn(form) {
    setText("");
    const generation = model.current.generate(form.get("prompt"), { maxTokens: 24, seed: 1 });
    for await (const piece of generation) setText((before) => before + piece.text);
    const { timings } = await generation.result;
    setState(`${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`);
  }

  return (
    <main>
      <form
        id="ask"
        onSubmit={(event) => {
          event.preventDefault();
          goOn(new FormData(event.currentTarget));
        }}
      >
        <label>
          Begin a text
          <input name="prompt" defaultValue="Once upon a time" />
        </label>
        <button type="submit">Go on</button>
      </form>
      <p id="state" role="status">
        {state}
      </p>
      <p id="text" style={{ whiteSpace: "pre-wrap" }}>
        {text}
      </p>
    </main>
  );
}
