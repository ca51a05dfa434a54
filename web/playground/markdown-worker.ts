/** Reads Markdown beside the page: some texts take seconds to read, and the page ends this worker then. */

import { Marked, type Token, type Tokens } from "marked";

/** The messages to the page: the start of a text, then its tokens; null if the page could not draw them. */
export type Said = "begun" | Token[] | null;

const DEEPEST = 40;
const MOST_TOKENS = 5_000;
const MOST_CELLS = 5_000;

const marked = new Marked({
  tokenizer: {
    /** Each row is filled up to the width of the head: few characters can make millions of cells. */
    table(text) {
      const [, columns = "", ...rows] = text.split("\n", MOST_CELLS);
      return columns.split("|").length * rows.length > MOST_CELLS ? undefined : false;
    },
  },
});

const say = (said: Said) => postMessage(said);

addEventListener("message", ({ data }: MessageEvent<string>) => {
  say("begun");
  say(read(data));
});

function read(text: string): Token[] | null {
  try {
    const tokens: Token[] = marked.lexer(text);
    return isDrawable(tokens) ? tokens : null;
  } catch {
    return null; // it is nested so deeply that the stack is full
  }
}

function isDrawable(tokens: Token[]): boolean {
  let count = 0;
  let level = tokens;
  for (let depth = 0; level.length > 0; depth++) {
    count += level.length;
    if (depth > DEEPEST || count > MOST_TOKENS) return false;
    level = level.flatMap(inner);
  }
  return true;
}

function inner(token: Token): Token[] {
  if (token.type === "list") return (token as Tokens.List).items;
  if (token.type === "table") {
    const { header, rows } = token as Tokens.Table;
    return [...header, ...rows.flat()].flatMap((cell) => cell.tokens);
  }
  return ("tokens" in token && token.tokens) || [];
}
