// The page: pictures come in, a worker answers them, and this shows it.

const MODEL = JSON.parse(document.getElementById("model").textContent);
const FEW = 5; // classes that are shown of many
const THUMBNAIL = 80; // pixels a side, drawn at half of that
const AT_A_TIME = 2; // pictures with the worker: one is decoded while another is computed

const element = (id) => document.getElementById(id);
const nameOf = (label) => MODEL.shown[language][label];

let batch = emptyBatch();
let wanted = null; // the picture that is to be shown
let shown = null; // {picture, answer, evidence}: what is drawn

// Pictures, in the order in which they came. Each is {file, row, answer, problem}: its elements in
// the table, and once it is answered {label, probabilities}, or what to say in place of them.
function emptyBatch() {
  return { pictures: [], next: 0, working: 0 };
}

// -- The worker -----------------------------------------------------------------------------------

const worker = new Worker(URL.createObjectURL(new Blob([element("worker").textContent])));
const waiting = new Map(); // by number: what to call with the answer
let asked = 0;
let broken = null; // why there is no engine

worker.onmessage = ({ data }) => {
  if (data.broken) return breakDown(data.broken);
  waiting.get(data.id)?.(data);
  waiting.delete(data.id);
};
worker.onerror = ({ message }) => breakDown(message);
worker.postMessage({ model: MODEL, engine: element("engine").textContent });

// What the worker says of a file.
function ask(file) {
  asked += 1;
  const answer = new Promise((resolve) => waiting.set(asked, resolve));
  if (broken === null) worker.postMessage({ id: asked, file });
  else refuseAll();
  return answer;
}

function breakDown(reason) {
  broken = reason;
  refuseAll();
  showTexts();
}

function refuseAll() {
  const refusal = { problem: "not answered: {reason}", reason: broken };
  waiting.forEach((resolve) => resolve(refusal));
  waiting.clear();
}

// -- Pictures come in -----------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const picture = { file, row: newRow(file), answer: null, problem: null };
    picture.row.button.onclick = () => show(picture);
    batch.pictures.push(picture);
    showRow(picture);
  }
  element("all").hidden = batch.pictures.length === 0;
  while (batch.working < AT_A_TIME && batch.next < batch.pictures.length) work(batch);
  showProgress();
}

// Answers pictures of a batch until there are no more, or it is not the batch any more.
async function work(mine) {
  mine.working += 1;
  while (mine === batch && mine.next < mine.pictures.length) {
    const picture = mine.pictures[mine.next];
    mine.next += 1;
    const answer = await ask(picture.file);
    if (mine !== batch) return;
    settle(picture, answer);
    const first = mine.pictures.find(({ problem }) => problem === null);
    if (wanted === null && first?.answer) show(first);
    showProgress();
  }
  mine.working -= 1;
  showProgress();
}

// Keeps of an answer what the table needs: not the square, of which 200 would be 30 MB.
function settle(picture, answer) {
  if (answer.problem) {
    picture.problem = answer;
  } else {
    const { label, probabilities } = answer;
    picture.answer = { label, probabilities };
    paintThumbnail(picture.row.thumbnail, answer.square);
  }
  showRow(picture);
}

function clear() {
  batch = emptyBatch();
  wanted = shown = null;
  element("rows").replaceChildren();
  element("answer").hidden = element("all").hidden = true;
  showProgress();
  element("files").focus();
}

// -- The table ------------------------------------------------------------------------------------

function newRow(file) {
  const row = document.createElement("tr");
  const thumbnail = document.createElement("canvas");
  const button = document.createElement("button");
  const head = document.createElement("th");
  const name = document.createElement("td");
  const confidence = document.createElement("td");
  button.type = "button";
  button.textContent = file.name;
  head.scope = "row";
  head.append(button);
  thumbnail.setAttribute("aria-hidden", "true");
  const first = document.createElement("td");
  first.append(thumbnail);
  confidence.className = "number";
  row.append(first, head, name, confidence);
  element("rows").append(row);
  return { row, thumbnail, button, name, confidence };
}

function showRow({ row, answer, problem }) {
  row.row.className = problem ? "problem" : "";
  row.button.disabled = answer === null;
  row.name.colSpan = problem ? 2 : 1;
  row.confidence.hidden = problem !== null;
  if (problem) {
    row.name.textContent = say(problem.problem, problem);
  } else {
    row.name.textContent = answer ? nameOf(answer.label) : say("waiting");
    row.confidence.textContent = answer ? percent(answer.probabilities[answer.label]) : "";
  }
}

function paintThumbnail(canvas, square) {
  const whole = new OffscreenCanvas(MODEL.side, MODEL.side);
  whole.getContext("2d").putImageData(imageOf(square), 0, 0);
  canvas.width = canvas.height = THUMBNAIL;
  canvas.getContext("2d").drawImage(whole, 0, 0, THUMBNAIL, THUMBNAIL);
}

// -- One picture ----------------------------------------------------------------------------------

// Asks for the picture again, for its square and map were not kept.
async function show(picture) {
  wanted = picture;
  const answer = await ask(picture.file);
  if (wanted !== picture) return;
  if (answer.problem) {
    element("status").textContent = `${picture.file.name}: ${say(answer.problem, answer)}`;
    return;
  }
  shown?.picture.row.button.removeAttribute("aria-current");
  picture.row.button.setAttribute("aria-current", "true");
  shown = { picture, answer, evidence: evidenceOf(answer.cells, MODEL.side, MODEL.map.centres) };
  showAnswer();
  paint();
}

