/** Asks before a client is disconnected. */

import { Foreign } from "../shared/foreign";
import type { Answered, Connection } from "./answers";
import { post } from "./api";
import { Dialog } from "./dialog";
import { silent } from "./feed";
import { tell } from "./outcome";

interface DisconnectDialogProps {
  connection: Connection;
  onDone: () => void;
  onClose: () => void;
}

export function DisconnectDialog({ connection: { socketId, userName }, onDone, onClose }: DisconnectDialogProps) {
  const who = <Foreign words={userName} />;
  const disconnect = async () => {
    type Answer = { disconnected: boolean } & Answered;
    const { disconnected, unanswered } = await post<Answer>("disconnect", { socketId });
    if (disconnected) tell("good", [who, ` (${socketId}) has been disconnected.`]);
    else if (unanswered.length > 0)
      tell("bad", [who, ` (${socketId}) may still be connected: ${silent(unanswered)}. Try it again.`]);
    else tell("bad", [who, ` (${socketId}) was not there any more.`]);
    onDone();
  };
  return (
    <Dialog title={<>Disconnect {who}?</>} action="Disconnect" isBad onAct={disconnect} onClose={onClose}>
      <p>
        The connection <code>{socketId}</code> ends at once, with the reason <code>io server disconnect</code>. Synkora’s
        pages connect again by themselves after that: it keeps nobody out.
      </p>
    </Dialog>
  );
}
