/** Markdown as elements of the page. HTML in it is shown as text, so that no text can run code. */

import type { Token, Tokens } from "marked";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useErrorBoundary, useMemo } from "preact/hooks";
import { MarkdownReader, type Read } from "./markdown-reader";

export function Markdown({ text }: { text: string }) {
  const reader = useMemo(() => new MarkdownReader(), []);
  useEffect(() => reader.want(text), [text]);
  return <Drawn {...reader.read.value} />;
}

function Drawn({ text, tokens }: Read) {
  const [error, forget] = useErrorBoundary();
  useEffect(() => forget, [text]);
  if (tokens !== null && !error) return <>{blocks(tokens)}</>;
  return (
    <>
      <p class="unformatted">This text is too complex to be formatted.</p>
      <pre>{text}</pre>
    </>
  );
}

function blocks(tokens: Token[]): ComponentChildren {
  return tokens.map((token, index) => <Block key={index} token={token} />);
}

function Block({ token }: { token: Token }): JSX.Element | null {
  switch (token.type) {
    case "heading": {
      // The page's own headings are of the levels 1 and 2.
      const Heading = `h${Math.min(token.depth + 2, 6)}` as "h3";
      return <Heading data-depth={token.depth}>{inlines(token.tokens)}</Heading>;
    }
    case "paragraph":
      return <p>{inlines(token.tokens)}</p>;
    case "blockquote":
      return <blockquote>{blocks(token.tokens ?? [])}</blockquote>;
    case "code":
      return (
        <pre>
          <code>{token.text}</code>
        </pre>
      );
    case "hr":
      return <hr />;
    case "list": {
      const { ordered, items } = token as Tokens.List;
      const entries = items.map((item, index) => <Item key={index} item={item} />);
      return ordered ? <ol>{entries}</ol> : <ul>{entries}</ul>;
    }
    case "table":
      return <Table table={token as Tokens.Table} />;
    case "space":
    case "def":
    case "checkbox":
      return null;
    default:
      return <>{"tokens" in token && token.tokens ? inlines(token.tokens) : token.raw}</>;
  }
}

function Item({ item }: { item: Tokens.ListItem }) {
  return (
    <li class={item.task ? "task" : undefined}>
      {item.task && <span class={item.checked ? "box checked" : "box"} role="img" aria-label={item.checked ? "Done" : "Not done"} />}
      {blocks(item.tokens)}
    </li>
  );
}

function Table({ table }: { table: Tokens.Table }) {
  return (
    <table>
      <thead>
        <tr>
          {table.header.map((cell, index) => (
            <th key={index} scope="col">
              {inlines(cell.tokens)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {table.rows.map((row, index) => (
          <tr key={index}>
            {row.map((cell, column) => (
              <td key={column}>{inlines(cell.tokens)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function inlines(tokens: Token[] = []): ComponentChildren {
  return tokens.map((token, index) => <Inline key={index} token={token} />);
}

function Inline({ token }: { token: Token }): JSX.Element | null {
  switch (token.type) {
    case "strong":
      return <strong>{inlines(token.tokens)}</strong>;
    case "em":
      return <em>{inlines(token.tokens)}</em>;
    case "del":
      return <del>{inlines(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return isSafe(token.href) ? (
        <a href={token.href} target="_blank" rel="noopener noreferrer">
          {inlines(token.tokens)}
        </a>
      ) : (
        <>{inlines(token.tokens)}</>
      );
    case "image":
      return <em>{token.text}</em>;
    case "checkbox":
      return null;
    default:
      return <>{"tokens" in token && token.tokens ? inlines(token.tokens) : "text" in token ? token.text : token.raw}</>;
  }
}

function isSafe(href: string): boolean {
  return URL.canParse(href) && ["http:", "https:", "mailto:"].includes(new URL(href).protocol);
}
