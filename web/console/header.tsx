/** The top of the page: whether the server answers, its instances, and the way to each view. */

import icon from "../shared/icon.svg";
import { ThemeButton } from "../shared/theme";
import { hasToken, signOut } from "./api";
import { failure, isAnswering, overview, quietFor } from "./feed";
import { duration } from "./formats";
import { VIEWS, view } from "./views";

export function Header() {
  return (
    <header class="top">
      <div class="title">
        <img src={icon} alt="" width="28" height="28" />
        <div>
          <h1>Console</h1>
          <p>Synkora WebSocket server</p>
        </div>
      </div>
      <nav class="views" aria-label="Views">
        {VIEWS.map(({ name, title }) => (
          <a key={name} href={`#${name}`} aria-current={view.value === name ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <Answering />
      <div class="actions">
        {hasToken() && (
          <button type="button" onClick={() => signOut()}>
            Sign out
          </button>
        )}
        <ThemeButton />
      </div>
    </header>
  );
}

function Answering() {
  const [kind, words] = describe();
  return (
    <p class={`status ${kind}`}>
      <span class="light" aria-hidden="true" />
      {words}
    </p>
  );
}

function describe(): [kind: string, words: string] {
  if (overview.value === null) return failure.value ? ["bad", "No answer yet"] : ["warned", "Connecting"];
  if (failure.value !== null) {
    const since = duration(quietFor.value);
    return failure.value.status === null ? ["bad", `No answer for ${since}`] : ["bad", `Refused for ${since}`];
  }
  return isAnswering.value ? ["good", "Live"] : ["warned", `No answer for ${duration(quietFor.value)}`];
}
