// What the page says where there is nothing to show: the next useful thing to do.

import { make } from './dom.js';

const text = (words) => make('p', { textContent: words });
const command = (line) => make('pre', { className: 'command' }, make('code', { textContent: line }));

/** The contents of a table without rows; `narrow(prefix)` is what its buttons do. */
export function emptyTable({ collection, prefix, answer, status, narrow }) {
  if (!status.ready) return [text('Waiting for the first complete copy.')];
  if (collection === null) {
    return [
      text('Nothing has been written yet. Write the first flag from a terminal and watch it appear here:'),
      command(`headwater set flags checkout:new '{"on":true}' --create --url ${location.origin}`),
      text('It takes the pair from HEADWATER_APIKEY and HEADWATER_SECRET; towards a node that runs with --dev, add --dev.'),
    ];
  }
  if (answer.status === 421) return partOnly(collection, status.scope[collection] ?? [], narrow);
  if (answer.status !== 200) return [text(JSON.parse(answer.body).message)];
  if (prefix !== '') return [text(`No key in ${collection} begins with “${prefix}”.`)];
  return [
    text(`${collection} is empty. Write its first key from a terminal:`),
    command(`headwater set ${collection} greeting '"hello"' --url ${location.origin}`),
  ];
}

/** The replica holds some keys of a collection and cannot answer for the others. */
function partOnly(collection, prefixes, narrow) {
  const buttons = prefixes.map((prefix) => {
    const button = make('button', { type: 'button', className: 'mono', textContent: prefix });
    button.addEventListener('click', () => narrow(prefix));
    return button;
  });
  return [
    text(`This replica follows only a part of ${collection}: the keys that begin with one of these.`),
    make('p', { className: 'choices' }, ...buttons),
  ];
}
