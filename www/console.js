// The console page: signs in, loads the replica and lets the views follow it. All state is the replica's; nothing is
// stored, and signing out or reloading forgets the pair and the copy.
//
// `window.headwater` is there for tests and for the curious; see README.md beside this file.

import { Session } from './session.js';
import { byId, setText } from './dom.js';

const signIn = byId('sign-in');
const form = byId('sign-in-form');
const button = byId('sign-in-button');
const errorLine = byId('sign-in-error');
const apikey = byId('apikey');
const secret = byId('secret');
const scope = byId('scope');
const consolePane = byId('console');

let Replica = null;
let session = null;

function showError(words) {
  errorLine.hidden = words === '';
  setText(errorLine, words);
}

function signOut(words = '') {
  session?.end();
  session = null;
  delete window.headwater;
  consolePane.hidden = true;
  signIn.hidden = false;
  document.title = 'Headwater';
  showError(words);
  (apikey.value === '' ? apikey : secret).focus();
}

function submit(event) {
  event.preventDefault();
  if (Replica === null) return;
  showError('');
  let replica;
  try {
    replica = new Replica(scope.value, randomHex(16), randomSeed());
  } catch (error) {
    showError(error.message);
    return;
  }
  session = new Session({ replica, pair: { apikey: apikey.value, secret: secret.value }, signOut });
  secret.value = '';
  window.headwater = session.hook();
  signIn.hidden = true;
  consolePane.hidden = false;
  session.start();
}

function randomHex(byteCount) {
  const bytes = crypto.getRandomValues(new Uint8Array(byteCount));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function randomSeed() {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}

async function load() {
  try {
    const wasm = await import('./pkg/headwater_web.js');
    await wasm.default();
    Replica = wasm.Replica;
    setText(button, 'Connect');
    button.disabled = false;
  } catch (error) {
    setText(button, 'Connect');
    showError(`The replica could not be loaded: ${error.message}`);
  }
}

form.addEventListener('submit', submit);
byId('sign-out').addEventListener('click', () => signOut());
apikey.focus();
load();
