/** How people look: each has one of eight colours, the same on every page. */

const COLOURS = 8;

/** The class that gives an element and what is in it somebody's colour. */
export function colourOf(name: string): string {
  let sum = 0;
  for (const letter of name) sum += letter.codePointAt(0) ?? 0;
  return `person-${sum % COLOURS}`;
}

export function Avatar({ name, isMe }: { name: string; isMe: boolean }) {
  return (
    <li class={`avatar ${colourOf(name)}`} title={isMe ? `${name} (you)` : name}>
      <span aria-hidden="true">{name.slice(0, 1)}</span>
      <span class="unseen">{isMe ? `${name} (you)` : name}</span>
    </li>
  );
}

/** A name in its colour, beside somebody's cursor. */
export function Flag({ name }: { name: string }) {
  return <span class={`flag ${colourOf(name)}`}>{name}</span>;
}
