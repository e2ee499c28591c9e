/** Conformance of attention and large heads, and of all else where the quick checks leave it out. */
import { describeConformance } from "./conformance.test.kit.ts";

describeConformance("slow");
