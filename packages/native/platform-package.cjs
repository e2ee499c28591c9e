/**
 * The prebuilt packages, one literal `require` each: bundlers and tracers read them here. CommonJS, because that is the form which all of
 * them understand. Where npm has installed a package for glibc and one for musl, the first that loads is the right one.
 */
"use strict";

exports.targets = [
  "linux-x64-gnu",
  "linux-x64-musl",
  "linux-arm64-gnu",
  "linux-arm64-musl",
  "darwin-x64",
  "darwin-arm64",
];

/** The addon of a package, or why it is not installed or cannot be loaded. Bundlers take a require inside of try as optional. */
exports.openPlatformPackage = (target) => {
  try {
    switch (target) {
      case "linux-x64-gnu":
        return { addon: require("@bitnet.ts/native-linux-x64-gnu") };
      case "linux-x64-musl":
        return { addon: require("@bitnet.ts/native-linux-x64-musl") };
      case "linux-arm64-gnu":
        return { addon: require("@bitnet.ts/native-linux-arm64-gnu") };
      case "linux-arm64-musl":
        return { addon: require("@bitnet.ts/native-linux-arm64-musl") };
      case "darwin-x64":
        return { addon: require("@bitnet.ts/native-darwin-x64") };
      case "darwin-arm64":
        return { addon: require("@bitnet.ts/native-darwin-arm64") };
      default:
        throw new Error(`there is no package for ${target}`);
    }
  } catch (error) {
    return { error };
  }
};
