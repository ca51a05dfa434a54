/** Writes to everybody in a project. */

import { useState } from "preact/hooks";
import { Foreign } from "../shared/foreign";
import type { Answered } from "./answers";
import { post } from "./api";
import { Dialog } from "./dialog";
import { silent } from "./feed";
import { counted } from "./formats";
import { tell } from "./outcome";

const LONGEST = 500; // characters

export function NoticeDialog({ projectId, onClose }: { projectId: string; onClose: () => void }) {
  const [text, setText] = useState("");
  const message = text.trim();
  const length = [...message].length;
  const isTooLong = length > LONGEST;
  const send = async () => {
    type Answer = { recipients: number } & Answered;
    const { recipients, unanswered } = await post<Answer>("notice", { projectId, message });
    const reached = [`The notice has reached ${counted(recipients, "connection")} in `, <Foreign words={projectId} />];
    if (unanswered.length === 0) tell("good", [...reached, "."]);
    else tell("bad", [...reached, `, and perhaps others: ${silent(unanswered)}.`]);
  };
  return (
    <Dialog
      title={
        <>
          Notice to <Foreign words={projectId} />
        </>
      }
      action="Post"
      isReady={length > 0 && !isTooLong}
      onAct={send}
      onClose={onClose}
    >
      <label>
        Message for everybody in the project
        <textarea
          rows={4}
          required
          aria-describedby="notice-length"
          aria-invalid={isTooLong}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
        />
      </label>
      <p id="notice-length" class={isTooLong ? "length failure" : "length"}>
        {length} of {LONGEST} characters{isTooLong && ": too many"}
      </p>
    </Dialog>
  );
}
