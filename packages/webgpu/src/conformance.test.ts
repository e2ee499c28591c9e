/** Conformance of the cases that take no more than a second. */
import { describeConformance } from "./conformance.test.kit.ts";

describeConformance("fast");
