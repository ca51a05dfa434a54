/** A function that acts at once, then at most every so many milliseconds, and always on the last that it was given. */
export function throttled<T>(every: number, act: (value: T) => void): (value: T) => void {
  let waiting: { value: T } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const next = () => {
    timer = undefined;
    if (waiting === undefined) return;
    act(waiting.value);
    waiting = undefined;
    timer = setTimeout(next, every);
  };
  return (value) => {
    waiting = { value };
    if (timer === undefined) next();
  };
}
