/** The foot of the page: the latest events, and what the server does with them. */

import type { Signal } from "@preact/signals";
import type { Passed } from "./traffic";

export function Footer({ passed }: { passed: Signal<readonly Passed[]> }) {
  return (
    <footer class="foot">
      <div class="passed">
        <h2>Over the line</h2>
        <ol role="list">
          {passed.value.map(({ event, sent, times }, index) => (
            <li key={index} class={sent ? "sent" : "received"}>
              <span aria-hidden="true">{sent ? "↑" : "↓"}</span>
              <span class="unseen">{sent ? "sent" : "received"}</span> <code>{event}</code>
              {times > 1 && <span class="times"> ×{times}</span>}
            </li>
          ))}
        </ol>
      </div>
      <p>
        The server passes on what each page sends, and keeps the latest changes for pages whose connection is lost. The
        board, the canvas, the document and the sheet live in the open pages. A new page gets them from an open page; when
        the last page is closed, they are gone.
      </p>
    </footer>
  );
}
