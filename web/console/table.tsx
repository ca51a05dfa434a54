/** A table of rows that the server has: searched, sorted and paged there. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { isAnswering, silent } from "./feed";
import { count, counted } from "./formats";
import type { Listing, Order } from "./listing";
import { Pager } from "./pager";
import { SearchField } from "./search-field";

export interface Column<Row> {
  title: string;
  /** The server's name for sorting by it, and the first direction; none if it cannot be sorted. */
  sort?: [name: string, first: Order];
  isNumber?: boolean;
  /** Whether a narrow screen hides it. */
  isMinor?: boolean;
  /** Whether only a wide screen shows it. */
  isLeast?: boolean;
  cell: (row: Row) => ComponentChildren;
}

interface TableProps<Row> {
  title: string;
  /** What a row is. */
  noun: string;
  hint: string;
  listing: Listing<Row>;
  columns: Column<Row>[];
  keyOf: (row: Row) => string;
  /** Further filters beside the search. */
  children?: ComponentChildren;
}

export function Table<Row>({ title, noun, hint, listing, columns, keyOf, children }: TableProps<Row>) {
  useEffect(() => listing.watch(), [listing]);
  const { answer, failure } = listing;
  const { search } = listing.query.value;
  return (
    <section class="panel listing" aria-labelledby="listing-title">
      <header>
        <h2 id="listing-title">{title}</h2>
        <p role="status">
          {answer.value && found(answer.value, noun)}
          {answer.value && !isAnswering.value && ", as it was last"}
        </p>
      </header>
      <div class="filters" role="search">
        <SearchField
          label={`Search ${noun}s`}
          hint={hint}
          value={search}
          onSearch={(words) => listing.change({ search: words })}
        />
        {children}
        <SortField listing={listing} columns={columns} />
      </div>
      {failure.value && <p class="notice bad">{failure.value.message}</p>}
      {answer.value && answer.value.unanswered.length > 0 && (
        <p class="notice bad">There may be more: {silent(answer.value.unanswered)}.</p>
      )}
      {answer.value && (
        <>
          <div class="rows">
            {/* The roles hold where a narrow screen has no columns. */}
            <table role="table">
              <thead role="rowgroup">
                <tr role="row">
                  {columns.map((column) => (
                    <Heading key={column.title} column={column} listing={listing} />
                  ))}
                </tr>
              </thead>
              <tbody role="rowgroup">
                {answer.value.rows.map((row) => (
                  <tr key={keyOf(row)} role="row">
                    {columns.map((column) => (
                      <td key={column.title} role="cell" class={classOf(column)} data-title={column.title}>
                        {column.cell(row)}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {answer.value.rows.length === 0 && <p class="empty">{whyEmpty(answer.value, noun)}</p>}
          <Pager listing={listing} {...answer.value} />
        </>
      )}
    </section>
  );
}

function whyEmpty({ total }: { total: number }, noun: string): string {
  if (!isAnswering.value) return "The server does not answer.";
  return total === 0 ? `There are no ${noun}s now.` : `None of the ${noun}s is like that.`;
}

function found({ total, matched }: { total: number; matched: number }, noun: string): string {
  return matched === total ? counted(total, noun) : `${count(matched)} of ${counted(total, noun)}`;
}

function classOf<Row>({ isNumber, isMinor, isLeast }: Column<Row>): string {
  return [isNumber && "number", isMinor && "minor", isLeast && "least"].filter(Boolean).join(" ");
}

function Heading<Row>({ column, listing }: { column: Column<Row>; listing: Listing<Row> }) {
  if (!column.sort)
    return (
      <th scope="col" role="columnheader" class={classOf(column)}>
        {column.title || <span class="unseen">Actions</span>}
      </th>
    );
  const [name, first] = column.sort;
  const { sort, order } = listing.query.value;
  const isSorted = sort === name;
  const onClick = () => listing.change({ sort: name, order: isSorted ? reverse(order) : first });
  const sorted = order === "asc" ? "ascending" : "descending";
  return (
    <th scope="col" role="columnheader" class={classOf(column)} aria-sort={isSorted ? sorted : "none"}>
      <button type="button" onClick={onClick}>
        {column.title}
        <span class="arrow" aria-hidden="true">
          {isSorted ? (order === "asc" ? "↑" : "↓") : ""}
        </span>
      </button>
    </th>
  );
}

/** Sorting where there is no room for the headings. */
function SortField<Row>({ listing, columns }: { listing: Listing<Row>; columns: Column<Row>[] }) {
  const { sort, order } = listing.query.value;
  const orders = columns.flatMap(({ title, sort: by }) => (by ? [[title, ...by] as const] : []));
  return (
    <label class="sort-field">
      Sort by
      <select
        value={sort}
        onChange={({ currentTarget }) => {
          const chosen = orders.find(([, name]) => name === currentTarget.value);
          if (chosen) listing.change({ sort: chosen[1], order: chosen[2] });
        }}
      >
        {orders.map(([title, name]) => (
          <option key={name} value={name}>
            {title} {name === sort && (order === "asc" ? "↑" : "↓")}
          </option>
        ))}
      </select>
    </label>
  );
}

function reverse(order: Order): Order {
  return order === "asc" ? "desc" : "asc";
}
