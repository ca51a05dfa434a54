/** Who is kept out now, and until when. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Foreign } from "../shared/foreign";
import type { Answered, Block } from "./answers";
import { type Unanswered, get, post } from "./api";
import { serverTime, silent } from "./feed";
import { duration, moment } from "./formats";
import { tell } from "./outcome";
import { repeat } from "./repeated";

const EVERY = 5_000; // milliseconds
const blocks = signal<readonly Block[]>([]);

export async function refreshBlocks(): Promise<void> {
  // A missing answer is reported elsewhere on the page.
  await get<{ blocks: Block[] }>("blocks").then((answer) => (blocks.value = answer.blocks), () => undefined);
}

async function lift({ kind, name }: Block): Promise<void> {
  type Answer = { unblocked: boolean } & Answered;
  const body = kind === "user" ? { userId: name } : { address: name };
  await post<Answer>("unblock", body).then(
    ({ unanswered }) =>
      unanswered.length === 0
        ? tell("good", [<Foreign key={name} words={name} />, " is no longer blocked."])
        : tell("bad", [<Foreign key={name} words={name} />, ` may still be blocked: ${silent(unanswered)}.`]),
    (error: Unanswered) => tell("bad", error.message),
  );
  await refreshBlocks();
}

export function Blocks() {
  useEffect(() => repeat(refreshBlocks, EVERY), []);
  const known = blocks.value.filter(({ until }) => until > serverTime.value);
  if (known.length === 0) return null;
  return (
    <section class="panel blocks" aria-labelledby="blocks-title">
      <header>
        <h2 id="blocks-title">Blocked</h2>
      </header>
      <ul role="list">
        {known.map((block) => (
          <li key={`${block.kind} ${block.name}`}>
            <span class="subject">
              {block.kind === "user" ? "User" : "Address"}{" "}
              <code>
                <Foreign words={block.name} />
              </code>
            </span>
            <time title={moment(block.until)}>for {duration(block.until - serverTime.value)} more</time>
            <button type="button" class="quiet" onClick={() => lift(block)}>
              Lift
              <span class="unseen">
                {" the block of "}
                <Foreign words={block.name} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
