/** Conformance of every variant with one thread and with two, attention and large heads included. */
import { configurations, describeConformance } from "./conformance.test.kit.ts";

describeConformance("fast", configurations);
describeConformance("slow", configurations);
