/** A search field, which searches after a pause in typing. */

import { useEffect, useRef } from "preact/hooks";

const MOMENT = 250; // milliseconds

interface SearchFieldProps {
  label: string;
  hint: string;
  value?: string;
  onSearch: (words: string) => void;
}

export function SearchField({ label, hint, value = "", onSearch }: SearchFieldProps) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const search = (words: string, pause: number) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onSearch(words.trim()), pause);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <label class="search-field">
      {label}
      <input
        type="search"
        placeholder={hint}
        defaultValue={value}
        autocomplete="off"
        spellcheck={false}
        onInput={({ currentTarget }) => search(currentTarget.value, MOMENT)}
        onKeyDown={({ key, currentTarget }) => key === "Enter" && search(currentTarget.value, 0)}
      />
    </label>
  );
}
