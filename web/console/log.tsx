/** The log as it is written. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { visibleLines } from "../shared/foreign";
import type { Level } from "./answers";
import { chosen, instances, isAnswering, nameOf } from "./feed";
import { clock, counted, moment } from "./formats";
import { LogFeed, type NumberedEntry } from "./log-feed";
import { SearchField } from "./search-field";

const feed = new LogFeed();
const LEVELS: Record<Level, string> = {
  debug: "All",
  info: "Info and above",
  warning: "Warnings and errors",
  error: "Errors",
};
const NEAR_THE_END = 24; // pixels

export function Log() {
  const words = useSignal("");
  const { entries, failure, isPaused, query } = feed;
  const instance = chosen.value ?? "";
  useEffect(() => {
    if (query.peek().instance !== instance) feed.change({ instance });
  }, [instance]);
  useEffect(() => feed.watch(), []);
  const wanted = words.value.toLowerCase();
  const shown = entries.value.filter(({ text }) => text.toLowerCase().includes(wanted));
  return (
    <section class="panel log" aria-labelledby="log-title">
      <header>
        <h2 id="log-title">Log</h2>
        <p>
          {counted(shown.length, "line")}
          {isPaused.value && ", paused"}
        </p>
      </header>
      <div class="filters" role="search">
        <SearchField label="Search what is shown" hint="Words of a line" onSearch={(given) => (words.value = given)} />
        <label>
          Level
          <select
            value={query.value.level}
            onChange={({ currentTarget }) => feed.change({ level: currentTarget.value as Level })}
          >
            {Object.entries(LEVELS).map(([level, title]) => (
              <option key={level} value={level}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={isPaused.value} onClick={() => (isPaused.value = !isPaused.value)}>
          Pause
        </button>
      </div>
      {failure.value && <p class="notice bad">{failure.value.message}</p>}
      <Tail entries={shown} />
    </section>
  );
}

/** It follows the end until the user scrolls up. */
function Tail({ entries }: { entries: readonly NumberedEntry[] }) {
  const list = useRef<HTMLDivElement>(null);
  const isFollowing = useSignal(true);
  const newest = entries.at(-1);
  const follow = () => {
    isFollowing.value = true;
    if (list.current) list.current.scrollTop = list.current.scrollHeight;
  };
  useLayoutEffect(() => {
    if (isFollowing.peek()) follow();
  }, [newest, entries.length]);
  const onScroll = ({ currentTarget: { scrollHeight, scrollTop, clientHeight } }: { currentTarget: HTMLElement }) =>
    (isFollowing.value = scrollHeight - scrollTop - clientHeight < NEAR_THE_END);
  const hasSeveral = instances.value.length > 1;
  return (
    <div class="tail">
      {/* A reader is not to be told each line of a busy server: the list can be read when wanted. */}
      <div
        ref={list}
        class="lines"
        role="log"
        aria-live="off"
        aria-label="Lines of the log"
        tabIndex={0}
        onScroll={onScroll}
      >
        <ol role="list">
          {entries.map(({ number, at, level, instance, text }) => (
            <li key={number} class={level}>
              <time title={moment(at)}>{clock(at)}</time>
              {hasSeveral && <span class="origin">{nameOf(instance)}</span>}
              <bdi class="text">{visibleLines(text)}</bdi>
            </li>
          ))}
        </ol>
      </div>
      {entries.length === 0 && <p class="empty">{isAnswering.value ? "No line yet." : "The server does not answer."}</p>}
      {!isFollowing.value && (
        <button type="button" class="main to-end" onClick={follow}>
          To the end
        </button>
      )}
    </div>
  );
}
