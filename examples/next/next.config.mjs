/** A static export: any host will do that sends the two headers of the README. */
export default {
  output: "export",
  // While pages are rendered, Node imports it by itself: its native binary is not for bundles.
  serverExternalPackages: ["bitnet.ts"],
  // The compiler of grammars asks for this module where it runs in Node.
  turbopack: { resolveAlias: { module: { browser: "./empty.js" } } },
  webpack(config) {
    config.resolve.fallback = { ...config.resolve.fallback, module: false };
    return config;
  },
};
