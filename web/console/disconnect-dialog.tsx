/** Asks before a client is disconnected. */

import type { Connection } from "./answers";
import { post } from "./api";
import { Dialog } from "./dialog";
import { tell } from "./outcome";

interface DisconnectDialogProps {
  connection: Connection;
  onDone: () => void;
  onClose: () => void;
}

export function DisconnectDialog({ connection: { socketId, userName }, onDone, onClose }: DisconnectDialogProps) {
  const disconnect = async () => {
    const { disconnected } = await post<{ disconnected: boolean }>("disconnect", { socketId });
    if (disconnected) tell("good", `${userName} (${socketId}) has been disconnected.`);
    else tell("bad", `${userName} (${socketId}) was not there any more.`);
    onDone();
  };
  return (
    <Dialog title={`Disconnect ${userName}?`} action="Disconnect" isBad onAct={disconnect} onClose={onClose}>
      <p>
        The connection <code>{socketId}</code> ends at once, with the reason <code>io server disconnect</code>. Synkora’s
        pages connect again by themselves after that: it keeps nobody out.
      </p>
    </Dialog>
  );
}
