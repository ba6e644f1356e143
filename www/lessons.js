// What the page says where there is nothing to show: the next useful thing to do.

import { make } from './dom.js';

const text = (words) => make('p', { textContent: words });
const command = (line) => make('pre', { className: 'command' }, make('code', { textContent: line }));

/** The contents of an empty table. */
export function emptyTable(collection, prefix, isReady) {
  const url = location.origin;
  if (!isReady) return [text('Waiting for the first complete copy.')];
  if (collection === null) {
    return [
      text('Nothing has been written yet. Write the first flag from a terminal and watch it appear here:'),
      command(`headwater set flags checkout:new '{"on":true}' --url ${url}`),
      text('The command takes the pair from HEADWATER_APIKEY and HEADWATER_SECRET.'),
    ];
  }
  if (prefix !== '') return [text(`No key in ${collection} begins with “${prefix}”.`)];
  return [
    text(`${collection} is empty. Write its first key from a terminal:`),
    command(`headwater set ${collection} greeting '"hello"' --url ${url}`),
  ];
}
