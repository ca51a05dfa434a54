/** What is not as it should be: no answer, or an instance that is unwell. */

import { failure, instances, isAnswering, overview } from "./feed";

export function Notices() {
  const known = isAnswering.value ? instances.value : [];
  const unwell = known.filter((instance) => !instance.unanswered && instance.reason !== null);
  return (
    <div role="status">
      {failure.value && (
        <p class="notice bad">
          {failure.value.message}
          {overview.value ? " What you see is what came last; the page goes on asking." : " The page goes on asking."}
        </p>
      )}
      {unwell.map((instance) => (
        <p key={instance.id} class="notice warned">
          {instance.name} is {!instance.unanswered && `${instance.status}: ${instance.reason}`}
        </p>
      ))}
    </div>
  );
}
