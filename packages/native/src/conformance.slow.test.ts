/** Conformance of attention and large heads. */
import { describeConformance } from "./conformance.test.kit.ts";

describeConformance("slow");
