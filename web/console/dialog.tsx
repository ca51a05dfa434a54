/** A dialog that asks for confirmation, and shows the reason of a failure. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Unanswered } from "./api";

interface DialogProps {
  title: ComponentChildren;
  /** The label of the action. */
  action: string;
  isBad?: boolean;
  isReady?: boolean;
  /** Does it; may throw `Unanswered`. */
  onAct: () => Promise<void>;
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, action, isBad, isReady = true, onAct, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isUnderWay, setUnderWay] = useState(false);
  const [failure, setFailure] = useState("");
  const cancel = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    if (isBad) cancel.current?.focus(); // Enter does no harm then
  }, []);

  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (isUnderWay || !isReady) return;
    setUnderWay(true);
    setFailure("");
    try {
      await onAct();
      dialog.current?.close();
    } catch (error) {
      setFailure((error as Unanswered).message);
      setUnderWay(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <form onSubmit={onSubmit}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        <p role="alert" class="failure">
          {failure}
        </p>
        <footer>
          <button ref={cancel} type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={isBad ? "main dangerous" : "main"} disabled={isUnderWay || !isReady}>
            {action}
          </button>
        </footer>
      </form>
    </dialog>
  );
}
