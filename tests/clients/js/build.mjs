// node build.mjs IN OUT PLATFORM: a script and all that it imports, in one file; what it imports has to be there.
import { build } from "esbuild";

const [source, target, platform] = process.argv.slice(2);
const { warnings } = await build({
  entryPoints: [source],
  outfile: target,
  bundle: true,
  format: platform === "browser" ? "iife" : "esm",
  platform,
  define: { "process.env.NODE_ENV": '"production"' },
  // Packages of the older kind call `require` for what Node.js itself has.
  banner: platform === "node" ? { js: 'import { createRequire } from "node:module"; const require = createRequire("/");' } : {},
  logLevel: "error",
});
if (warnings.some(({ id }) => id.startsWith("import-"))) throw new Error(JSON.stringify(warnings));