function paint() {
  const opacity = element("opacity").value / 100;
  const canvas = element("picture");
  canvas.width = canvas.height = MODEL.side;
  const image = overlayOf(shown.answer.square, shown.evidence, opacity, MODEL.map);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function showAnswer() {
  element("answer").hidden = shown === null;
  if (shown === null) return;
  const { label, probabilities } = shown.answer;
  const file = shown.picture.file.name;
  const name = nameOf(label);
  element("file").textContent = file;
  element("name").textContent = name;
  element("confidence").textContent = percent(probabilities[label]);
  element("picture").setAttribute(
    "aria-label",
    say("{file} with the activation map of {name}", { file, name }),
  );
  element("map").textContent = say(
    "The map shows where in the picture the evidence for {name} is: red most, blue least.",
    { name },
  );
  const labels = Array.from(probabilities.keys());
  labels.sort((a, b) => probabilities[b] - probabilities[a]);
  element("probabilities").replaceChildren(
    ...labels.slice(0, FEW).map((other) => newBar(other, probabilities[other], other === label)),
  );
}

function newBar(label, probability, isAnswer) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  const number = document.createElement("td");
  const drawn = document.createElement("td");
  const bar = document.createElement("div");
  name.scope = "row";
  name.textContent = nameOf(label);
  number.className = "number";
  number.textContent = percent(probability);
  bar.style.width = percent(probability);
  drawn.className = isAnswer ? "bar answer" : "bar";
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(bar);
  row.append(name, number, drawn);
  return row;
}

// -- Texts ----------------------------------------------------------------------------------------

function showProgress() {
  const { pictures } = batch;
  const done = pictures.filter(({ answer, problem }) => answer || problem).length;
  const busy = done < pictures.length;
  element("progress").hidden = !busy;
  element("done").max = pictures.length;
  element("done").value = done;
  element("count").textContent = say("{done} of {count}", { done, count: pictures.length });
  element("save").disabled = busy;
  element("status").textContent = busy ? "" : summary(pictures);
}

function summary(pictures) {
  if (pictures.length === 0) return "";
  const answered = pictures.filter(({ answer }) => answer).length;
  const many = answered === 1 ? "1 picture answered." : "{count} pictures answered.";
  const bad = pictures.filter(({ problem }) => problem).map(({ file }) => file.name);
  const lost = bad.length ? say("Not answered: {files}", { files: bad.join(say(", ")) }) : "";
  return `${say(many, { count: answered })} ${lost}`;
}

// All that is said, in the language.
function showTexts() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const other = language === "zh" ? { text: "English", lang: "en" } : { text: "中文", lang: "zh-CN" };
  element("language").textContent = other.text;
  element("language").lang = other.lang;
  for (const node of document.querySelectorAll("[data-say]"))
    node.textContent = say(node.dataset.say);
  const { names, version, made, positive, threshold } = MODEL;
  const first = MODEL.shown[language].slice(0, FEW);
  if (names.length > FEW) first.push(say("and {count} more", { count: names.length - FEW }));
  element("about").textContent = say(
    "This model (SqueezeNet v{version}) tells {count} classes of pictures apart: {names}.",
    { version, count: names.length, names: first.join(say(", ")) },
  );
  element("caution").textContent = MODEL.caution ? say(MODEL.caution) : "";
  element("rule").textContent =
    threshold === null
      ? say("The answer is the class of the largest probability.")
      : say("{name} is the answer where its probability is at least {threshold}.", {
          name: nameOf(positive),
          threshold: percent(threshold),
        });
  element("made").textContent = say("Made by squeezenet_c {made}.", { made });
  element("broken").hidden = broken === null;
  element("broken").textContent =
    broken === null
      ? ""
      : say(
          "This browser cannot run the model: it needs WebAssembly with SIMD, and DecompressionStream, as Chrome 97, Firefox 113 and Safari 16.4 have. ({reason})",
          { reason: broken },
        );
  batch.pictures.forEach(showRow);
  showAnswer();
  showProgress();
}

// -- The table as a file --------------------------------------------------------------------------

// RFC 4180, with the mark by which spreadsheets know UTF-8.
function tableOf(pictures) {
  const field = (value) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const head = ["file", "label", "name", "confidence"];
  const rows = [[...head, ...MODEL.names.map((name) => `probability ${name}`), "problem"]];
  for (const { file, answer, problem } of pictures) {
    const cells = answer
      ? [answer.label, MODEL.names[answer.label], answer.probabilities[answer.label]]
      : ["", "", ""];
    const probabilities = answer ? answer.probabilities : MODEL.names.map(() => "");
    rows.push([file.name, ...cells, ...probabilities, problem ? say(problem.problem, problem) : ""]);
  }
  return `\ufeff${rows.map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([tableOf(batch.pictures)], { type: "text/csv" }));
  link.download = `${MODEL.stem}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// -- Begin ----------------------------------------------------------------------------------------

for (const node of document.querySelectorAll("[data-say]"))
  node.dataset.say = node.textContent;
element("colours").style.background = `linear-gradient(to right, ${MODEL.map.colours
  .map((colour) => `rgb(${colour.map((part) => Math.round(255 * part)).join(" ")})`)
  .join(", ")})`;
element("files").onchange = ({ target }) => {
  add(target.files);
  target.value = "";
};
// Anywhere: a picture beside the frame shall not be opened in place of the page.
document.ondragover = (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
};
document.ondragleave = () => element("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  add(event.dataTransfer.files);
};
element("opacity").oninput = paint;
element("save").onclick = save;
element("clear").onclick = clear;
element("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  showTexts();
};
showTexts();
