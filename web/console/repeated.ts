/** Repeated requests while the page is visible. */

/**
 * Do `task` now, and `pause` milliseconds after each time that it is done; never while the tab is hidden, and at once
 * when it is shown again. Returns the function that stops this. `task` must not throw.
 */
export function repeat(task: () => Promise<void>, pause: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isUnderWay = false;
  let isOver = false;
  const next = async () => {
    clearTimeout(timer);
    if (isUnderWay || isOver || document.hidden) return;
    isUnderWay = true;
    await task();
    isUnderWay = false;
    timer = setTimeout(next, pause);
  };
  document.addEventListener("visibilitychange", next);
  void next();
  return () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", next);
  };
}
