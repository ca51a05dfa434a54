/** The settings that the instance which answers runs with. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Setting } from "./answers";
import { type Unanswered, get } from "./api";
import { instances } from "./feed";
import { SearchField } from "./search-field";

export function Settings() {
  const settings = useSignal<Setting[]>([]);
  const failure = useSignal("");
  const words = useSignal("");
  const asked = instances.value.find((instance) => !instance.unanswered && instance.isThis);
  useEffect(() => {
    get<{ settings: Setting[] }>("settings").then(
      (answer) => {
        settings.value = answer.settings;
        failure.value = "";
      },
      (error: Unanswered) => (failure.value = error.message),
    );
  }, [asked?.id]);
  const wanted = words.value.toLowerCase();
  const shown = settings.value.filter(({ variable, description }) =>
    `${variable} ${description}`.toLowerCase().includes(wanted),
  );
  return (
    <section class="panel settings" aria-labelledby="settings-title">
      <header>
        <h2 id="settings-title">Settings in force</h2>
        <p>{asked && `of ${asked.name}, since its start`}</p>
      </header>
      <div class="filters" role="search">
        <SearchField label="Search settings" hint="Name or meaning" onSearch={(given) => (words.value = given)} />
      </div>
      {failure.value && <p class="notice bad">{failure.value}</p>}
      <div class="rows">
        <table role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader">Variable</th>
              <th scope="col" role="columnheader">Value</th>
              <th scope="col" role="columnheader" class="minor">
                From
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {shown.map(({ variable, value, isDefault, description }) => (
              <tr key={variable} role="row">
                <td role="cell">
                  <code class="variable">{variable}</code>
                  <small>{description}</small>
                </td>
                <td role="cell">
                  {value === null || value === "" ? <span class="none">not set</span> : <code>{value}</code>}
                  {isDefault && <small class="only-narrow">default</small>}
                </td>
                <td role="cell" class="minor">{isDefault ? <span class="none">default</span> : "configured"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
