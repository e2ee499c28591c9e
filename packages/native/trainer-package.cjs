/**
 * The trainer's kernels in the prebuilt packages, beside the backend's (platform-package.cjs) and apart from them, so that what only runs
 * models does not carry them. Here, because the packages are dependencies of this one.
 */
"use strict";

exports.targets = require("./platform-package.cjs").targets;

/** The addon of a package, or why it is not installed or cannot be loaded. */
exports.openTrainerPackage = (target) => {
  try {
    switch (target) {
      case "linux-x64-gnu":
        return { addon: require("@bitnet.ts/native-linux-x64-gnu/trainer.node") };
      case "linux-x64-musl":
        return { addon: require("@bitnet.ts/native-linux-x64-musl/trainer.node") };
      case "linux-arm64-gnu":
        return { addon: require("@bitnet.ts/native-linux-arm64-gnu/trainer.node") };
      case "linux-arm64-musl":
        return { addon: require("@bitnet.ts/native-linux-arm64-musl/trainer.node") };
      case "darwin-x64":
        return { addon: require("@bitnet.ts/native-darwin-x64/trainer.node") };
      case "darwin-arm64":
        return { addon: require("@bitnet.ts/native-darwin-arm64/trainer.node") };
      default:
        throw new Error(`there is no package for ${target}`);
    }
  } catch (error) {
    return { error };
  }
};
