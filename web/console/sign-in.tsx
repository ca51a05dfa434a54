/** Asks for the token of the console. */

import { useEffect, useRef, useState } from "preact/hooks";
import icon from "../shared/icon.svg";
import { type Unanswered, signIn } from "./api";

export function SignIn({ why }: { why: string }) {
  const field = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState(why);
  useEffect(() => field.current?.focus(), []);

  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault();
    setFailure("");
    try {
      await signIn(String(new FormData(event.currentTarget as HTMLFormElement).get("token")));
    } catch (error) {
      setFailure((error as Unanswered).message);
      field.current?.select();
    }
  };
  return (
    <main class="alone sign-in">
      <img src={icon} alt="" width="40" height="40" />
      <h1>Synkora console</h1>
      <form onSubmit={onSubmit}>
        {/* Password managers look for a name beside the secret. */}
        <input name="username" autocomplete="username" value="console" hidden readOnly />
        <label>
          Token
          {/* A header can carry no other characters. */}
          <input
            ref={field}
            name="token"
            type="password"
            autocomplete="current-password"
            required
            pattern="[\x21-\x7E]+"
            title="Letters, digits and signs, without spaces"
            aria-describedby="sign-in-hint"
          />
        </label>
        <p id="sign-in-hint" class="hint">
          It is <code>CONSOLE_TOKEN</code> among the server’s settings. This tab keeps it until you sign out or close
          it.
        </p>
        <p role="alert" class="failure">
          {failure}
        </p>
        <button type="submit" class="main">
          Sign in
        </button>
      </form>
    </main>
  );
}
