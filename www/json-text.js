// Reads the replica's answers without losing how values are spelled.
//
// `JSON.parse` turns 1.0e2 into 100 and rounds long integers, but a value's text is part of what Headwater keeps. So
// answers are cut into pieces of text here, and only keys and plain numbers are parsed. The texts come from core: valid
// and without insignificant white space; what is not valid is not found out here.

/** Index behind the string that starts at `start`. */
function stringEnd(text, start) {
  let quote = start;
  for (;;) {
    quote = text.indexOf('"', quote + 1);
    if (quote < 0) throw new SyntaxError('a string does not end');
    let escapes = quote;
    while (text[escapes - 1] === '\\') escapes -= 1;
    if ((quote - escapes) % 2 === 0) return quote + 1;
  }
}

const PLAIN = /[^,\]}]+/y;

/** Index behind the value that starts at `start`. */
function valueEnd(text, start) {
  let depth = 0;
  let at = start;
  do {
    const char = text[at];
    if (char === '"') at = stringEnd(text, at);
    else if (char === '{' || char === '[') { depth += 1; at += 1; }
    else if (char === '}' || char === ']') { depth -= 1; at += 1; }
    else if (char === ',' || char === ':') at += 1;
    else {
      PLAIN.lastIndex = at;
      if (!PLAIN.test(text)) throw new SyntaxError('the text ends within a value');
      at = PLAIN.lastIndex;
    }
  } while (depth > 0);
  return at;
}

/** The texts of an array's elements. */
export function elements(text) {
  const found = [];
  for (let at = 1; text[at] !== ']'; at += text[at] === ',' ? 1 : 0) {
    const end = valueEnd(text, at);
    found.push(text.slice(at, end));
    at = end;
  }
  return found;
}

/** The texts of an object's members by name. */
export function members(text) {
  const found = new Map();
  for (let at = 1; text[at] !== '}'; at += text[at] === ',' ? 1 : 0) {
    const nameEnd = stringEnd(text, at);
    const end = valueEnd(text, nameEnd + 1);
    found.set(JSON.parse(text.slice(at, nameEnd)), text.slice(nameEnd + 1, end));
    at = end;
  }
  return found;
}

/** An entry of the read API, its value left as text. */
export function entry(text) {
  const parts = members(text);
  return {
    key: JSON.parse(parts.get('key')),
    value: parts.get('value'),
    version: Number(parts.get('version')),
    seq: Number(parts.get('seq')),
    updatedMs: Date.parse(JSON.parse(parts.get('updatedAt'))),
  };
}

/**
 * Cuts a value into tokens for display, in order: `kind` is name, string, number, word or mark; `before` is the white
 * space that lays the value out, two spaces a level.
 */
export function* tokens(text) {
  let depth = 0;
  let before = '';
  const line = () => `\n${'  '.repeat(depth)}`;
  for (let at = 0; at < text.length;) {
    const char = text[at];
    let end = at + 1;
    let kind = 'mark';
    let after = '';
    if (char === '{' || char === '[') {
      if (text[end] === '}' || text[end] === ']') end += 1;
      else { depth += 1; after = line(); }
    } else if (char === '}' || char === ']') {
      depth -= 1;
      before = line();
    } else if (char === ',') {
      after = line();
    } else if (char === ':') {
      after = ' ';
    } else if (char === '"') {
      end = stringEnd(text, at);
      kind = text[end] === ':' ? 'name' : 'string';
    } else {
      PLAIN.lastIndex = at;
      PLAIN.test(text);
      end = PLAIN.lastIndex;
      kind = char === 't' || char === 'f' || char === 'n' ? 'word' : 'number';
    }
    yield { kind, before, text: text.slice(at, end) };
    before = after;
    at = end;
  }
}

/** Orders keys as the store does, by their UTF-8 bytes; JavaScript's own order differs beyond U+FFFF. */
export function compareKeys(a, b) {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (x !== y) {
      const isSurrogate = (unit) => unit >= 0xd800 && unit <= 0xdfff;
      if (isSurrogate(x) !== isSurrogate(y)) return isSurrogate(x) ? 1 : -1;
      return x - y;
    }
  }
  return a.length - b.length;
}
