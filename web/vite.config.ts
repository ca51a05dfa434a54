import { readFileSync } from "node:fs";
import { type Plugin, defineConfig } from "vite";

// `npm run dev` forwards requests that are not for a file of the page to the server of `make run`.
const server = { target: "http://localhost:3001", changeOrigin: false };

/** Licences that Vite does not collect from a page's own script: of the font, and of a worker's script. */
const otherLicences = (packages: Record<string, string>): Plugin => ({
  name: "other-licences",
  generateBundle() {
    for (const [name, folder] of Object.entries(packages)) {
      const source = readFileSync(`node_modules/${folder}/LICENSE`, "utf8");
      this.emitFile({ type: "asset", fileName: `${name}-licence.txt`, source });
    }
  },
});

const FONT = { font: "@fontsource-variable/inter" };
const LICENCES = { console: FONT, playground: { ...FONT, marked: "marked" } };

/** Each page is built separately: `--mode console` is the console, any other mode the playground. */
export default defineConfig(({ mode }) => {
  const page = mode === "console" ? "console" : "playground";
  return {
    plugins: [otherLicences(LICENCES[page])],
    root: page,
    base: `/${page}/`,
    server: {
      proxy: { "/playground/token": server, "/console/api/": server, "/socket.io/": { ...server, ws: true } },
    },
    build: {
      outDir: `../../src/synkora/app/web/${page}`,
      emptyOutDir: true,
      // Since these there is light-dark(), by which each colour is written once.
      target: ["chrome123", "firefox120", "safari17.5"],
      // The pages' Content-Security-Policy takes nothing out of data: addresses.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      license: { fileName: "licences.md" },
    },
  };
});
