/** What a page needs whose model runs in a worker. Apart from index.ts, since bundlers give a page whatever its entries may reach. */
export { cosineSimilarity } from "./model/embedding-vector.ts";
export { makeTokenizer } from "./model/tokenizer-source.ts";
export { chatTemplateFor } from "./tokenizer/default-template.ts";
