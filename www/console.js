// The console page: signs in, loads the replica and lets the views follow it. All state is the replica's; nothing is
// stored, and signing out or reloading forgets the credentials and the copy.
//
// `window.headwater` is there for tests and for the curious; see README.md beside this file.

import { byId, setText } from './dom.js';
import { randomBits, randomHex } from './random.js';

const signIn = byId('sign-in');
const form = byId('sign-in-form');
const button = byId('sign-in-button');
const errorLine = byId('sign-in-error');
const apikey = byId('apikey');
const secret = byId('secret');
const token = byId('token');
const scope = byId('scope');
const consolePane = byId('console');

/** The modules that need the replica; loaded apart, so that a failure to load it can be shown. */
let Replica = null;
let Session = null;
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

/** The headers that show who asks: a pair, a token, or none at all for whom the key `anonymous` lets read. Throws words. */
function credentials() {
  const [id, own, bearer] = [apikey, secret, token].map((field) => field.value.trim());
  if ((id === '') !== (own === '')) throw new Error('A pair is an API key and its secret: one of them is missing.');
  if (id !== '' && bearer !== '') throw new Error('Give a pair or a token, not both.');
  let headers = {};
  if (bearer !== '') headers = { authorization: `Bearer ${bearer}` };
  if (id !== '') headers = { apikey: id, secret: own };
  try {
    // What no header can carry is refused here, or it would look like a node that cannot be reached.
    new Headers(headers);
  } catch {
    throw new Error('API keys, secrets and tokens have only letters, digits and a few signs.');
  }
  return headers;
}

function submit(event) {
  event.preventDefault();
  if (Replica === null) return;
  showError('');
  let shown;
  let replica;
  try {
    shown = credentials();
    replica = new Replica(scope.value, randomHex(16), randomBits());
  } catch (error) {
    showError(error.message);
    return;
  }
  session = new Session({ replica, credentials: shown, signOut });
  secret.value = '';
  token.value = '';
  window.headwater = session.reads;
  signIn.hidden = true;
  consolePane.hidden = false;
  session.start();
}

async function load() {
  try {
    const replica = await import('./pkg/headwater_web.js');
    await replica.default();
    ({ Session } = await import('./session.js'));
    Replica = replica.Replica;
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
