/** Conformance of attention over long contexts, with windows and beyond the range of f16, and of the largest products. */
import { describeConformance } from "./conformance.test.kit.ts";

describeConformance("slow");
