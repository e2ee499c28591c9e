/** The sampler against the filters on all logits, many times. */
import { describeSampler } from "./sampler-naive.test.kit.ts";

describeSampler(6000, 3000);
