// The page in a real browser with a camera that is a file: `node page.mjs`, with OCELLI_URL (a server with the default model),
// OCELLI_IMAGE (a photo), OCELLI_BEST (what it shows) and CHROMIUM in the environment. OCELLI_SEARCH says that the server has an
// index in which a photo is called OCELLI_BEST.jpg. OCELLI_SHOTS names a folder for
// screenshots. Speaks the browser's own protocol over a pipe, so that nothing has to be installed.
import { spawn } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { ok, deepStrictEqual, match, strictEqual } from 'node:assert';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { OCELLI_URL: url, OCELLI_IMAGE: image, OCELLI_BEST: best, CHROMIUM: program, OCELLI_SEARCH: searches, OCELLI_SHOTS: shots } = process.env;
const folder = await mkdtemp(join(tmpdir(), 'ocelli-page-'));
const camera = join(folder, 'camera.mjpeg');
await copyFile(image, camera);

const browser = spawn(program, [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--remote-debugging-pipe', `--user-data-dir=${join(folder, 'profile')}`,
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${camera}`,
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });

let last = 0, rest = '', session;
const waiting = new Map(), faults = [];
browser.stdio[4].on('data', (data) => {
  const messages = (rest + data).split('\0');
  rest = messages.pop();
  for (const { id, result, error, method, params } of messages.map((message) => JSON.parse(message))) {
    if (id) {
      const { done, fail } = waiting.get(id);
      error ? fail(new Error(error.message)) : done(result);
    }
    if (method === 'Runtime.exceptionThrown') faults.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') faults.push(params.entry.text);
  }
});
const send = (method, params = {}) => new Promise((done, fail) => {
  waiting.set(++last, { done, fail });
  browser.stdio[3].write(JSON.stringify({ id: last, method, params, sessionId: session }) + '\0');
});
const run = async (expression) => {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
};
const until = async (what, expression) => {
  for (let i = 0; i < 300; i++) {
    const value = await run(expression);
    if (value) return value;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${what} did not come about; the page says: ${await run('document.body.innerText')}`);
};
const shot = async (name) => {
  if (!shots) return;
  const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: true });
  await writeFile(join(shots, `${name}.png`), Buffer.from(data, 'base64'));
};
const screen = (width, height, mobile) => send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
const scheme = (value) => send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
const key = async (key, code, text) => {
  await send('Input.dispatchKeyEvent', { type: 'keyDown', key, windowsVirtualKeyCode: code, text });
  await send('Input.dispatchKeyEvent', { type: 'keyUp', key, windowsVirtualKeyCode: code });
};
const first = 'document.querySelector("#results li span")?.textContent';

