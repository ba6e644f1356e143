// Starts headless Chromium for page tests; the browser's path comes from CHROMIUM (./dev hands it over).
// As a program it takes a picture: node tools/browser.mjs URL FILE.png [WIDTHxHEIGHT] [light|dark]
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

// The browser looks nothing up outside this machine and leaves nothing running; root (a container) has no sandbox.
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a browser with an empty profile; the caller closes it. */
export function launchBrowser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: flags, headless: true });
}

async function takePicture(url, file, size = "1280x800", colorScheme = "light") {
  const [width, height] = size.split("x").map(Number);
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    page.on("console", (message) => console.log(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`uncaught: ${error}`));
    // A page that follows a stream never becomes idle: loaded is enough, then one second of life.
    await page.goto(url, { waitUntil: "load" });
    await page.waitForTimeout(1000);
    await page.screenshot({ path: file });
  } finally {
    await browser.close();
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [url, file, ...options] = process.argv.slice(2);
  if (!file) {
    console.error("usage: node tools/browser.mjs URL FILE.png [WIDTHxHEIGHT] [light|dark]");
    process.exit(2);
  }
  await takePicture(url, file, ...options);
}
