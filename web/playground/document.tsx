/** The document: its text with the others' cursors, and its preview. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { Markdown } from "./markdown";
import { PanelHeader } from "./panel-header";
import { Flag, colourOf } from "./user";
import type { Caret } from "./presence";
import type { Project } from "./project";
import { FILE } from "./seeds";
import { LONGEST_TEXT } from "./values";

const MARGIN = 8; // pixels

export function Document({ project }: { project: Project }) {
  const text = project.files.all.value.get(FILE) ?? "";
  return (
    <section class="panel" id="document" aria-labelledby="document-title">
      <PanelHeader id="document" title="Document" project={project}>
        Markdown; the last to write wins
      </PanelHeader>
      <div class="document">
        <div class="editor">
          <Carets text={text} carets={project.presence.carets.value} />
          <Editor text={text} project={project} />
        </div>
        <div class="preview" role="region" aria-label="Preview" tabIndex={0}>
          <Markdown text={text} />
        </div>
      </div>
    </section>
  );
}

function Editor({ text, project }: { text: string; project: Project }) {
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    if (area.current !== null && area.current.value !== text) replace(area.current, text);
  }, [text]);
  const tellCaret = () => {
    const { selectionStart: from, selectionEnd: to } = area.current!;
    project.placeCaret({ from, to });
  };
  return (
    <textarea
      ref={area}
      aria-label="Text of the document"
      spellcheck={false}
      maxLength={LONGEST_TEXT}
      onInput={(event) => {
        project.write(event.currentTarget.value);
        tellCaret();
      }}
      onKeyUp={tellCaret}
      onPointerUp={tellCaret}
      onFocus={tellCaret}
      onBlur={() => project.placeCaret(null)}
    />
  );
}

/** The text once more, unseen, with the others' cursors where they are in it. */
function Carets({ text, carets }: { text: string; carets: ReadonlyMap<string, Caret> }) {
  const sorted = [...carets].sort(([, a], [, b]) => a.to - b.to);
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => place.current?.querySelectorAll<HTMLElement>(".flag").forEach(keepInside));
  let done = 0;
  return (
    <div class="carets" aria-hidden="true" ref={place}>
      {sorted.map(([socketId, { by, to }]) => {
        const before = text.slice(done, to);
        done = Math.max(done, Math.min(to, text.length));
        return [
          before,
          <span key={socketId} class={`caret ${colourOf(by)}`}>
            <Flag name={by} />
          </span>,
        ];
      })}
      {text.slice(done)}
      {"\n"}
    </div>
  );
}

/** Move a label that would be cut off at the right or the top. */
function keepInside(flag: HTMLElement): void {
  flag.style.translate = "";
  const box = flag.getBoundingClientRect();
  const editor = flag.closest(".editor")!.getBoundingClientRect();
  const carets = flag.closest(".carets")!.getBoundingClientRect();
  const left = Math.min(0, editor.right - MARGIN - box.right);
  const down = Math.max(0, carets.top - MARGIN - box.top);
  flag.style.translate = `${left}px ${down}px`;
}

/** Replace the text, and keep the caret in the common part. */
function replace(area: HTMLTextAreaElement, text: string): void {
  const { value: before, selectionStart, selectionEnd } = area;
  const most = Math.min(before.length, text.length);
  let start = 0;
  while (start < most && before[start] === text[start]) start++;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === text.at(-1 - end)) end++;
  const moved = (at: number) => {
    if (at <= start) return at;
    return at >= before.length - end ? at + text.length - before.length : text.length - end;
  };
  area.value = text;
  if (document.activeElement === area) area.setSelectionRange(moved(selectionStart), moved(selectionEnd));
}
