/** The panel where a model is chosen, and the bar that shows its loading. All names are set as text. */
import { button, type ChatView, element, find } from "@bitnet.ts/server/page";
import type { DownloadProgress } from "bitnet.ts";
import {
  isLocalFile,
  type KeptModel,
  keepLocalFile,
  listKept,
  removeKept,
  storageRoom,
} from "bitnet.ts/cache";
import { knownModels } from "bitnet.ts/models";
import { type ChosenFile, droppedFile, hasPicker, openHandle, pickFile } from "./file-handles.ts";
import { nameOf, remember, remembered, type Source } from "./load-source.ts";
import type { ModelHolder } from "./model-holder.ts";

export interface ModelPanel {
  open(): void;
  /** Loads what the server names or the last visit had; otherwise the panel opens. */
  start(): void;
}

export function startModelPanel(holder: ModelHolder, view: ChatView): ModelPanel {
  const panel = find("models");
  const title = find("model");
  const bar = find<HTMLProgressElement>("progress");
  let attempt = 0;

  function show(isOpen: boolean): void {
    panel.hidden = !isOpen;
    title.ariaExpanded = String(isOpen);
    if (isOpen) void showKept();
  }

  async function showKept(): Promise<void> {
    const [models, room] = [await listKept(), await storageRoom()];
    find("kept-box").hidden = models.length === 0;
    find("kept").replaceChildren(...models.map(keptElement));
    if (room === null) return;
    const state = room.isPersistent ? "" : "; the browser may clear them when room gets short";
    find("room").textContent =
      `${megabytes(room.usedBytes)} MB of the ${gigabytes(room.quotaBytes)} that the browser grants this page are used${state}.`;
  }

  function keptElement(kept: KeptModel): HTMLElement {
    const name = kept.model.replace(/^(hf|file):/, "");
    const share = kept.isComplete
      ? ""
      : ` (${Math.floor((100 * kept.bytes) / Math.max(1, kept.totalBytes))} %)`;
    const open = button(
      `${name}${share}, ${megabytes(kept.bytes)} MB`,
      () => void load(sourceOf(kept.model)),
    );
    const remove = button("×", () => void forget(kept.model));
    remove.ariaLabel = `Remove ${name} from this browser`;
    return element("li", {}, [open, remove]);
  }

  async function forget(model: string): Promise<void> {
    try {
      await removeKept(model);
    } catch (error) {
      view.say(error instanceof Error ? error.message : String(error));
    }
    await showKept();
  }

  async function load(source: Source): Promise<void> {
    const mine = ++attempt;
    view.stop();
    view.say("");
    show(false);
    title.textContent = nameOf(source);
    find("about").textContent = "";
    find("reopen").hidden = find("keep-file").hidden = true;
    setProgress(0, "");
    find("loading").hidden = false;
    try {
      const model = await holder.load(source, {
        onProgress: (fraction) => setProgress(fraction, "Loading"),
        onDownload: (progress) =>
          setProgress(progress.doneBytes / Math.max(1, progress.totalBytes), describe(progress)),
        onNotice: view.say,
      });
      if (mine !== attempt) return;
      if (model === null) {
        title.textContent = "Choose a model";
        show(true);
      } else {
        await remember(source);
        if (source.kind === "file" && source.handle === null) offerCopy(source.file);
        const { backend, threads, passedOver } = model.info;
        const others = passedOver.map((each) => `; ${each.backend}: ${each.reason}`).join("");
        find("about").textContent =
          `${nameOf(source)}: ${backend}, ${threads === 1 ? "one thread" : `${threads} threads`}${others}`;
      }
    } catch (error) {
      if (mine !== attempt) return;
      title.textContent = "Choose a model";
      view.say(`Failed: ${error instanceof Error ? error.message : String(error)}`);
      show(true);
    } finally {
      if (mine === attempt) find("loading").hidden = true;
    }
  }

  /** Asks for the file of the last visit, which some browsers give only after a click. */
  function offerReopening(handle: FileSystemFileHandle): void {
    const reopen = find("reopen");
    find("reopen-name").textContent = handle.name;
    reopen.hidden = false;
    reopen.onclick = () => void reopened(handle, true);
  }

  async function reopened(handle: FileSystemFileHandle, mayAsk: boolean): Promise<void> {
    try {
      const file = await openHandle(handle, mayAsk);
      if (file !== null) return await load({ kind: "file", file, handle });
      offerReopening(handle);
    } catch (error) {
      view.say(`Failed: ${handle.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    show(true);
  }

  /** Where the browser gives no handle that outlasts the visit. */
  function offerCopy(file: File): void {
    const keep = find("keep-file");
    keep.textContent = `Keep a copy of ${file.name} in this browser, ${megabytes(file.size)} MB`;
    keep.hidden = false;
    keep.onclick = () => void keepCopy(file);
  }

  async function keepCopy(file: File): Promise<void> {
    const keep = find<HTMLButtonElement>("keep-file");
    keep.disabled = true;
    try {
      const model = await keepLocalFile(file, {
        onProgress: (fraction) => {
          keep.textContent = `Copying ${file.name}, ${Math.floor(100 * fraction)} %`;
        },
      });
      keep.hidden = true;
      await remember({ kind: "copy", model });
    } catch (error) {
      view.say(`Failed: ${error instanceof Error ? error.message : String(error)}`);
      offerCopy(file);
    } finally {
      keep.disabled = false;
    }
    await showKept();
  }

  function loadFile(chosen: ChosenFile | null): void {
    if (chosen !== null) void load({ kind: "file", ...chosen });
  }

  function setProgress(fraction: number, text: string): void {
    bar.value = Number.isFinite(fraction) ? fraction : 0;
    find("progress-text").textContent = text;
  }

  title.onclick = () => show(panel.hidden !== false);
  find("cancel").onclick = () => holder.cancel();
  find("pick-tiny").onclick = () => void load({ kind: "tiny" });
  const input = find<HTMLInputElement>("file");
  find("pick-file").onclick = () => {
    if (hasPicker()) void pickFile().then(loadFile, (error: unknown) => view.say(`Failed: ${String(error)}`));
    else input.click();
  };
  input.onchange = () => {
    const [file] = input.files ?? [];
    if (file) loadFile({ file, handle: null });
    input.value = "";
  };
  find("hub").onsubmit = (event) => {
    event.preventDefault();
    const name = find<HTMLInputElement>("hub-name").value.trim();
    if (name !== "") void load(placeOf(name));
  };
  find("known").replaceChildren(
    ...knownModels.map(({ source, family, downloadBytes }) =>
      element("option", { value: source, label: `${family}, ${gigabytes(downloadBytes)}` }),
    ),
  );
  acceptDrops(loadFile);

  return {
    open: () => show(true),
    start() {
      const served = document.querySelector<HTMLMetaElement>('meta[name="bitnet-model"]')?.content;
      if (served === undefined) void startRemembered();
      else void load(placeOf(served));
    },
  };

  async function startRemembered(): Promise<void> {
    const source = await remembered();
    if (source === null) show(true);
    else if (source.kind === "handle") await reopened(source.handle, false);
    else await load(source);
  }
}

/** What the list of kept models names. */
function sourceOf(model: string): Source {
  return isLocalFile(model) ? { kind: "copy", model } : placeOf(model);
}

function placeOf(text: string): Source {
  const isAddress = /^(https?:|\.{0,2}\/)/i.test(text);
  if (!isAddress)
    return { kind: "place", place: `hf:${text.replace(/^hf:/i, "")}`, name: text.replace(/^hf:/i, "") };
  return { kind: "place", place: text, name: text.replace(/[?#].*$/, "").replace(/^.*\//, "") || text };
}

function describe(progress: DownloadProgress): string {
  const { phase, doneBytes, totalBytes, bytesPerSecond, secondsLeft } = progress;
  if (phase === "waiting") return `Another tab brings it: ${megabytes(doneBytes)} MB so far`;
  const rate = bytesPerSecond === null ? "" : `, ${(bytesPerSecond / 1e6).toFixed(1)} MB/s`;
  const left = secondsLeft === null ? "" : `, ${Math.ceil(secondsLeft)} s left`;
  return `${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB${rate}${left}`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

function acceptDrops(onFile: (chosen: ChosenFile | null) => void): void {
  const isFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
  const mark = (isOver: boolean) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) mark(false);
  });
  document.addEventListener("drop", (event) => {
    mark(false);
    if (!isFile(event)) return;
    event.preventDefault();
    if (event.dataTransfer) void droppedFile(event.dataTransfer).then(onFile);
  });
}
