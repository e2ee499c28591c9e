#!/usr/bin/env node
import "@bitnet.ts/cli/bin";
