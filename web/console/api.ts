/** Requests to the server, with the token of the sign-in. */

import { signal } from "@preact/signals";

const KEY = "synkora-console-token";
const PATIENCE = 10_000; // milliseconds

/** The token is kept for this tab, and no longer than it is open. */
const token = signal(sessionStorage.getItem(KEY));

/** Whether a token is missing, with the server's message. */
export const asksForToken = signal<string | null>(null);
export const hasToken = () => token.value !== null;

/** A refusal with the server's message, or a missing answer. */
export class Unanswered extends Error {
  constructor(
    message: string,
    /** The answer's status; null where there was none. */
    readonly status: number | null,
  ) {
    super(message);
  }
}

/** Keep a token, if it is the right one. Throws `Unanswered`. */
export async function signIn(given: string): Promise<void> {
  await ask("settings", {}, given);
  token.value = given;
  sessionStorage.setItem(KEY, given);
  asksForToken.value = null;
}

export function signOut(words = ""): void {
  token.value = null;
  sessionStorage.removeItem(KEY);
  asksForToken.value = words;
}

/** The answer to a question below `/console/api/`. Throws `Unanswered`. */
export function get<Answer>(path: string, query: Record<string, string | number> = {}): Promise<Answer> {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  return ask(`${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`, {});
}

/** Have the server do something. Throws `Unanswered`. */
export function post<Answer>(path: string, body: object): Promise<Answer> {
  return ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

async function ask<Answer>(path: string, init: RequestInit, asked = token.peek()): Promise<Answer> {
  const headers = new Headers(init.headers);
  if (asked !== null) headers.set("authorization", `Bearer ${asked}`);
  let answer: Response;
  let body: unknown;
  try {
    answer = await fetch(`/console/api/${path}`, { ...init, headers, signal: AbortSignal.timeout(PATIENCE) });
    body = await answer.json().catch(() => null);
  } catch {
    throw new Unanswered(navigator.onLine ? "The server does not answer." : "This device is offline.", null);
  }
  if (answer.ok && body !== null) return body as Answer;
  const words = wordsOf(answer.status, body);
  // An answer about another token than the stored one does not sign out.
  if (answer.status === 401 && asked === token.peek()) signOut(asked === null ? "" : words);
  throw new Unanswered(words, answer.status);
}

function wordsOf(status: number, body: unknown): string {
  if (typeof body === "object" && body !== null && "message" in body && typeof body.message === "string")
    return body.message;
  switch (status) {
    case 404:
      return "This server has no console: set CONSOLE_TOKEN, and start it again.";
    case 429:
      return "Too many requests: wait a little.";
    case 502:
    case 504:
      return "The server does not answer: the proxy before it says so.";
    default:
      return `The server answers with ${status}, without saying why.`;
  }
}