try {
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  ({ sessionId: session } = await send('Target.attachToTarget', { targetId, flatten: true }));
  for (const domain of ['Page', 'Runtime', 'Log', 'DOM', 'Accessibility']) await send(`${domain}.enable`);
  await screen(1100, 800, false);
  await scheme('light');
  await send('Page.navigate', { url });
  await until('a model', 'document.querySelector("#model option")?.value');
  await shot('empty');

  // A photo, by the same field that a person uses.
  const { root } = await send('DOM.getDocument');
  const { nodeId } = await send('DOM.querySelector', { nodeId: root.nodeId, selector: '#file' });
  await send('DOM.setFileInputFiles', { nodeId, files: [image] });
  strictEqual(await until('a result', first), best);
  match(await until('spoken words', 'document.getElementById("spoken").textContent'), new RegExp(`^Best: ${best}, \\d+ per cent`));
  await shot('photo');

  // Only the keyboard from here: to the camera's button and into it.
  await run('document.activeElement.blur()');
  const order = [];
  for (let i = 0; i < 8; i++) {
    await key('Tab', 9);
    order.push(await run('document.activeElement.id || document.activeElement.tagName'));
    if (order.at(-1) === 'camera') break;
  }
  strictEqual(order.at(-1), 'camera', `the order of Tab is ${order}`);
  ok(await run('getComputedStyle(document.activeElement).outlineStyle !== "none"'), 'focus is not seen');
  await key(' ', 32, ' ');
  await until('a running camera', 'document.getElementById("camera").getAttribute("aria-pressed") === "true"');
  await until('frames a second', 'parseFloat(document.getElementById("fps").textContent) > 0');
  strictEqual(await until('a result', first), best);
  match(await run('document.getElementById("encode").textContent'), /^[\d.]+ ms$/);
  await shot('camera');

  // Labels of one's own, while the camera runs.
  await run('document.getElementById("labels").value = "a kettle\\na ship, \\"at sea\\""');
  await until('two labels', 'document.querySelectorAll("#results li").length === 2');
  deepStrictEqual(
    (await run('[...document.querySelectorAll("#results li .name span:first-child")].map((e) => e.textContent)')).sort(),
    ['a kettle', 'a ship, "at sea"'],
  );
  // One label with an open template is no mistake of the page's: what the server says is shown.
  await run('document.getElementById("labels").value = "x".repeat(20000)');
  await until('an alert', 'document.getElementById("problem").textContent.length > 10');
  await run('document.getElementById("labels").value = ""');
  await until('an end of the alert', 'document.getElementById("problem").textContent === ""');

  // Photos of the index, by the keyboard alone: from the field over the buttons to the first photo.
  if (searches) {
    await until('a field for words', '!document.getElementById("search").hidden');
    await run('document.getElementById("query").focus()');
    await send('Input.insertText', { text: `a photo of a ${best}` });
    await key('Enter', 13, '\r');
    await until('photos', '[...document.querySelectorAll("#photos img")].filter((e) => e.naturalWidth).length === 5');
    strictEqual(await run('document.querySelector("#photos span").textContent'), `${best}.jpg`);
    match(await run('document.querySelector("#photos .similarity").textContent'), /^0\.\d{3}$/);
    await shot('search');
    for (let i = 0; i < 8 && !(await run('document.activeElement.closest("#photos")')); i++) await key('Tab', 9);
    await key('Enter', 13, '\r');
    await until('photos like this one', `document.getElementById("like-name").textContent === "Like ${best}.jpg"`);
    await until('itself as the nearest', 'parseFloat(document.querySelector("#photos .similarity")?.textContent) > 0.9');
    ok(await run('document.activeElement === document.querySelector("#photos button")'), 'focus is lost');
    // What the server says is wrong is shown; names are text.
    await run('document.getElementById("unlike").click(); document.getElementById("query").value = "./x.jpg"; document.getElementById("search-form").requestSubmit()');
    await until('a reason', 'document.getElementById("found").textContent.includes("names no files")');
    await run('document.getElementById("photos").replaceChildren(entry({ id: "", path: "/<b>.jpg", similarity: 0 }).item)');
    strictEqual(await run('document.querySelector("#photos span").textContent'), '<b>.jpg');
  } else strictEqual(await run('document.getElementById("search").hidden'), true);

  // A phone at night.
  await screen(390, 844, true);
  await scheme('dark');
  await until('all labels again', 'document.querySelectorAll("#results li").length > 4');
  ok(await run('document.documentElement.scrollWidth <= innerWidth'), 'wider than a phone');
  const small = await run(`[...document.querySelectorAll('button:not([hidden]), .file, select, textarea')]
    .filter((e) => e.getBoundingClientRect().height < 44).map((e) => e.id || e.className)`);
  deepStrictEqual(small, [], 'too small for a finger');
  await shot('phone');
  await run('document.getElementById("camera").click()');
  await until('the camera\'s end', 'document.getElementById("video").hidden && !document.getElementById("video").srcObject');

  // What a screen reader finds has a name.
  const { nodes } = await send('Accessibility.getFullAXTree');
  const roles = new Set(['button', 'textbox', 'combobox', 'link', 'image', 'list']);
  const nameless = nodes.filter(({ ignored, role, name }) => !ignored && roles.has(role?.value) && !name?.value);
  deepStrictEqual(nameless.map(({ role }) => role.value), []);
  // The one refused request was meant; all else would be a script that failed, or something that the policy forbids.
  deepStrictEqual(faults.filter((fault) => !/status of 400/.test(fault)), []);
} finally {
  browser.kill();
  await new Promise((done) => browser.exitCode === null ? browser.once('exit', done) : done());
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
