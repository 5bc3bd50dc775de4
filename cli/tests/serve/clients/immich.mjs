// What Immich's server sends to its machine learning service (server/src/repositories/machine-learning.repository.ts): a
// form by Node's own fetch, the picture as a blob without a name.
import { readFile } from 'node:fs/promises';
import { deepStrictEqual, ok, strictEqual } from 'node:assert';

const url = process.env.OCELLI_URL;
const modelName = process.env.OCELLI_MODEL;
const [image, text] = JSON.parse(process.env.OCELLI_EXPECTED);

async function predict(entries, name, value) {
  const form = new FormData();
  form.append('entries', JSON.stringify(entries));
  form.append(name, value);
  const response = await fetch(new URL('/predict', url), { method: 'POST', body: form });
  return { ok: response.ok, status: response.status, body: await response.json() };
}

const ping = await fetch(new URL('/ping', url), { signal: AbortSignal.timeout(2000) });
ok(ping.ok);
strictEqual(await ping.text(), 'pong');

const file = new Blob([await readFile(process.env.OCELLI_IMAGE)]);
const near = (found, expected) => {
  strictEqual(typeof found, 'string');
  deepStrictEqual(JSON.parse(found).map(Math.fround), expected.map(Math.fround));
};
// Twice on one connection, as Node keeps it.
for (let i = 0; i < 2; i++) {
  const visual = await predict({ clip: { visual: { modelName } } }, 'image', file);
  ok(visual.ok, JSON.stringify(visual));
  near(visual.body.clip, image);
  ok(visual.body.imageHeight > 0 && visual.body.imageWidth > 0);
}
const options = { language: 'en' };
const textual = await predict({ clip: { textual: { modelName, options } } }, 'text', process.env.OCELLI_TEXT);
ok(textual.ok);
near(textual.body.clip, text);
strictEqual((await predict({ clip: { visual: { modelName: 'none' } } }, 'image', file)).status, 404);
