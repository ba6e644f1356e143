// Building blocks for the views: elements by id, and elements made in one expression.

/** The element with this id; its absence is a mistake in index.html. */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no element with id ${id}`);
  return element;
}

/** Makes an element. `properties` are set as properties, except `data`, which becomes data-* attributes, and `role`. */
export function make(tag, properties = {}, ...children) {
  const { data, role, ...rest } = properties;
  const element = document.createElement(tag);
  Object.assign(element, rest);
  if (role !== undefined) element.setAttribute('role', role);
  if (data !== undefined) Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** Sets text only when it differs, so that selections survive and screen readers stay quiet. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The shortest pause between two flashes of one element: nothing on the page may blink three times a second. */
const FLASH_MS_MIN = 400;
const flashed = new WeakMap();

/** Lights an element up for a moment. Alternating between two equal animations restarts it. */
export function flash(element) {
  const now = performance.now();
  if (now - (flashed.get(element) ?? -Infinity) < FLASH_MS_MIN) return;
  flashed.set(element, now);
  element.dataset.flash = element.dataset.flash === 'a' ? 'b' : 'a';
}
