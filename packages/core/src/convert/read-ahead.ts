/**
 * Reads the next weight while the one before is worked on, by turns into two pieces of memory that are used again. For weights that are worked on
 * one after the other, and whole.
 */
import type { TensorInfo } from "../formats/tensor.ts";
import type { WeightFiles } from "../model/bind-weights.ts";

interface Pending {
  tensor: TensorInfo;
  bytes: Promise<Uint8Array>;
}

/**
 * @param order In which they will be asked for. Another order is slower, and as right.
 * @returns The same files. What a weight's source gives is overwritten once the next weight but one is read.
 */
export function readingAhead(files: WeightFiles, order: readonly TensorInfo[]): WeightFiles {
  const readable = order.filter(({ source }) => source.readInto !== undefined);
  const followers = new Map(readable.map((tensor, i) => [tensor.name, readable[i + 1]]));
  const memory = [new Uint8Array(0), new Uint8Array(0)];
  let turn = 0;
  let pending: Pending | null = null;
  const begin = (tensor: TensorInfo): Pending => {
    turn = 1 - turn;
    if ((memory[turn]?.length ?? 0) < tensor.byteLength) memory[turn] = new Uint8Array(tensor.byteLength);
    const target = (memory[turn] as Uint8Array).subarray(0, tensor.byteLength);
    const bytes = (tensor.source.readInto?.(tensor.offset, target) ?? Promise.reject()).then(() => target);
    bytes.catch(() => {}); // told to whom asks for it
    return { tensor, bytes };
  };
  const read = async (tensor: TensorInfo): Promise<Uint8Array> => {
    if (pending?.tensor !== tensor) {
      await pending?.bytes.catch(() => {});
      pending = begin(tensor);
    }
    const bytes = await pending.bytes;
    const next = followers.get(tensor.name);
    pending = next === undefined ? null : begin(next);
    return bytes;
  };
  const tensors = new Map(files.tensors);
  for (const tensor of readable) {
    const { source } = tensor;
    const isWhole = (offset: number, length: number) =>
      offset === tensor.offset && length === tensor.byteLength;
    tensors.set(tensor.name, {
      ...tensor,
      source: {
        ...source,
        read: (offset, length) => (isWhole(offset, length) ? read(tensor) : source.read(offset, length)),
      },
    });
  }
  return { ...files, tensors };
}
