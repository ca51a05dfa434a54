/** Other users' text within the page's own: it cannot reverse a sentence, and nothing in it is invisible. */

/** Controls, marks of direction, separators and fillers; combined letters and emoji are not among them. */
const UNSEEN = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;
/** A blank that a page would not draw, or of which it would draw one only. */
const UNDRAWN = /^ | $| (?= )/g;

/** The text with escapes for invisible characters, as in the log. */
export function visible(words: string): string {
  const seen = words.replace(UNSEEN, (character) => (character === " " ? character : escaped(character)));
  return seen.replace(UNDRAWN, "\\x20");
}

/** The same for a text of several lines, whose blanks are drawn as they are. */
export function visibleLines(text: string): string {
  return text.replace(UNSEEN, (character) => (/[ \n]/.test(character) ? character : escaped(character)));
}

/** Whether the text has a visible character. */
export function isVisible(words: string): boolean {
  return words.replace(UNSEEN, "") !== "";
}

export function Foreign({ words }: { words: string }) {
  return <bdi>{visible(words)}</bdi>;
}

function escaped(character: string): string {
  const hex = character.codePointAt(0)!.toString(16);
  if (hex.length <= 2) return `\\x${hex.padStart(2, "0")}`;
  return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
