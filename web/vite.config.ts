import { readFileSync } from "node:fs";
import { type Plugin, defineConfig } from "vite";

// `npm run dev` has the server that `make run` starts answer what is not a file of the page.
const server = { target: "http://localhost:3001", changeOrigin: false };

/** The licence of the font, which Vite does not gather with those of the scripts. */
const fontLicence: Plugin = {
  name: "font-licence",
  generateBundle() {
    const source = readFileSync("node_modules/@fontsource-variable/inter/LICENSE", "utf8");
    this.emitFile({ type: "asset", fileName: "font-licence.txt", source });
  },
};

/** Each page is built by itself; `--mode console` is the console, all else the playground. */
export default defineConfig(({ mode }) => {
  const page = mode === "console" ? "console" : "playground";
  return {
    plugins: [fontLicence],
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
