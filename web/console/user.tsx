/** A user's name and id. */

import { Foreign } from "../shared/foreign";

export function User({ name, id }: { name: string; id: string }) {
  return (
    <>
      <strong>
        <Foreign words={name} />
      </strong>{" "}
      <code>
        <Foreign words={id} />
      </code>
    </>
  );
}
