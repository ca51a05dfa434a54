// Remote control of a browser: orders come as JSON lines {do, id, …} on standard input, and are answered by JSON lines
// {id, answer} or {id, error} on standard output; what a page says on its console goes out as {name, console}.
// Each name is its own browser context, with its own cookies, and one page in it.

import { createInterface } from "node:readline";
import axeCore from "axe-core";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const AsyncFunction = (async () => {}).constructor;
const { source: axe } = axeCore;
const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const [executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
const pages = new Map();
// Far more than any step takes on a busy machine. The controlling process waits longer, and so learns which step failed.
const PATIENCE = 60_000;

const orders = {
  async open({ name, url, options }) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    pages.set(name, page);
    page.setDefaultTimeout(PATIENCE);
    page.on("console", (message) => tell({ name, console: message.text() }));
    page.on("pageerror", (error) => tell({ name, console: String(error) }));
    await page.goto(url);
  },
  evaluate: ({ name, expression }) => pages.get(name).evaluate(expression),
  // Runs lines of Playwright's own API, with `page` for the page.
  play: ({ name, lines }) => new AsyncFunction("page", lines)(pages.get(name)),
  // axe's findings on the page.
  async audit({ name }) {
    const page = pages.get(name);
    if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe);
    const { violations } = await page.evaluate("axe.run({ resultTypes: ['violations'] })");
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  },
  // Waits until the expression is true of the page.
  async wait({ name, expression }) {
    await pages.get(name).waitForFunction(expression, undefined, { timeout: PATIENCE });
  },
  async close({ name }) {
    await pages.get(name)?.context().close();
    pages.delete(name);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: order, id, ...details } = JSON.parse(line);
  orders[order](details).then(
    (answer) => tell({ id, answer: answer ?? null }),
    (error) => tell({ id, error: String(error) }),
  );
}
await browser.close();
process.exit();
