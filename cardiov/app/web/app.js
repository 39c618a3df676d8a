// Sends the visitor's choices to Python (cardiov/app/page.py) and shows the answers; their HTML is escaped there.

const ANSWER_TIMEOUT = 60000; // ms

function render({ model, el }) {
  el.classList.add("cardiov");
  el.innerHTML = model.get("form");
  const part = (name) => el.querySelector(`[data-part=${name}]`);
  const show = (name, text) => { part(name).textContent = text; };
  let request = 0; // number of the latest question; answers to older ones are ignored
  let chosen = []; // files, read again when rate or unit change
  let sheet = ""; // the shown ECG on paper
  let timer;

  function busy(status) {
    show("error", "");
    show("status", status);
    el.setAttribute("aria-busy", "true");
  }

  function done(status) {
    clearTimeout(timer);
    el.removeAttribute("aria-busy");
    show("status", status);
  }

  function fill(name, html) {
    part(name).innerHTML = html;
    part(name).hidden = html === "";
  }

  function fail(error) { // also removes the results of earlier ECGs, which would be misleading
    done("");
    show("error", error);
    for (const name of ["table", "result", "sheets"]) fill(name, "");
  }

  function ask(question, status, buffers = []) {
    request += 1;
    busy(status);
    clearTimeout(timer);
    timer = setTimeout(() => fail("the program does not answer: reload the page, or start the program again."), ANSWER_TIMEOUT);
    model.send({ ...question, request }, undefined, buffers);
  }

  function refuse(error) {
    request += 1; // an open question is out of date, too
    fail(error);
  }

  async function upload() {
    busy("Reading …");
    const size = chosen.reduce((sum, file) => sum + file.size, 0);
    const mib = (bytes, digits) => `${(bytes / 2 ** 20).toFixed(digits)} MiB`;
    if (size > model.get("max_bytes")) { // a message beyond the server's limit would cut the connection
      return refuse(`the upload has ${mib(size, 1)}: give at most ${mib(model.get("max_bytes"), 0)}, or cut the record.`);
    }
    if (!part("fs").checkValidity()) {
      return refuse("the sampling rate is not a number of Hz: correct it or leave it out.");
    }
    const fs = part("fs").value === "" ? null : part("fs").valueAsNumber;
    const question = { ask: "files", names: chosen.map((file) => file.name), fs, unit: part("unit").value || null };
    try {
      const buffers = await Promise.all(chosen.map((file) => file.arrayBuffer()));
      part("example").value = "";
      ask(question, `Scoring ${question.names.join(", ")} …`, buffers);
    } catch {
      refuse("the browser cannot read this: give files, not a folder, and check that they still exist.");
    }
  }

  function choose(files) {
    if (files.length === 0) return;
    chosen = [...files];
    upload();
  }

  part("files").addEventListener("change", ({ target }) => {
    choose(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  for (const name of ["fs", "unit"]) {
    part(name).addEventListener("change", () => { if (chosen.length) upload(); });
  }
  part("example").addEventListener("change", ({ target }) => {
    chosen = [];
    if (target.value) ask({ ask: "example", name: target.value }, `Scoring the example: ${target.value} …`);
  });
  el.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  el.addEventListener("change", ({ target }) => {
    if (target.name === "cardiov-heat") ask({ ask: "heat", level: target.value }, "Drawing …");
  });
  el.addEventListener("click", ({ target }) => {
    const { show: number, sort, print } = target.dataset;
    if (number) ask({ ask: "show", number: Number(number) }, `Showing ${target.textContent} …`);
    if (sort) sortBy(target.closest("th"));
    if (print === "one") printOnPaper(sheet);
    if (print === "all") ask({ ask: "print" }, "Preparing all ECGs for paper …");
  });

  function sortBy(head) { // descending first, because the most urgent is looked for
    const rising = head.getAttribute("aria-sort") === "descending";
    const key = (row) => row.cells[head.cellIndex].dataset.key;
    const compare = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true }) * (rising ? 1 : -1);
    const body = head.closest("table").tBodies[0];
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...[...body.rows].sort(compare));
  }

  async function printOnPaper(sheets) {
    fill("sheets", sheets);
    await Promise.all([...part("sheets").querySelectorAll("img")].map((image) => image.decode()));
    window.print();
  }

  // the whole window takes files; dropped beside the label they would replace the page
  const listening = new AbortController();
  const options = { signal: listening.signal };
  const mark = (event) => {
    event.preventDefault();
    el.querySelector(".drop").classList.toggle("over", event.type === "dragover");
  };
  window.addEventListener("dragover", mark, options);
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(event); }, options);
  window.addEventListener("drop", (event) => { mark(event); choose(event.dataTransfer.files); }, options);

  const answer = (message) => {
    if (message.request !== request) return;
    if (message.error) return fail(message.error);
    if (message.print) return printOnPaper(message.sheets).then(() => done(""));
    if (message.picture) {
      part("picture").src = message.picture;
      part("picture").alt = message.alt;
      show("caption", message.alt);
      return done("");
    }
    if ("table" in message) fill("table", message.table);
    fill("result", message.html);
    fill("sheets", sheet = message.sheets);
    done(message.announcement);
  };
  model.on("msg:custom", answer);
  return () => {
    model.off("msg:custom", answer);
    listening.abort();
  };
}

export default { render };
