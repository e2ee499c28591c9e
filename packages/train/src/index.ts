export { PieceCounter, trainBpe } from "./tokenizer/train-bpe.ts";
