/** A function that runs immediately, then at most once per interval in milliseconds, and always for the last value. */
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
