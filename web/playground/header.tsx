/** The top of the page: its user, the members, and the state of the connection. */

import icon from "../shared/icon.svg";
import { ThemeButton } from "../shared/theme";
import { Avatar } from "./user";
import type { Project } from "./project";
import { Status } from "./status";

interface HeaderProps {
  project: Project;
  /** The other possible users; null without a choice. */
  other: string | null;
  otherAddress: string;
  isSplit: boolean;
  onSplit: () => void;
}

export function Header({ project, other, otherAddress, isSplit, onSplit }: HeaderProps) {
  return (
    <header class="top">
      <div class="title">
        <img src={icon} alt="" width="28" height="28" />
        <div>
          <h1>Website launch</h1>
          <p>
            Synkora playground · you are <strong>{project.me}</strong>
          </p>
        </div>
      </div>
      <Status connection={project.connection} />
      <Here project={project} />
      <div class="actions">
        {other !== null && (
          <>
            <button type="button" class="split" aria-pressed={isSplit} onClick={onSplit}>
              Side by side
            </button>
            <a class="button main" href={otherAddress} target="_blank" rel="noopener">
              Open as {other}
            </a>
          </>
        )}
        <ThemeButton />
      </div>
    </header>
  );
}

function Here({ project }: { project: Project }) {
  const users = project.presence.users.value;
  return (
    <ul role="list" class="here" aria-label="Who is here">
      {users.map(({ userId, userName }) => (
        <Avatar key={userId} name={userName} isMe={userName === project.me} />
      ))}
    </ul>
  );
}
