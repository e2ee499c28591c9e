/**
 * The I2_S of ARM builds of bitnet.cpp from November 2025: 64 weights per 16-byte block, high bits first, the same tail.
 * Such files carry the same type number as I2_S and no mark, so that only an option can choose this layout.
 */
import { i2sPacking } from "./i2-s.ts";

export const i2s64 = i2sPacking("i2_s_64", 16);
