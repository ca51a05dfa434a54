/** Signing in with a token for development, which the server gives to browsers of its own machine. */

/** The user, the other possible users, and the connection options. */
export interface SignedIn {
  token: string;
  name: string;
  users: string[];
  path: string;
  transports: ("polling" | "websocket")[];
}

/** The server's reason for a refused sign-in. */
export class NotSignedIn extends Error {}

/** Sign in as this user, or as the server's first choice. Throws `NotSignedIn`, and what `fetch` throws. */
export async function signIn(name: string | null): Promise<SignedIn> {
  const query = name === null ? "" : `?${new URLSearchParams({ as: name })}`;
  const answer = await fetch(`/playground/token${query}`, { method: "POST" });
  if (!answer.ok) throw new NotSignedIn(await answer.text());
  return (await answer.json()) as SignedIn;
}
