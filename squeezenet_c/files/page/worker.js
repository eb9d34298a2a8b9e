// The worker: has the engine, and answers one picture file a message.
"use strict";

const STRIP = 64; // rows of a picture that are read at a time
const AS_STORED = {
  imageOrientation: "from-image",
  colorSpaceConversion: "none",
  premultiplyAlpha: "none",
};

let model;
let engine; // a promise of what csrc/portable/page.c exports
let nextRow; // a function, of the picture that the engine is answering: its next row's bytes
let gl; // a context of WebGL, once there was a transparent picture

// {model, engine}: to begin with; {id, file}: a picture. The answer to it is {id, ...}: what
// `look` gives, or {problem}, one of the page's texts. Where there is no engine: {broken}.
onmessage = async ({ data }) => {
  if (data.engine) {
    model = data.model;
    engine = start(data.engine);
    engine.catch(({ message }) => postMessage({ broken: message }));
    return;
  }
  try {
    postMessage({ id: data.id, ...(await look(data.file)) });
  } catch (error) {
    const problem = error instanceof Problem ? error.message : "not answered: {reason}";
    postMessage({ id: data.id, problem, reason: String(error) });
  }
};

// What is said of a picture that is not answered.
class Problem extends Error {}

// The engine is a module of WebAssembly: deflated, as base64.
async function start(text) {
  const deflated = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const inflated = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(inflated).arrayBuffer();
  const row = (place) => new Uint8Array(memory.buffer).set(nextRow(), place);
  const { instance } = await WebAssembly.instantiate(bytes, { page: { row } });
  const { memory } = instance.exports;
  return instance.exports;
}

// {square, the picture as the network sees it; probabilities; label; cells, the label's map}
async function look(file) {
  const { memory, answer, square, logits, maps } = await engine;
  const bitmap = await createImageBitmap(file, AS_STORED).catch(() => {
    throw new Problem("no picture that this browser can read");
  });
  try {
    nextRow = rowsOf(bitmap, throughCanvas(bitmap));
    let status = answer(bitmap.width, bitmap.height);
    if (status === 1) {
      nextRow = rowsOf(bitmap, throughTexture(bitmap));
      status = answer(bitmap.width, bitmap.height);
    }
    if (status < 0) throw new Problem("too large for this browser");
  } finally {
    bitmap.close();
  }
  const { side, names, map } = model;
  const bytes = new Uint8Array(memory.buffer, square(), 3 * side * side);
  const probabilities = softmax(new Float32Array(memory.buffer, logits(), names.length));
  const label = decide(probabilities);
  const cells = map.centres.length ** 2;
  return {
    square: bytes.slice(),
    probabilities,
    label,
    cells: new Float32Array(memory.buffer, maps() + 4 * label * cells, cells).slice(),
  };
}

// -- A picture's rows -----------------------------------------------------------------------------

// A function that gives the next row of red, green, blue and alpha. read(y, count): so many rows.
function rowsOf(bitmap, read) {
  const rowBytes = 4 * bitmap.width;
  let y = 0;
  let strip;
  return () => {
    const place = y % STRIP;
    if (place === 0) strip = read(y, Math.min(STRIP, bitmap.height - y));
    y += 1;
    return strip.subarray(place * rowBytes, (place + 1) * rowBytes);
  };
}

// Through a canvas, which any browser has, but it multiplies colours by alpha.
function throughCanvas(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, Math.min(STRIP, bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy";
  return (y, count) => {
    const { width } = bitmap;
    context.drawImage(bitmap, 0, y, width, count, 0, 0, width, count);
    return context.getImageData(0, 0, width, count).data;
  };
}

// Through WebGL, which leaves transparent pixels their colours.
function throughTexture(bitmap) {
  gl ??= textureContext();
  if (!gl || Math.max(bitmap.width, bitmap.height) > gl.getParameter(gl.MAX_TEXTURE_SIZE))
    throw new Problem("partly transparent, and this browser cannot read its colours");
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  return (y, count) => {
    const bytes = new Uint8Array(4 * bitmap.width * count);
    gl.readPixels(0, y, bitmap.width, count, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    return bytes;
  };
}

// A context that reads from its one texture; null where there is no WebGL.
function textureContext() {
  const context = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (context === null) return null;
  const [target, place] = [context.FRAMEBUFFER, context.COLOR_ATTACHMENT0];
  const texture = context.createTexture();
  context.bindTexture(context.TEXTURE_2D, texture);
  context.bindFramebuffer(target, context.createFramebuffer());
  context.framebufferTexture2D(target, place, context.TEXTURE_2D, texture, 0);
  return context;
}

// -- The answer, as inference/metrics.py has it ---------------------------------------------------

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

function decide(probabilities) {
  const { positive, threshold } = model;
  if (threshold === null) return probabilities.indexOf(Math.max(...probabilities));
  return probabilities[positive] >= Math.fround(threshold) ? positive : 1 - positive;
}
