// Random bits for ids, seeds and jitter, from the browser's cryptographic source.

/** 64 random bits as a BigInt. */
export function randomBits() {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}

/** Random bytes as lower-case hex digits. */
export function randomHex(byteCount) {
  const bytes = crypto.getRandomValues(new Uint8Array(byteCount));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
