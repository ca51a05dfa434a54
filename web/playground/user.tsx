/** The users' appearance: each has one of eight colours, the same on every page. */

import { Foreign, visible } from "../shared/foreign";

const COLOURS = 8;

/** The class that gives an element and its content a user's colour. */
export function colourOf(name: string): string {
  let sum = 0;
  for (const letter of name) sum += letter.codePointAt(0) ?? 0;
  return `user-${sum % COLOURS}`;
}

export function Avatar({ name, isMe }: { name: string; isMe: boolean }) {
  return (
    <li class={`avatar ${colourOf(name)}`} title={isMe ? `${visible(name)} (you)` : visible(name)}>
      <span aria-hidden="true">{[...visible(name)][0]}</span>
      <span class="unseen">
        <Foreign words={name} />
        {isMe && " (you)"}
      </span>
    </li>
  );
}

/** A name in its colour, beside a user's cursor. */
export function Flag({ name }: { name: string }) {
  return (
    <span class={`flag ${colourOf(name)}`}>
      <Foreign words={name} />
    </span>
  );
}
