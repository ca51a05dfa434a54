/** Leads from one page of a table to the others. */

import { count } from "./formats";
import { type Listing, PAGE_SIZE } from "./listing";

interface PagerProps<Row> {
  listing: Listing<Row>;
  matched: number;
  reachable: number;
}

export function Pager<Row>({ listing, matched, reachable }: PagerProps<Row>) {
  const { offset } = listing.query.value;
  if (matched <= PAGE_SIZE) return null;
  const to = Math.min(offset + PAGE_SIZE, reachable);
  const go = (pages: number) => listing.change({ offset: Math.max(0, offset + pages * PAGE_SIZE) });
  return (
    <nav class="pager" aria-label="Pages">
      {reachable < matched && to >= reachable && (
        <p>These are the first {count(reachable)}: search or sort to see others.</p>
      )}
      <button type="button" disabled={offset === 0} onClick={() => go(-1)}>
        Previous
      </button>
      <span>
        {count(offset + 1)}–{count(to)} of {count(matched)}
      </span>
      <button type="button" disabled={to >= reachable} onClick={() => go(1)}>
        Next
      </button>
    </nav>
  );
}
