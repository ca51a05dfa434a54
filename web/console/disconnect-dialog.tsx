/** Asks before clients are disconnected, and for how long a user or an address is to be kept out. */

import { useState } from "preact/hooks";
import { Foreign } from "../shared/foreign";
import type { Answered, Connection } from "./answers";
import { post } from "./api";
import { refreshBlocks } from "./blocks";
import { Dialog } from "./dialog";
import { silent } from "./feed";
import { counted } from "./formats";
import { tell } from "./outcome";

interface DisconnectDialogProps {
  connection: Connection;
  onDone: () => void;
  onClose: () => void;
}

type Scope = "connection" | "user" | "address";

const TIMES: readonly [seconds: number, words: string][] = [
  [0, "Do not block"],
  [600, "10 minutes"],
  [3_600, "1 hour"],
  [86_400, "1 day"],
  [604_800, "7 days"],
];

export function DisconnectDialog({ connection, onDone, onClose }: DisconnectDialogProps) {
  const { socketId, userId, userName, address } = connection;
  const [scope, setScope] = useState<Scope>("connection");
  const [seconds, setSeconds] = useState(0);
  const who = <Foreign words={userName} />;
  const isBlocking = scope !== "connection" && seconds > 0;

  const endOne = async () => {
    const { disconnected, unanswered } = await post<{ disconnected: boolean } & Answered>("disconnect", { socketId });
    if (disconnected) tell("good", [who, ` (${socketId}) has been disconnected.`]);
    else if (unanswered.length > 0)
      tell("bad", [who, ` (${socketId}) may still be connected: ${silent(unanswered)}. Try it again.`]);
    else tell("bad", [who, ` (${socketId}) is no longer connected.`]);
  };
  const endAll = async () => {
    const named = scope === "user" ? { userId } : { address };
    const { disconnected, unanswered } = await post<{ disconnected: number } & Answered>("block", { ...named, seconds });
    const words = `${counted(disconnected, "connection")} of `;
    const done = isBlocking ? ` ended, and blocked for ${TIMES.find(([time]) => time === seconds)?.[1]}` : " ended";
    const told = [words, scope === "user" ? who : address, done];
    if (unanswered.length === 0) tell("good", [...told, "."]);
    else tell("bad", [...told, `, but perhaps not everywhere: ${silent(unanswered)}. Try it again.`]);
    refreshBlocks();
  };
  const act = async () => {
    await (scope === "connection" ? endOne() : endAll());
    onDone();
  };
  const choice = (value: Scope, words: preact.ComponentChildren) => (
    <label class="choice">
      <input type="radio" name="scope" checked={scope === value} onChange={() => setScope(value)} />
      <span>{words}</span>
    </label>
  );
  return (
    <Dialog title={<>Disconnect {who}?</>} action={isBlocking ? "Block" : "Disconnect"} isBad onAct={act} onClose={onClose}>
      <fieldset>
        <legend>What ends</legend>
        {choice("connection", "This connection")}
        {choice("user", <>All connections of {who}</>)}
        {choice("address", <>All connections from {address}</>)}
      </fieldset>
      {scope !== "connection" && (
        <label>
          Keep out for
          <select value={seconds} onChange={({ currentTarget }) => setSeconds(Number(currentTarget.value))}>
            {TIMES.map(([time, words]) => (
              <option key={time} value={time}>
                {words}
              </option>
            ))}
          </select>
        </label>
      )}
      <p class="hint">
        {isBlocking
          ? "Until then every new connection is refused, with a message that says so."
          : "Synkora’s pages connect again by themselves after that."}
        {scope === "address" && " Everyone behind this address is affected."}
      </p>
    </Dialog>
  );
}
