/** The head of one of the page's parts: its name, and its typing users or a hint. */

import type { ComponentChildren } from "preact";
import { Foreign } from "../shared/foreign";
import type { Project } from "./project";

interface PanelHeaderProps {
  /** The part's id; its title's and its hint's follow from it. */
  id: string;
  title: string;
  project: Project;
  button?: ComponentChildren;
  children: ComponentChildren;
}

interface HintProps {
  mouse: string;
  touch: string;
}

/** The hint for a part, by the user's device. */
export function Hint({ mouse, touch }: HintProps) {
  return (
    <>
      <span class="by-mouse">{mouse}</span>
      <span class="by-touch">{touch}</span>
    </>
  );
}

export function PanelHeader({ id, title, project, button, children }: PanelHeaderProps) {
  const typing = [...project.presence.typing.value.values()].filter(({ context }) => context === id);
  const names = [...new Set(typing.map(({ by }) => by))];
  return (
    <header>
      <h2 id={`${id}-title`}>{title}</h2>
      <p id={`${id}-hint`} hidden={names.length > 0}>
        {children}
      </p>
      {names.length > 0 && (
        <p class="typing">
          {names.map((name, index) => [index > 0 && ", ", <Foreign key={name} words={name} />])}{" "}
          {names.length > 1 ? "are" : "is"} typing
        </p>
      )}
      {button}
    </header>
  );
}
